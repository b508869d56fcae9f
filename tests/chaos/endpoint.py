"""A customer's endpoint that fails one request in five, and remembers what it promised: its answers of 200."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Self, cast

import msgspec

from schemas.callbacks import sign_matches
from services.dispatcher.delivery import SAME_BYTES_MS

if TYPE_CHECKING:
    from random import Random

KEY = "Chaos0Key"
_FAILS = 0.2
_RESETS = 0.05
_DELAY_S = (0.05, 0.25)
_GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
_BAD = b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"


class _Info(msgspec.Struct, rename="pascal"):
    user_id: str
    """Names the event in all rounds."""
    room_id: int


class _Body(msgspec.Struct, rename="pascal"):
    event_info: msgspec.Raw
    callback_ts: int


class _First(msgspec.Struct):
    at: float
    body: bytes
    info: bytes
    webhook_id: str
    app: str
    room: int


class Endpoint:
    """Listens on the loopback interface; every path is an endpoint of its own to the dispatcher."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.port = 0
        self.in_the_air = 0
        """Requests that have no answer yet, on connections that are still there."""
        self.requests = 0
        self.answered: Counter[str] = Counter()
        """Events with the answers of 200 that went out whole."""
        self.duplicates = 0
        """Requests for an event whose 200 the dispatcher had received before."""
        self.may_repeat: set[str] | None = None
        """Events that a dispatcher which begins anew cannot know to be delivered; None: that is not looked at."""
        self._received: set[str] = set()
        self._last: dict[int, str] = {}
        """By the sender's port, the event whose 200 went there last."""
        self.ordered: set[str] = set()
        """SdkAppIds whose rooms keep their order."""
        self._newest: dict[tuple[str, int], int] = {}
        """By SdkAppId and room, the number of the event that was delivered last for the first time."""
        self.wrong: list[str] = []
        """Requests whose bytes are not what they have to be."""
        self._first: dict[str, _First] = {}

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Connection(self), "127.0.0.1", 0, backlog=4096)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    def url(self, path: str) -> str:
        """The URL of a path."""
        return f"http://127.0.0.1:{self.port}/{path}"

    def answer(self, event: str, port: int) -> None:
        """Note that a 200 went to the sender's port."""
        self.answered[event] += 1
        if self.answered[event] == 1:
            self._note_order(event)
        self._received.add(event)
        self._last[port] = event

    def _note_order(self, event: str) -> None:
        first = self._first[event]
        if first.app in self.ordered:
            # r<round>-<number>, and rounds do not overlap.
            turn, _, place = event.removeprefix("r").partition("-")
            number = int(turn) * 1_000_000 + int(place)
            if number < self._newest.get((first.app, first.room), -1):
                self.wrong.append(f"{event}: after a later one of its room")
            self._newest[first.app, first.room] = number

    def leave_out_unread(self) -> None:
        """Take back that a sender has answers that are still in its sockets: it has to be stopped, and to die then."""
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
            _, sender, receiver, _, queues, *_ = line.split()
            if int(receiver.partition(":")[2], 16) == self.port and int(queues.partition(":")[2], 16):
                self._received.discard(self._last.get(int(sender.partition(":")[2], 16), ""))

    def received(self, headers: dict[str, str], body: bytes) -> str:
        """Note a request; the event that it is about."""
        self.requests += 1
        read = msgspec.json.decode(body, type=_Body)
        about = msgspec.json.decode(read.event_info, type=_Info)
        event = about.user_id
        if event in self._received:
            self.duplicates += 1
            if self.may_repeat is not None and event not in self.may_repeat:
                self.wrong.append(f"{event}: repeated although Kafka had its end")
        if not sign_matches(KEY, body, headers.get("sign", "")):
            self.wrong.append(f"{event}: Sign")
        now = time.monotonic()
        first = self._first.get(event)
        if first is None:
            first = self._first[event] = _First(
                now, body, bytes(read.event_info), headers["webhook-id"], headers["sdkappid"], about.room_id
            )
        if now - first.at < SAME_BYTES_MS / 1000 - 1 and body != first.body:
            self.wrong.append(f"{event}: {body!r} after {first.body!r}")
        if bytes(read.event_info) != first.info or headers["webhook-id"] != first.webhook_id:
            self.wrong.append(f"{event}: EventInfo or webhook-id")
        return event


class _Connection(asyncio.Protocol):
    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._data = b""
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._data += data
        end = self._data.find(b"\r\n\r\n")
        if end < 0:
            return
        lines = self._data[:end].decode("latin-1").split("\r\n")[1:]
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = int(headers["content-length"])
        if len(self._data) < end + 4 + length:
            return
        body, self._data = self._data[end + 4 : end + 4 + length], self._data[end + 4 + length :]
        event = self._endpoint.received(headers, body)
        self._endpoint.in_the_air += 1
        delay = self._endpoint.random.uniform(*_DELAY_S)
        self._timer = asyncio.get_running_loop().call_later(delay, self._answer, event)

    def eof_received(self) -> None:
        self._forget()

    def connection_lost(self, error: Exception | None) -> None:
        self._forget()

    def _answer(self, event: str) -> None:
        self._forget()
        chance = self._endpoint.random.random()
        if chance < _RESETS:
            self._transport.abort()
        elif chance < _FAILS:
            self._transport.write(_BAD)
        else:
            self._transport.write(_GOOD)
            self._endpoint.answer(event, self._transport.get_extra_info("peername")[1])

    def _forget(self) -> None:
        """No answer is due any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._endpoint.in_the_air -= 1
