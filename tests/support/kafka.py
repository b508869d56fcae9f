"""The embedded Kafka as a process of its own, for tests."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Self

from services.embedded.kafka import wait_ready
from tests.support.clickhouse import free_port

if TYPE_CHECKING:
    from pathlib import Path


class KafkaBroker:
    """`python -m services.embedded.kafka` on a data folder; as a context manager it is stopped at the end.

    `port` stays the same over restarts.
    """

    def __init__(self, data: Path, port: int | None = None) -> None:
        self.data = data
        self.port = port or free_port()
        self.bootstrap = f"127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def launch(self) -> subprocess.Popen[bytes]:
        """Start the process without waiting for its readiness."""
        environment = {
            "ROOMPULSE_DATA": str(self.data),
            "ROOMPULSE_KAFKA_BOOTSTRAP": self.bootstrap,
            "ROOMPULSE_HOST": "127.0.0.1",
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "services.embedded.kafka"],
            env={**os.environ, **environment},
            start_new_session=True,
        )
        return self.process

    def start(self, timeout: float = 180.0) -> Self:
        """Start the process and wait until a produce and a group join work."""
        self.launch()
        # A thread of its own, since tests call this inside and outside of an event loop.
        failure: list[BaseException] = []

        def wait() -> None:
            try:
                asyncio.run(wait_ready(self.bootstrap, timeout))
            except BaseException as error:
                failure.append(error)

        thread = threading.Thread(target=wait)
        thread.start()
        thread.join()
        if failure:
            self.kill9()
            raise RuntimeError("Kafka did not become ready") from failure[0]
        return self

    def kill9(self) -> None:
        """End it without warning, as a crash would."""
        self._end(signal.SIGKILL, 30.0)

    def stop(self, timeout: float = 30.0) -> int:
        """Ask it to stop and wait; its exit status."""
        return self._end(signal.SIGTERM, timeout)

    def _end(self, number: int, timeout: float) -> int:
        if self.process is None:
            return 0
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        finally:
            self.process = None

    def __enter__(self) -> Self:
        return self if self.process else self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()
