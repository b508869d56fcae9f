"""What a dispatcher holds of one partition of `events` while the partition is its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.dispatcher.dormant import Dormant
from services.dispatcher.recent import RecentEvents
from services.dispatcher.tracker import OffsetTracker

if TYPE_CHECKING:
    import asyncio

    from schemas.applications import CallbackSchedule
    from services.dispatcher.delivery import Delivery
    from services.dispatcher.overflow import Backlog, Marks
    from services.dispatcher.scheduler import EndpointKey


class Partition:
    """Offsets, the memory of recent events, and the callbacks of one partition.

    A callback is in `pending` while its event's offset waits for it, in `lane` while the retry lane holds it too, in
    `overflow` or `dormant` while nothing but the retry lane does.
    """

    def __init__(self, number: int, lane_number: int) -> None:
        self.number = number
        self.lane_number = lane_number
        self.tracker = OffsetTracker(0)
        self.recent = RecentEvents()
        self.pending: dict[int, Delivery] = {}
        """By offset, oldest first."""
        self.pending_weight = 0
        self.lane: dict[str, Delivery] = {}
        """By delivery id."""
        self.overflow: dict[EndpointKey, Backlog] = {}
        self.dormant = Dormant()
        self.adopted_ms = 0
        """Since when this dispatcher has it."""
        self.marks: dict[CallbackSchedule, Marks] = {}
        """When the lane was written how far, as finely as each schedule needs it."""
        self.found: dict[tuple[int, int], list[int]] = {}
        """First attempts that an earlier owner left in the lane: their offsets by SdkAppId and event group."""
        self.found_again: dict[tuple[int, int], list[int]] = {}
        """The same for further attempts, `packed`."""
        self.holders: list[tuple[int, int, str, str, int]] = []
        """Callbacks whose first attempt was lately: SdkAppId, event group, room, delivery id, and when that was."""
        self.tasks: set[asyncio.Task[None]] = set()
        """Attempts and writes under way."""
        self.ready = False
        """Whether what an earlier owner left has been read."""
        self.draining = False
        """Whether nothing new begins, since the partition goes to another dispatcher."""
        self.closed = False
        """Whether it is gone: what ends now is ignored."""
        self.dirty = False
        """Whether something was completed since the last commit."""

    def pend(self, delivery: Delivery) -> None:
        """Note that an event's offset waits for its callback."""
        self.pending[delivery.offset] = delivery
        self.pending_weight += delivery.weight

    def complete(self, offset: int) -> None:
        """Note that an event is done with, or that the retry lane has it."""
        delivery = self.pending.pop(offset, None)
        if delivery is not None:
            self.pending_weight -= delivery.weight
        self.tracker.complete(offset)
        self.dirty = True

    def close(self) -> None:
        """Let go of everything; attempts under way are the caller's to end."""
        self.draining = True
        self.closed = True
        self.pending.clear()
        self.pending_weight = 0
        self.lane.clear()
        self.overflow.clear()
        self.dormant.clear()
        self.found.clear()
        self.found_again.clear()
        self.holders.clear()
