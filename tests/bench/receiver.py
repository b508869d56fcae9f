"""`python -m tests.bench.receiver PORT`: a customer's server that answers 200 as cheaply as it can, and counts.

A process of its own, so that what it costs is not taken for the sender's. `GET /told` tells and begins to count anew.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Self, cast

import msgspec
import uvloop

from services.runtime.clock import now_ms
from tests.support.clickhouse import free_port

ROOT = Path(__file__).parents[2]
_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
_TIME = b'"CallbackTs":'


class Told(msgspec.Struct):
    """What came since the last question."""

    requests: int = 0
    first_s: float = 0.0
    """`time.time()` of the first and of the last of them."""
    last_s: float = 0.0
    ages_ms: list[int] = []
    """Of those that carry `CallbackTs`, which of first attempts says when Kafka had the event: how old they were."""


class _Connection(asyncio.Protocol):
    told = Told()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are of no class of asyncio's.
        self._transport = cast("asyncio.WriteTransport", transport)
        self._data = b""

    def data_received(self, data: bytes) -> None:
        self._data += data
        while (end := self._data.find(b"\r\n\r\n")) >= 0:
            head = self._data[:end].lower()
            if head.startswith(b"get /told"):
                self._tell()
                return
            length = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
            if len(self._data) < end + 4 + length:
                return
            body, self._data = self._data[end + 4 : end + 4 + length], self._data[end + 4 + length :]
            told = _Connection.told
            told.requests += 1
            told.last_s = time.time()
            told.first_s = told.first_s or told.last_s
            if (at := body.find(_TIME)) >= 0:
                told.ages_ms.append(now_ms() - int(body[at + len(_TIME) : at + len(_TIME) + 13]))
            self._transport.write(_ANSWER)

    def _tell(self) -> None:
        body = msgspec.json.encode(_Connection.told)
        _Connection.told = Told()
        self._transport.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        self._transport.close()


class ReceiverProcess:
    """The process; as a context manager it is stopped at the end."""

    def __enter__(self) -> Self:
        self.port = free_port()
        self.process = subprocess.Popen([sys.executable, "-m", "tests.bench.receiver", str(self.port)], cwd=ROOT)
        deadline = time.monotonic() + 20
        while True:
            try:
                self.told()
                return self
            except OSError:
                if time.monotonic() > deadline:
                    self.__exit__()
                    raise
                time.sleep(0.05)

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait()

    def url(self, path: str) -> str:
        """Where callbacks go."""
        return f"http://127.0.0.1:{self.port}{path}"

    def told(self) -> Told:
        """What came since the last question."""
        with urllib.request.urlopen(self.url("/told"), timeout=20) as response:
            return msgspec.json.decode(response.read(), type=Told)


async def _serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(_Connection, "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1])))
