"""The memory of events that were seen lately, so that an event that comes again is called back once."""

from __future__ import annotations

from collections import deque

REMEMBERED_MS = 10 * 60_000
_SPAN_MS = REMEMBERED_MS // 4


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
        generations[-1][1].add(event)
        return False

    def __len__(self) -> int:
        return sum(len(events) for _, events in self._generations)
