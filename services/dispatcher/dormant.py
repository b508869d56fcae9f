"""Callbacks whose next attempt is some time away: the retry lane holds them, and memory only when and where.

There may be a million of them. Nothing here waits or talks to anybody.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from services.dispatcher.scheduler import EndpointKey

_OFFSET_BITS = 40
_OFFSET_MASK = (1 << _OFFSET_BITS) - 1
_NEVER = 1 << 62


class Dormant:
    """When callbacks of one partition are due (Unix ms) and at which offsets the lane has them, by endpoint."""

    def __init__(self) -> None:
        self._heaps: dict[EndpointKey, list[int]] = {}
        """Due time and offset in one number, which takes little room."""
        self._next_ms = _NEVER
        """None is due before."""

    def __len__(self) -> int:
        return sum(map(len, self._heaps.values()))

    def add(self, key: EndpointKey, entry: int) -> None:
        """One more sleeps, as `packed` makes it."""
        heapq.heappush(self._heaps.setdefault(key, []), entry)
        self._next_ms = min(self._next_ms, entry >> _OFFSET_BITS)

    def add_all(self, key: EndpointKey, found: Iterable[int]) -> None:
        """Add many at once."""
        heap = self._heaps.setdefault(key, [])
        heap += found
        heapq.heapify(heap)
        self._next_ms = min(self._next_ms, heap[0] >> _OFFSET_BITS)

    def take(self, by_ms: int, room: Callable[[EndpointKey], int], most: int) -> list[tuple[EndpointKey, int]]:
        """Take out what is due by a time, the most urgent ones of each endpoint that has `room` for so many.

        In order of their offsets in the lane; `offset_of` tells them.
        """
        if by_ms < self._next_ms:
            return []
        taken: list[tuple[EndpointKey, int]] = []
        self._next_ms = _NEVER
        for key, heap in list(self._heaps.items()):
            left = room(key) if heap[0] >> _OFFSET_BITS <= by_ms else 0
            while heap and heap[0] >> _OFFSET_BITS <= by_ms and left > 0 and len(taken) < most:
                taken.append((key, heapq.heappop(heap)))
                left -= 1
            if heap:
                self._next_ms = min(self._next_ms, heap[0] >> _OFFSET_BITS)
            else:
                del self._heaps[key]
        return sorted(taken, key=lambda one: offset_of(one[1]))

    def clear(self) -> None:
        """Forget all."""
        self._heaps.clear()
        self._next_ms = _NEVER


def packed(due_ms: int, offset: int) -> int:
    """Due time and offset in one number."""
    return due_ms << _OFFSET_BITS | offset


def offset_of(entry: int) -> int:
    """The offset of what `packed` made."""
    return entry & _OFFSET_MASK
