"""Our own side of the engine's HTTP interface: whether it answers, what it serves, whom it serves."""

from __future__ import annotations

import http.client
import os
import socket
from typing import TYPE_CHECKING

from services.embedded.clickhouse.configuration import administrator

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

    def hang_up(self) -> None:
        """Take no further request on any connection; answers on their way still go out."""
        for connection in self.connections():
            with connection:
                try:
                    connection.shutdown(socket.SHUT_RD)
                except OSError:
                    continue

    def connections(self) -> Iterator[socket.socket]:
        """The engine's ends of its clients' connections, as duplicates that the caller closes."""
        for name in os.listdir("/dev/fd"):
            try:
                duplicate = socket.socket(fileno=os.dup(int(name)))
            except OSError:
                continue
            try:
                if duplicate.getsockname()[1] == self._port and duplicate.getpeername():
                    yield duplicate
                    continue
            except (OSError, IndexError):
                pass
            duplicate.close()
