"""A customer's server over real sockets that behaves as a script says, well or badly."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import orjson

if TYPE_CHECKING:
    import ssl


@dataclass
class Received:
    """One request, as it came over the wire."""

    method: str
    target: str
    version: str
    headers: list[tuple[str, str]]
    """Names spelled as they were sent."""
    body: bytes
    at: float
    """`time.monotonic()` when its last byte was here."""
    at_ms: int
    """Unix milliseconds of the same moment."""
    connection: int
    """Counts the connections of the receiver from 1."""
    answered: bool = False
    """Whether the whole answer went out."""

    def header(self, name: str) -> str | None:
        """A header by its exact spelling."""
        return dict(self.headers).get(name)

    @property
    def json(self) -> Any:
        """The decoded body."""
        return orjson.loads(self.body)


Behaviour = Callable[[Received, asyncio.StreamWriter], Awaitable[bool]]
"""Answers one request; True when the connection may be used again."""


def reply(
    status: int = 200,
    body: bytes = b'{"code":0}',
    *,
    delay: float = 0,
    headers: tuple[tuple[str, str], ...] = (),
    version: str = "HTTP/1.1",
    keep_alive: bool = True,
) -> Behaviour:
    """A complete answer after `delay` seconds."""

    async def behave(received: Received, writer: asyncio.StreamWriter) -> bool:
        await asyncio.sleep(delay)
        lines = [f"{version} {status} Whatever", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in headers]
        writer.write("\r\n".join([*lines, "", ""]).encode() + body)
        await writer.drain()
        received.answered = True
        return keep_alive and version == "HTTP/1.1"

    return behave


def hang(seconds: float = 3600) -> Behaviour:
    """No answer."""

    async def behave(received: Received, writer: asyncio.StreamWriter) -> bool:
        await asyncio.sleep(seconds)
        return False

    return behave


def raw(*parts: bytes, pause: float = 0, then_wait: float = 0) -> Behaviour:
    """These bytes, `pause` seconds between the parts; the connection is closed after `then_wait` seconds."""

    async def behave(received: Received, writer: asyncio.StreamWriter) -> bool:
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(pause)
        received.answered = True
        await asyncio.sleep(then_wait)
        return False

    return behave


def endless(head: bytes, chunk: bytes, pause: float = 0) -> Behaviour:
    """A head, then a chunk again and again."""

    async def behave(received: Received, writer: asyncio.StreamWriter) -> bool:
        writer.write(head)
        while True:
            writer.write(chunk)
            await writer.drain()
            await asyncio.sleep(pause)

    return behave


def reset(before: bytes = b"") -> Behaviour:
    """A TCP reset after these bytes."""

    async def behave(received: Received, writer: asyncio.StreamWriter) -> bool:
        if before:
            writer.write(before)
            await writer.drain()
            await asyncio.sleep(0.05)
        sock: socket.socket = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
        return False

    return behave


@dataclass
class Receiver:
    """Listens on the loopback interface. Each path has a script: one behaviour a request, the last one for the rest.

    Paths without a script answer 200.
    """

    host: str = "127.0.0.1"
    tls: ssl.SSLContext | None = None
    requests: list[Received] = field(default_factory=list)
    connections: int = 0
    port: int = 0
    _scripts: dict[str, list[Behaviour]] = field(default_factory=dict)
    _arrival: asyncio.Event = field(default_factory=asyncio.Event)
    _tasks: set[asyncio.Task[Any]] = field(default_factory=set)
    _server: asyncio.Server | None = None

    def script(self, path: str, *behaviours: Behaviour) -> str:
        """Set what happens at a path and return its URL."""
        self._scripts[path] = list(behaviours)
        return self.url(path)

    def url(self, path: str) -> str:
        """The URL of a path."""
        scheme = "https" if self.tls else "http"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{scheme}://{host}:{self.port}{path}"

    def at(self, path: str) -> list[Received]:
        """The requests at a path, in the order of their arrival."""
        return [request for request in self.requests if request.target == path]

    def by_path(self) -> dict[str, list[Received]]:
        """All requests by path."""
        result = defaultdict(list)
        for request in self.requests:
            result[request.target].append(request)
        return result

    async def wait_for(self, condition: Callable[[], bool], timeout: float = 60) -> None:
        """Return when a condition on the requests holds."""
        async with asyncio.timeout(timeout):
            while not condition():
                self._arrival.clear()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._arrival.wait(), 0.1)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, self.host, self.port, ssl=self.tls, backlog=2048)
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
        self.connections += 1
        number = self.connections
        try:
            while (received := await _read(reader, number)) is not None:
                self.requests.append(received)
                self._arrival.set()
                script = self._scripts.get(received.target) or [reply()]
                behave = script.pop(0) if len(script) > 1 else script[0]
                if not await behave(received, writer):
                    break
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()


async def _read(reader: asyncio.StreamReader, connection: int) -> Received | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.decode("latin-1").split("\r\n")[:-2]
    method, target, version = first.split(" ")
    headers = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)]
    length = next((int(value) for name, value in headers if name.lower() == "content-length"), 0)
    body = await reader.readexactly(length)
    return Received(
        method,
        target,
        version,
        headers,
        body,
        at=time.monotonic(),
        at_ms=time.time_ns() // 1_000_000,
        connection=connection,
    )
