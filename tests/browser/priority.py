"""CPU for what has to be in time."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

STEPS = 10


@contextlib.contextmanager
def first() -> Iterator[None]:
    """What this thread does and starts meanwhile goes before the rest of the machine, where we may have that.

    A browser that gets no CPU for the better part of a second shows true freezes. On a user's own machine it gets
    some; on one that builds and tests a dozen things at once, it has to ask.
    """
    usual = os.getpriority(os.PRIO_PROCESS, 0)
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, usual - STEPS)
    try:
        yield
    finally:
        os.setpriority(os.PRIO_PROCESS, 0, usual)
