"""When the next attempt of a callback is due."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Protocol

from msgspec import Struct


class Schedule(Protocol):
    """Decides after each failure. All times are Unix milliseconds."""

    @property
    def window_ms(self) -> int:
        """How long attempts are made."""
        ...

    def next_attempt(self, attempts: int, first_ms: int, failed_ms: int, retry_after_ms: int = 0) -> int | None:
        """When to try again after `attempts` attempts, the last of which failed at `failed_ms`; None: give up.

        `first_ms` is when the first attempt began, moved on by the time in which nobody was there to try;
        `retry_after_ms` is how long the endpoint asked to be left alone, 0 where it did not ask.
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

    def next_attempt(self, attempts: int, first_ms: int, failed_ms: int, retry_after_ms: int = 0) -> int | None:
        """See `Schedule`."""
        due_ms = failed_ms if attempts == 1 else failed_ms + self.interval_ms
        return due_ms if due_ms - first_ms < self.window_ms else None

    def over(self, first_ms: int, now_ms: int) -> bool:
        """See `Schedule`."""
        return now_ms - first_ms >= self.window_ms + _LATENESS_MS


class DurableSchedule(Struct, frozen=True):
    """For days: after each failure twice as long as after the one before, up to a cap, half of it left to chance.

    Chance keeps the callbacks of an outage from all coming back in the same moment. An endpoint that asks for more time
    gets it, up to the cap too. No attempt begins `window_ms` after the first or later.
    """

    base_ms: int = 5_000
    cap_ms: int = 3_600_000
    window_ms: int = 259_200_000
    chance: Callable[[], float] = random.random
    """A number in [0, 1)."""

    def next_attempt(self, attempts: int, first_ms: int, failed_ms: int, retry_after_ms: int = 0) -> int | None:
        """See `Schedule`."""
        # Beyond that the cap has long been reached, and the power would become too large.
        longest_ms = min(self.cap_ms, self.base_ms << min(attempts - 1, 40))
        wait_ms = round(longest_ms * (1 + self.chance()) / 2)
        due_ms = failed_ms + max(wait_ms, min(retry_after_ms, self.cap_ms))
        return due_ms if due_ms - first_ms < self.window_ms else None

    def over(self, first_ms: int, now_ms: int) -> bool:
        """See `Schedule`."""
        return now_ms - first_ms >= self.window_ms + _LATENESS_MS
