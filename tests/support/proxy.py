"""A little HTTP proxy over real sockets that opens tunnels, or does not."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any, Self

ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"


@dataclass
class Proxy:
    """Listens on the loopback interface. Every tunnel leads to `port` of this machine, whatever was asked for."""

    leads_to: int
    answer: bytes = ESTABLISHED
    """The answer to CONNECT; where it is another one, there is no tunnel."""
    heads: list[str] = field(default_factory=list)
    """What was sent before the tunnels were there."""
    port: int = 0
    silent_to: tuple[str, ...] = ()
    """Methods that get no answer."""
    _tasks: set[asyncio.Task[Any]] = field(default_factory=set)
    _server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        """For the setting."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def targets(self) -> list[str]:
        """What was asked for."""
        return [head.split("\r\n")[0] for head in self.heads]

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            method = head.split(" ")[0]
            if method == "CONNECT":
                self.heads.append(head)
            if method in self.silent_to:
                await asyncio.sleep(3600)
            if method != "CONNECT":
                writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                return
            writer.write(self.answer)
            await writer.drain()
            if self.answer == ESTABLISHED:
                there, back = await asyncio.open_connection("127.0.0.1", self.leads_to)
                try:
                    await asyncio.gather(_pass_on(reader, back), _pass_on(there, writer))
                finally:
                    back.close()
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()


async def _pass_on(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    while data := await source.read(65536):
        target.write(data)
        await target.drain()
    target.close()
