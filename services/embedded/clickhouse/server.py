"""The life of the server process: one folder, one port, from start to a clean stop."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import structlog

from services.embedded.clickhouse.engine import Engine, EngineFailed, EngineMissing
from services.embedded.clickhouse.interface import Interface
from services.embedded.clickhouse.users import UnusableUser, lets_strangers_in

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from services.runtime.settings import Settings

STOP_SECONDS = 2.5
START_SECONDS = 120.0

log = structlog.get_logger(__name__)


class Refused(Exception):
    """The server cannot start; the message tells why in one line."""


def serve(settings: Settings) -> int:
    """Run until SIGTERM or SIGINT; the exit status, 1 after a refusal or a failure, which are logged in one line."""
    folder = (settings.data / "clickhouse").absolute()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _sole_owner(folder):
            _require_free_port(settings.host, settings.clickhouse_port)
            if lets_strangers_in(settings):
                log.warning(
                    "other machines can enter without a password: name a user with one in ROOMPULSE_CLICKHOUSE_URL, "
                    "and set ROOMPULSE_CLICKHOUSE_ANALYST_PASSWORD"
                )
            _run(settings, folder, stop)
    except (Refused, UnusableUser, EngineMissing, EngineFailed, OSError) as failure:
        log.error(str(failure))
        return 1
    return 0


def _run(settings: Settings, folder: Path, stop: threading.Event) -> None:
    # The engine takes the zone of times without one from the environment; ours is the same on every machine.
    os.environ["TZ"] = "UTC"
    interface = Interface(settings)
    engine = Engine(settings, folder)
    started = time.monotonic()
    engine.start()
    try:
        while not interface.answers():
            engine.wait(0.02)
            if time.monotonic() - started > START_SECONDS:
                raise Refused(f"ClickHouse does not answer after {START_SECONDS:.0f} s")
        log.info("listening", url=interface.url, data=str(folder), seconds=round(time.monotonic() - started, 2))
        while not stop.wait(1.0):
            engine.wait(0)
            interface.end_abandoned_queries()
        log.info("stopping")
    finally:
        engine.stop()
        interface.hang_up()
        if not engine.wait(STOP_SECONDS):
            log.warning("stopped while clients were being served")
            os._exit(0)
    log.info("stopped")


@contextmanager
def _sole_owner(folder: Path) -> Iterator[None]:
    with (folder / "server.lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            raise Refused(f"another ClickHouse (process {file.read().strip()}) holds {folder}") from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def _require_free_port(host: str, port: int) -> None:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise Refused(f"cannot listen on {host}:{port} for ClickHouse: {error.strerror}") from None
