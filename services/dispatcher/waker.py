"""Waking dormant callbacks: what is due soon is fetched from the retry lane again.

That costs each its record once more to read, which is little beside an attempt.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog
from aiokafka.errors import KafkaError

from services.dispatcher.delivery import Delivery
from services.dispatcher.dormant import offset_of
from services.dispatcher.overflow import LOAD_AT_MOST

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.dispatcher.occupancy import Occupancy
    from services.dispatcher.overflow import LaneReader
    from services.dispatcher.partition import Partition
    from services.runtime.clock import Clock

log = structlog.get_logger(__name__)

FAR_MS = 30_000
"""From so far on the next attempt is not waited for in memory."""
_AHEAD_MS = 2_000
"""So long before it is due a callback is fetched."""


class Waker:
    """Fetches dormant callbacks from the lane when they are due and their endpoints may have more in memory."""

    def __init__(
        self, *, lane_reader: LaneReader, occupancy: Occupancy, clock: Clock, on_awake: Callable[[Delivery], None]
    ) -> None:
        """`on_awake` is called with each callback, which is in memory then and has to be waited for."""
        self._lane_reader = lane_reader
        self._occupancy = occupancy
        self._clock = clock
        self._on_awake = on_awake

    async def wake(self, partition: Partition) -> None:
        """Fetch what is due soon. Where Kafka is away it sleeps on."""
        now_ms = self._clock()
        taken = partition.dormant.take(now_ms + _AHEAD_MS, self._occupancy.room, LOAD_AT_MOST)
        if not taken:
            return
        try:
            offsets = [offset_of(entry) for _, entry in taken]
            values, covered = await self._lane_reader.read(partition.lane_number, offsets)
        except KafkaError as error:
            log.warning("the retry lane cannot be read, trying again", error=repr(error))
            values, covered = [], 0
        if partition.draining:
            return
        for key, entry in taken[covered:]:
            partition.dormant.add(key, entry)
        now_ms = self._clock()
        for offset, value in values:
            delivery = Delivery.in_the_lane(offset, value, partition, now_ms)
            # Nobody was there to try while no dispatcher had the partition.
            delivery.excuse(partition.adopted_ms)
            self._on_awake(delivery)
