"""The way between two browsers: real UDP, with a delay that is known."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    Address = tuple[str, int]

_CANDIDATE = re.compile(r"^a=candidate:\S+ 1 udp \d+ (\d+\.\d+\.\d+\.\d+) (\d+) typ host.*$", re.IGNORECASE)


class Link:
    """Carries every packet between two peers and holds it for `delay_ms` first.

    Each peer is told the address of one end of the link instead of the other peer's, so that it has no other way.
    """

    def __init__(self, delay_ms: float) -> None:
        self._delay_s = delay_ms / 1000
        self._ends: list[_End] = []

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        for _ in range(2):
            _, end = await loop.create_datagram_endpoint(lambda: _End(self._delay_s), local_addr=("0.0.0.0", 0))
            self._ends.append(end)
        first, second = self._ends
        first.other, second.other = second, first
        return self

    async def __aexit__(self, *_: object) -> None:
        for end in self._ends:
            end.close()

    def carry(self, side: int, description: dict[str, Any]) -> dict[str, Any]:
        """What the other side shall hear of this one's session description (side 0 offers, 1 answers).

        Of all candidates the first IPv4 one remains, with the port of this side's end.
        """
        lines = []
        found: Address | None = None
        for line in description["sdp"].split("\r\n"):
            match = _CANDIDATE.match(line)
            if match is None:
                if not line.startswith("a=candidate:"):
                    lines.append(line)
            elif found is None:
                found = match[1], int(match[2])
                lines.append(line.replace(f" {match[2]} typ ", f" {self._ends[side].port} typ "))
        assert found is not None, "no IPv4 candidate"
        self._ends[1 - side].peer = found
        return {**description, "sdp": "\r\n".join(lines)}


class _End(asyncio.DatagramProtocol):
    """What comes in here leaves at the other end, to the peer that the other end serves."""

    def __init__(self, delay_s: float) -> None:
        self._delay_s = delay_s
        self._transport: asyncio.DatagramTransport
        self.other: _End
        self.peer: Address | None = None

    @property
    def port(self) -> int:
        port: int = self._transport.get_extra_info("sockname")[1]
        return port

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self._transport = transport

    def datagram_received(self, data: bytes, _: Address) -> None:
        asyncio.get_running_loop().call_later(self._delay_s, self.other.send, data)

    def send(self, data: bytes) -> None:
        """To this end's peer, once it is known."""
        if self.peer is not None and not self._transport.is_closing():
            self._transport.sendto(data, self.peer)

    def close(self) -> None:
        self._transport.close()
