"""The time of day, behind one name so that tests can set it."""

from __future__ import annotations

import time
from collections.abc import Callable

Clock = Callable[[], int]
"""Gives Unix milliseconds."""


def now_ms() -> int:
    """Unix milliseconds now."""
    return time.time_ns() // 1_000_000
