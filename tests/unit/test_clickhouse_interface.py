"""Looking after the engine's connections, with a listener in the engine's place."""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING

from services.embedded.clickhouse import interface
from services.embedded.clickhouse.interface import Interface
from services.runtime.settings import Settings
from tests.support.clickhouse import wait_until

if TYPE_CHECKING:
    import pytest

RESET = struct.pack("ii", 1, 0)
"""With this linger a closed connection is reset."""


def test_a_client_that_resets_its_connection_at_any_moment_harms_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        client = socket.create_connection(("127.0.0.1", port))
        served, _ = listener.accept()
        looked_at = []
        serves = interface._serves

        def serves_and_is_reset(connection: socket.socket, port: int) -> bool:
            if not serves(connection, port):
                return False
            looked_at.append(connection)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            client.close()
            wait_until(lambda: not serves(served, port))
            return True

        monkeypatch.setattr(interface, "_serves", serves_and_is_reset)
        with served:
            Interface(Settings(clickhouse_url=f"http://127.0.0.1:{port}")).end_abandoned_queries()
        assert looked_at
