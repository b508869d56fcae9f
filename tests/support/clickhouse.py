"""The embedded ClickHouse as a process of its own, for tests."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self
from urllib.parse import quote, urlencode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path


def free_port() -> int:
    """A port of the loopback interface that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Answer(NamedTuple):
    """What an HTTP request got."""

    status: int
    headers: dict[str, str]
    """Names in small letters."""
    body: bytes

    @property
    def text(self) -> str:
        """The body, decoded."""
        return self.body.decode()


def wait_until(condition: Callable[[], bool], within_s: float = 30.0) -> None:
    """Return when it holds; an `AssertionError` when it does not come to that."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.02)


@contextmanager
def connection_to(server: ClickHouseServer) -> Iterator[Any]:
    """A connection that ends with the block, whatever has been read from it."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    try:
        yield connection
    finally:
        # A response has a file of its own on the socket; only this ends the connection now.
        if connection.sock is not None:
            with suppress(OSError):
                connection.sock.shutdown(socket.SHUT_RDWR)
        connection.close()


class ClickHouseServer:
    """`python -m services.embedded.clickhouse` on a data folder; as a context manager it is stopped at the end.

    `port` stays the same over restarts. `user` and `password` are the administrator's, as in the ClickHouse URL.

    When the engine, which is not ours, crashes, it is started again, as `roompulse up` does it; what it died of is kept
    in `crashes`, which the end of a test run tells. An end that our own code chose fails at the end of the block.
    """

    crashes: ClassVar[list[str]] = []
    """One line for each crash of any server of this process."""

    def __init__(
        self,
        data: Path,
        port: int | None = None,
        *,
        user: str = "",
        password: str = "",
        environment: dict[str, str] | None = None,
    ) -> None:
        self.data = data
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._user, self._password = user, password
        self._environment = environment or {}
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def settings_url(self) -> str:
        """The URL with user and password, for `ROOMPULSE_CLICKHOUSE_URL`."""
        if not self._user:
            return self.url
        return self.url.replace("//", f"//{quote(self._user, '')}:{quote(self._password, '')}@", 1)

    def launch(self, *, stderr: int | None = None) -> subprocess.Popen[bytes]:
        """Start the process without waiting for its readiness."""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "services.embedded.clickhouse"],
            env={
                **os.environ,
                "ROOMPULSE_DATA": str(self.data),
                "ROOMPULSE_CLICKHOUSE_URL": self.settings_url,
                "ROOMPULSE_HOST": "127.0.0.1",
                **self._environment,
            },
            stderr=stderr,
            start_new_session=True,
        )
        return self.process

    def start(self, timeout: float = 120.0) -> Self:
        """Start the process and wait until it answers queries."""
        process = self.launch()
        deadline = time.monotonic() + timeout
        while not self.ready():
            if process.poll() is not None:
                raise RuntimeError(f"ClickHouse ended with status {process.returncode}")
            if time.monotonic() > deadline:
                self.kill9()
                raise TimeoutError(f"ClickHouse was not ready within {timeout} s")
            time.sleep(0.05)
        threading.Thread(target=self._start_again_after, args=(process,), daemon=True).start()
        return self

    def _start_again_after(self, process: subprocess.Popen[bytes]) -> None:
        while process.wait() < 0 and self.process is process:
            said = (self.data / "clickhouse" / "stderr.log").read_text(errors="replace")[-2000:]
            when = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime())
            self.crashes.append(f"{when} ClickHouse in {self.data} ended with {process.returncode}: {said}")
            process = self.launch()

    def ready(self) -> bool:
        """Whether it answers queries."""
        try:
            with urllib.request.urlopen(f"{self.url}/readyz", timeout=5) as response:
                return bool(response.status == 200)
        except OSError:
            return False

    def query(self, sql: str, *, timeout: float = 60.0) -> str:
        """The text of an answer; a ClickHouse error is a `RuntimeError` with its message."""
        request = urllib.request.Request(f"{self.url}/", sql.encode())
        if self._user:
            request.add_header("X-ClickHouse-User", self._user)
            request.add_header("X-ClickHouse-Key", self._password)
        try:
            with urllib.request.urlopen(request, timeout=timeout) as response:
                return bytes(response.read()).decode()
        except urllib.error.HTTPError as error:
            with error:
                raise RuntimeError(error.read().decode(errors="replace").strip()) from None

    def ask(
        self,
        body: str | bytes | None = None,
        *,
        method: str = "POST",
        path: str = "/",
        headers: Mapping[str, str] | None = None,
        timeout: float = 60.0,
        **parameters: str | int,
    ) -> Answer:
        """One request as it is, and the answer as it is. `parameters` are those of the URL."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            target = f"{path}?{urlencode(parameters)}" if parameters else path
            content = body.encode() if isinstance(body, str) else body
            connection.request(method, target, content, dict(headers or {}))
            response = connection.getresponse()
            names = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, names, response.read())
        finally:
            connection.close()

    def running(self, marker: str) -> int:
        """How many queries with this text are being executed."""
        pattern = marker.replace("'", "\\'")
        return int(
            self.query(
                f"SELECT count() FROM system.processes WHERE position(query, '{pattern}') > 0 AND query_id != queryID()"
            )
        )

    def kill9(self) -> None:
        """End it without warning, as a crash would."""
        self._end(signal.SIGKILL, 30.0)

    def stop(self, timeout: float = 30.0) -> int:
        """Ask it to stop and wait; its exit status."""
        return self._end(signal.SIGTERM, timeout)

    def _end(self, number: int, timeout: float) -> int:
        process, self.process = self.process, None
        if process is None:
            return 0
        if process.poll() is None:
            process.send_signal(number)
        try:
            return process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise

    def __enter__(self) -> Self:
        return self if self.process else self.start()

    def __exit__(self, *_: object) -> None:
        ended = self.process.poll() if self.process else None
        self.stop()
        assert not ended, f"ClickHouse ended by itself with status {ended}"
