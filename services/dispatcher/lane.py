"""The retry lane: callbacks that Kafka holds apart from their events, whose offsets may go on."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec

from schemas.topics import RETRIES
from services.runtime.journal import Entry

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.dispatcher.delivery import Delivery
    from services.dispatcher.partition import Partition
    from services.runtime.journal import Journal


class RetryLane:
    """Writes callbacks into the lane and out of it, and completes the offsets of their events.

    A callback has one record, replaced whenever it changes and removed when it is done. The offset of its event is
    completed after the lane has it; a crash in between repeats the event, which is then known to be in the lane.
    """

    def __init__(self, journal: Journal, on_progress: Callable[[], None]) -> None:
        """`on_progress` is called when offsets were completed."""
        self._journal = journal
        self._on_progress = on_progress

    async def write(self, delivery: Delivery, *before: Entry) -> int | None:
        """Let Kafka have other records and then a callback as it is now.

        The result is the offset of its record. None: it has none, since it was finished meanwhile or is too large.
        """
        await _settled(delivery)
        if delivery.done:
            return None
        ours = delivery.moving = asyncio.get_running_loop().create_future()
        try:
            offsets = await self._journal.write(*before, _entry(delivery, msgspec.json.encode(delivery.to_record())))
        finally:
            ours.set_result(None)
            delivery.moving = None
        delivery.lane_offset = offsets[-1]
        return offsets[-1] if offsets[-1] >= 0 else None

    async def hold(self, delivery: Delivery, *before: Entry) -> None:
        """Write a callback that stays in memory too."""
        offset = await self.write(delivery, *before)
        partition = delivery.partition
        if offset is not None and not partition.closed and not delivery.in_lane:
            delivery.in_lane = True
            partition.lane[delivery.delivery_id] = delivery
            self.complete(partition, delivery.offset)

    async def finish(self, delivery: Delivery) -> None:
        """Forget a callback that is done with; Kafka has everything that is to be kept of it."""
        await _settled(delivery)
        delivery.done = True
        partition = delivery.partition
        if partition.closed:
            return
        if not delivery.in_lane:
            self.complete(partition, delivery.offset)
            return
        await self._journal.write(_entry(delivery, None))
        partition.lane.pop(delivery.delivery_id, None)

    def complete(self, partition: Partition, offset: int) -> None:
        """Note that nothing is left to do for an event."""
        partition.complete(offset)
        self._on_progress()


async def _settled(delivery: Delivery) -> None:
    """Return when no write to the lane is under way."""
    while delivery.moving is not None:
        # Not awaited itself: whoever is cancelled while awaiting a future cancels it for everybody.
        await asyncio.wait([delivery.moving])


def _entry(delivery: Delivery, value: bytes | None) -> Entry:
    return Entry(RETRIES.name, delivery.delivery_id.encode(), value, delivery.partition.lane_number)
