"""Cutting intervals of tasks at five minutes and at ten seconds. Arithmetic alone."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from schemas.touched import BUCKET_MS
from services.processor.usage.tasks import charges

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from schemas.tasks import TaskInterval
    from services.processor.usage.tasks import Charge

SLOT_MS = 300_000


class SlotKey(NamedTuple):
    """A row of `task_usage_5m` of one task."""

    slot_ms: int
    kind: str
    free: bool
    room_id: str
    room_id_type: int
    user_id: str


class SlotUsage:
    """What a row holds."""

    def __init__(self) -> None:
        self.tier_ms = [0, 0, 0, 0, 0]
        self.bits = 0
        self.record_mode = ""


class TaskUsage:
    """What one task is charged as, from all its intervals near some time."""

    def __init__(self, intervals: Iterable[TaskInterval]) -> None:
        self.slots: defaultdict[SlotKey, SlotUsage] = defaultdict(SlotUsage)
        self.relays: defaultdict[tuple[int, bool], tuple[int, int]] = defaultdict(lambda: (0, 0))
        """(bucket in Unix ms, free) to bits times 1000 and milliseconds."""
        ordered = sorted(intervals, key=lambda interval: interval.start_ms)
        for number, interval in enumerate(ordered):
            # The next interval says what is right from its start on.
            end = interval.end_ms
            if number + 1 < len(ordered):
                end = min(end, ordered[number + 1].start_ms)
            for charge in charges(interval):
                self._add(charge, interval, end)

    def _add(self, charge: Charge, interval: TaskInterval, end_ms: int) -> None:
        if charge.kind == "relay":
            for bucket, length in cut(interval.start_ms, end_ms, BUCKET_MS):
                bits, milliseconds = self.relays[bucket, charge.free]
                self.relays[bucket, charge.free] = (bits + charge.bitrate * length, milliseconds + length)
            return
        for slot, length in cut(interval.start_ms, end_ms, SLOT_MS):
            key = SlotKey(slot, charge.kind, charge.free, charge.room_id, charge.room_id_type, charge.user_id)
            usage = self.slots[key]
            usage.tier_ms[charge.tier] += length * charge.times
            usage.bits += charge.bitrate * length
            if charge.kind == "record":
                usage.record_mode = interval.record_mode or usage.record_mode


def cut(start_ms: int, end_ms: int, size_ms: int) -> Iterator[tuple[int, int]]:
    """A time cut at multiples of a size: where each part's cell starts, and how long the part is."""
    while start_ms < end_ms:
        cell = start_ms - start_ms % size_ms
        until = min(end_ms, cell + size_ms)
        yield cell, until - start_ms
        start_ms = until
