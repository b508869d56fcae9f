"""Child processes: started with a log file each, restarted when they crash, stopped within a bound."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
import time
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

log = structlog.get_logger(__name__)

RESTART_AFTER_S = (0.5, 1.0, 2.0, 5.0, 10.0)
"""Waits before the first, second, … restart; a child that ran for a minute begins anew."""
STEADY_AFTER_S = 60.0
_PR_SET_PDEATHSIG = 1


class Child:
    """One process that is meant to run until `stop`."""

    def __init__(self, name: str, argv: Sequence[str], env: Mapping[str, str], log_file: Path) -> None:
        self.name = name
        self.log_file = log_file
        self._argv = list(argv)
        self._env = dict(env)
        self._process: asyncio.subprocess.Process | None = None
        self._watch: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """The process id while the child runs."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    async def start(self) -> None:
        """Start it, and again whenever it ends by itself."""
        process = await self._spawn()
        self._watch = asyncio.create_task(self._restart_for_ever(process), name=f"watch {self.name}")

    async def stop(self, within_s: float) -> None:
        """SIGTERM, and SIGKILL where that was not enough."""
        if self._watch is not None:
            self._watch.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watch
        process = self._process
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), within_s)
        except TimeoutError:
            log.warning("did not stop in time, killed", child=self.name, seconds=within_s)
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    def last_lines(self, count: int = 5) -> str:
        """The end of its log."""
        with contextlib.suppress(OSError):
            return "\n".join(self.log_file.read_text(errors="replace").splitlines()[-count:])
        return ""

    async def _spawn(self) -> asyncio.subprocess.Process:
        self.log_file.parent.mkdir(parents=True, exist_ok=True)
        with self.log_file.open("ab") as output:
            self._process = await asyncio.create_subprocess_exec(
                *self._argv,
                env=self._env,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                # Ctrl-C reaches this process alone, which then stops the children in their order.
                start_new_session=True,
                preexec_fn=_die_with_parent if sys.platform == "linux" else None,
            )
        return self._process

    async def _restart_for_ever(self, process: asyncio.subprocess.Process) -> None:
        crashes = 0
        while True:
            started = time.monotonic()
            status = await process.wait()
            if time.monotonic() - started > STEADY_AFTER_S:
                crashes = 0
            wait = RESTART_AFTER_S[min(crashes, len(RESTART_AFTER_S) - 1)]
            crashes += 1
            log.error(
                "ended unexpectedly, starting it again",
                child=self.name,
                status=status,
                wait_s=wait,
                log=str(self.log_file),
                last_lines=self.last_lines(2),
            )
            await asyncio.sleep(wait)
            process = await self._spawn()


def _die_with_parent() -> None:
    """Ask the kernel for a SIGTERM when the parent dies, so that a killed supervisor leaves nothing behind."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() == 1:
        os._exit(1)
