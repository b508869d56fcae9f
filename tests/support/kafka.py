"""The embedded Kafka as a process of its own, for tests."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Self

from services.embedded.kafka import wait_ready
from tests.support.clickhouse import free_port

if TYPE_CHECKING:
    from pathlib import Path


class KafkaBroker:
    """`python -m services.embedded.kafka` on a data folder; as a context manager it is stopped at the end.

    `port` stays the same over restarts; `environment` is added to this process's.
    """

    def __init__(self, data: Path, port: int | None = None, *, environment: dict[str, str] | None = None) -> None:
        self.data = data
        self.port = port or free_port()
        self.bootstrap = f"127.0.0.1:{self.port}"
        self._environment = environment or {}
        self.process: subprocess.Popen[bytes] | None = None

    def launch(self, *, stderr: int | None = None) -> subprocess.Popen[bytes]:
        """Start the process without waiting for its readiness."""
        environment = {
            "ROOMPULSE_DATA": str(self.data),
            "ROOMPULSE_KAFKA_BOOTSTRAP": self.bootstrap,
            "ROOMPULSE_HOST": "127.0.0.1",
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "services.embedded.kafka"],
            env={**os.environ, **environment, **self._environment},
            stderr=stderr,
            start_new_session=True,
        )
        return self.process

    def start(self, timeout: float = 180.0) -> Self:
        """Start the process and wait until a produce and a group join work.

        Raises `RuntimeError` when the process ends before that, `TimeoutError` when it takes longer than `timeout`.
        """
        process = self.launch()
        # A thread of its own, since tests call this inside and outside of an event loop.
        with ThreadPoolExecutor(1) as thread:
            try:
                thread.submit(asyncio.run, self._wait_ready(process, timeout)).result()
            except BaseException:
                self.kill9()
                raise
        return self

    async def _wait_ready(self, process: subprocess.Popen[bytes], timeout: float) -> None:
        waiting = asyncio.create_task(wait_ready(self.bootstrap, timeout))
        while not (await asyncio.wait({waiting}, timeout=0.1))[0]:
            if process.poll() is not None:
                waiting.cancel()
                await asyncio.gather(waiting, return_exceptions=True)
                raise RuntimeError(f"Kafka ended with status {process.returncode} before it was ready")
        waiting.result()

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
