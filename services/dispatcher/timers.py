"""Deliveries that wait for a point of time."""

from __future__ import annotations

import asyncio
import heapq
from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.dispatcher.delivery import Delivery
    from services.runtime.clock import Clock


class Alarm:
    """Calls at the earliest of the times that it was set to."""

    def __init__(self, clock: Clock, ring: Callable[[], None]) -> None:
        self._clock = clock
        self._ring = ring
        self._at_ms = 0
        self._handle: asyncio.TimerHandle | None = None

    def set(self, at_ms: int) -> None:
        """Call at a time, or before."""
        if self._handle is not None:
            if self._at_ms <= at_ms:
                return
            self._handle.cancel()
        self._at_ms = at_ms
        wait_s = max(0, at_ms - self._clock()) / 1000
        self._handle = asyncio.get_running_loop().call_later(wait_s, self._go_off)

    def close(self) -> None:
        """Call no more."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _go_off(self) -> None:
        self._handle = None
        self._ring()


class RetryTimers:
    """Hands out deliveries when they are due; those of partitions that are gone are passed over."""

    def __init__(self, clock: Clock, hand_out: Callable[[Delivery], None]) -> None:
        self._clock = clock
        self._hand_out = hand_out
        self._heap: list[tuple[int, int, Delivery]] = []
        self._order = count()
        self._alarm = Alarm(clock, self._ring)

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, delivery: Delivery) -> None:
        """Hand it out at `delivery.due_ms`, in the order of these times."""
        heapq.heappush(self._heap, (delivery.due_ms, next(self._order), delivery))
        self._alarm.set(delivery.due_ms)

    def close(self) -> None:
        """Hand nothing out any more."""
        self._heap.clear()
        self._alarm.close()

    def _ring(self) -> None:
        now_ms = self._clock()
        while self._heap and self._heap[0][0] <= now_ms:
            delivery = heapq.heappop(self._heap)[2]
            if not delivery.partition.draining:
                self._hand_out(delivery)
        if self._heap:
            self._alarm.set(self._heap[0][0])
