"""Our own side of the engine's HTTP interface: whether it answers, what it serves, whom it serves."""

from __future__ import annotations

import http.client
import os
import socket
import stat
from contextlib import suppress
from typing import TYPE_CHECKING

from services.embedded.clickhouse.users import administrator

if TYPE_CHECKING:
    from collections.abc import Iterator

    from services.runtime.settings import Settings


class Interface:
    """The HTTP port of the engine in this process."""

    def __init__(self, settings: Settings) -> None:
        self._port = settings.clickhouse_port
        self._host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)  # noqa: S104
        self._user, self._password = administrator(settings)
        self.url = f"http://{f'[{self._host}]' if ':' in self._host else self._host}:{self._port}"

    def answers(self) -> bool:
        """Whether the engine answers queries."""
        try:
            return self.ask("SELECT 1") == "1\n"
        except OSError:
            return False

    def ask(self, query: str, timeout: float = 5.0) -> str:
        """The answer to a query of the administrator; any failure is an `OSError`."""
        connection = http.client.HTTPConnection(self._host, self._port, timeout=timeout)
        try:
            headers = {"X-ClickHouse-User": self._user, "X-ClickHouse-Key": self._password, "Connection": "close"}
            connection.request("POST", "/", query.encode(), headers)
            response = connection.getresponse()
            text = response.read().decode(errors="replace")
        except http.client.HTTPException as error:
            raise OSError(str(error)) from error
        finally:
            connection.close()
        if response.status != 200:
            raise OSError(text.strip())
        return text

    def end_abandoned_queries(self) -> None:
        """Stop the SELECTs whose client has closed its connection.

        The engine does so itself for requests that may only read; a SELECT that was posted it would otherwise run on
        until it has something to send. Anything that writes is left to finish.
        """
        abandoned = []
        for connection in self.connections():
            # Who resets it at this moment has no name any more, and the engine sees for itself that it is gone.
            with connection, suppress(OSError):
                host, port, *_ = connection.getpeername()
                if _closed_by_peer(connection):
                    abandoned.append(f"(toIPv6('{host}'), {port})")
        if abandoned:
            clients = ", ".join(abandoned)
            with suppress(OSError):
                self.ask(f"KILL QUERY WHERE query_kind = 'Select' AND (address, port) IN ({clients}) FORMAT Null")

    def hang_up(self) -> None:
        """Take no further request on any connection; answers on their way still go out."""
        for connection in self.connections():
            with connection, suppress(OSError):
                connection.shutdown(socket.SHUT_RD)

    def connections(self) -> Iterator[socket.socket]:
        """The engine's ends of its clients' connections, as duplicates that the caller closes."""
        try:
            names = os.listdir("/dev/fd")
        except OSError:
            # No descriptor is free to open the folder with.
            return
        for name in names:
            duplicate = _duplicate_socket(int(name))
            if duplicate is not None:
                if _serves(duplicate, self._port):
                    yield duplicate
                else:
                    duplicate.close()


def _duplicate_socket(descriptor: int) -> socket.socket | None:
    try:
        if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            return None
        duplicate = os.dup(descriptor)
    except OSError:
        return None
    try:
        return socket.socket(fileno=duplicate)
    except OSError:
        os.close(duplicate)
        return None


def _serves(connection: socket.socket, port: int) -> bool:
    if connection.family not in (socket.AF_INET, socket.AF_INET6):
        return False
    try:
        return bool(connection.getsockname()[1] == port and connection.getpeername())
    except OSError:
        return False


def _closed_by_peer(connection: socket.socket) -> bool:
    try:
        return connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True
