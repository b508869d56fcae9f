"""When the next attempt of a callback is due."""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct


class Schedule(Protocol):
    """Decides after each failure. All times are Unix milliseconds."""

    def next_attempt(self, attempts: int, first_ms: int, failed_ms: int) -> int | None:
        """When to try again after `attempts` attempts, the last of which failed at `failed_ms`; None: give up.

        `first_ms` is when the first attempt began, moved on by the time in which nobody was there to try.
        """
        ...

    def over(self, first_ms: int, now_ms: int) -> bool:
        """Whether it is too late for an attempt that was due."""
        ...


_LATENESS_MS = 250
"""An attempt may begin so much later than it was due."""


class VendorSchedule(Struct, frozen=True):
    """At once after the first failure, then `interval_ms` after each further one.

    No attempt begins `window_ms` after the first or later: an endpoint that fails at once gets seven attempts (at 0, 0,
    10, 20, 30, 40 and 50 s), one that always times out five (at 0, 5, 20, 35 and 50 s).
    """

    interval_ms: int = 10_000
    window_ms: int = 60_000

    def next_attempt(self, attempts: int, first_ms: int, failed_ms: int) -> int | None:
        """See `Schedule`."""
        due_ms = failed_ms if attempts == 1 else failed_ms + self.interval_ms
        return due_ms if due_ms - first_ms < self.window_ms else None

    def over(self, first_ms: int, now_ms: int) -> bool:
        """See `Schedule`."""
        return now_ms - first_ms >= self.window_ms + _LATENESS_MS
