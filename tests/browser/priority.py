"""CPU for what has to be in time."""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from tests.browser import chromium

if TYPE_CHECKING:
    from collections.abc import Iterator

HIGH = -10
USUAL = 0


@contextlib.contextmanager
def first() -> Iterator[None]:
    """This process, which carries the packets, and its browsers go before the rest of the machine, where they may.

    A browser that gets no CPU for the better part of a second shows true freezes. Two calls need a third of a small
    machine, but one that builds and tests a dozen other things leaves them less; only root can ask for more. Of
    several test processes only one is first at a time, the others wait for their turn.
    """
    here = psutil.Process()
    with Path(__file__).open() as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        _favour([here, *_browsers(here)], HIGH)
        try:
            yield
        finally:
            _favour([here], USUAL)


def _browsers(here: psutil.Process) -> list[psutil.Process]:
    found = []
    for process in here.children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if chromium.FAKE_DEVICES in process.cmdline():
                found += [process, *process.children(recursive=True)]
    return found


def _favour(processes: list[psutil.Process], nice: int) -> None:
    for process in processes:
        # Linux may share CPU between sessions first, whatever the processes in them ask for.
        with contextlib.suppress(OSError):
            Path(f"/proc/{process.pid}/autogroup").write_text(str(nice))
        with contextlib.suppress(OSError, psutil.Error):
            for thread in process.threads():
                os.setpriority(os.PRIO_PROCESS, thread.id, nice)
