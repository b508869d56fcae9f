"""The memory of events that were seen lately, so that an event that comes again is called back once."""

from __future__ import annotations

from collections import deque

REMEMBERED_MS = 10 * 60_000
_SPAN_MS = REMEMBERED_MS // 4
MAX_REMEMBERED = 400_000
"""Events of one partition, about 80 bytes each; at more than 600 a second the memory is shorter than ten minutes."""


class RecentEvents:
    """Events of one partition by a number that stands for their id.

    Time is that of the records, so that reading a partition again comes to the same result. An event is remembered for
    at least `REMEMBERED_MS`, at most a quarter longer.
    """

    def __init__(self) -> None:
        self._generations: deque[tuple[int, set[int]]] = deque()
        """Each with the end of its time; the last is the one that is written to."""

    def seen(self, event: int, timestamp_ms: int) -> bool:
        """Whether the event was here lately; it is remembered from now on."""
        generations = self._generations
        if not generations or timestamp_ms >= generations[-1][0]:
            while generations and generations[0][0] <= timestamp_ms - REMEMBERED_MS:
                generations.popleft()
            generations.append((timestamp_ms + _SPAN_MS, set()))
        for _, events in generations:
            if event in events:
                return True
        newest = generations[-1][1]
        newest.add(event)
        if len(newest) >= MAX_REMEMBERED // 4:
            generations.append((generations[-1][0], set()))
            while len(generations) > 4:
                generations.popleft()
        return False

    def __len__(self) -> int:
        return sum(len(events) for _, events in self._generations)
