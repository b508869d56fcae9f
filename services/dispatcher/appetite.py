"""How many events are taken at a time: what gets done soon, so that little has to make way for the watermark."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

MOST_PENDING = 4_000
LEAST_PENDING = 1_000
"""Weight of the events that are taken and not completed, one each if they are not large; further ones Kafka keeps."""
_AHEAD_S = 1.5
"""Work for so long is taken. What waits for longer than two seconds goes to the retry lane and costs as much again."""
_MEASURED_S = 0.25


class Appetite:
    """Follows how fast events are completed."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._measured_at = clock()
        self._completed = 0
        self._limit = LEAST_PENDING

    def limit(self, completed: int) -> int:
        """How much may be pending now that so many events have been completed in all."""
        now = self._clock()
        passed = now - self._measured_at
        if passed >= _MEASURED_S:
            rate = (completed - self._completed) / passed
            self._limit = min(MOST_PENDING, max(LEAST_PENDING, round(rate * _AHEAD_S)))
            self._measured_at, self._completed = now, completed
        return self._limit
