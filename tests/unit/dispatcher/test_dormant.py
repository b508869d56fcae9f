"""Callbacks that wait for long: when they are due, who may have them, and that none gets lost on the way back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import msgspec
from aiokafka.errors import KafkaConnectionError

from services.dispatcher.dormant import Dormant, offset_of, packed
from services.dispatcher.occupancy import Occupancy
from services.dispatcher.waker import Waker
from tests.unit.dispatcher.deliveries import delivery_of, partition_of

if TYPE_CHECKING:
    from services.dispatcher.delivery import Delivery
    from services.dispatcher.scheduler import EndpointKey

A: EndpointKey = (1, "http://a.example/")
B: EndpointKey = (1, "http://b.example/")


def offsets(taken: list[tuple[EndpointKey, int]]) -> list[tuple[EndpointKey, int]]:
    return [(key, offset_of(entry)) for key, entry in taken]


def test_due_ones_in_the_order_of_the_lane() -> None:
    dormant = Dormant()
    for due_ms, offset in ((9_000, 1), (1_000, 8), (2_000, 3)):
        dormant.add(A, packed(due_ms, offset))
    dormant.add(B, packed(1_500, 5))
    assert dormant.take(999, lambda _: 100, 100) == []
    assert offsets(dormant.take(2_000, lambda _: 100, 100)) == [(A, 3), (B, 5), (A, 8)]
    assert len(dormant) == 1
    assert offsets(dormant.take(9_000, lambda _: 100, 100)) == [(A, 1)]
    assert dormant.take(1 << 50, lambda _: 100, 100) == []


def test_an_endpoint_without_room_holds_up_no_other() -> None:
    dormant = Dormant()
    dormant.add_all(A, [packed(number, 100 + number) for number in range(50, 0, -1)])
    dormant.add(B, packed(40, 1))
    assert offsets(dormant.take(60, lambda key: 2 if key == A else 1, 100)) == [(B, 1), (A, 101), (A, 102)]
    assert dormant.take(60, lambda _: 0, 100) == []
    assert offsets(dormant.take(60, lambda _: 100, 3)) == [(A, 103), (A, 104), (A, 105)]
    assert len(dormant) == 45


def test_offsets_and_times_of_any_size() -> None:
    dormant = Dormant()
    dormant.add(A, packed(4_102_444_800_000, (1 << 40) - 1))
    assert offsets(dormant.take(4_102_444_800_000, lambda _: 1, 1)) == [(A, (1 << 40) - 1)]


class World:
    """A lane with callbacks, and somebody who wakes them."""

    def __init__(self) -> None:
        self.now_ms = 1_000_000
        self.partition = partition_of()
        self.partition.adopted_ms = 900_000
        self.awake: list[Delivery] = []
        self.values: dict[int, bytes] = {}
        self.covered: int | None = None
        self.fails = self.closing = False
        self.occupancy = Occupancy(1_000)
        self.waker = Waker(
            lane_reader=cast("Any", self),
            occupancy=self.occupancy,
            clock=lambda: self.now_ms,
            on_awake=self.awake.append,
        )

    def sleep(self, due_ms: int) -> str:
        """One more sleeps in the lane; its event."""
        delivery = delivery_of()
        delivery.attempts, delivery.first_attempt_ms, delivery.due_ms = 1, 800_000, due_ms
        offset = len(self.values)
        self.values[offset] = msgspec.json.encode(delivery.to_record())
        self.partition.dormant.add(A, packed(due_ms, offset))
        return delivery.event.event_id

    async def read(self, _: int, offsets: list[int]) -> tuple[list[tuple[int, bytes]], int]:
        if self.fails:
            raise KafkaConnectionError
        if self.closing:
            self.partition.close()
        covered = len(offsets) if self.covered is None else self.covered
        return [(offset, self.values[offset]) for offset in offsets[:covered]], covered

    async def wake(self) -> list[str]:
        """Events of the callbacks that are awake after that."""
        await self.waker.wake(self.partition)
        return [delivery.event.event_id for delivery in self.awake]


async def test_woken_shortly_before_they_are_due() -> None:
    world = World()
    soon, _ = world.sleep(1_001_000), world.sleep(1_060_000)
    assert await world.wake() == [soon]
    delivery = world.awake[0]
    assert (delivery.due_ms, delivery.excused_ms, delivery.owed, delivery.lane_offset) == (1_001_000, 0, False, 0)
    assert await world.wake() == [soon]
    assert len(world.partition.dormant) == 1


async def test_time_without_a_dispatcher_is_excused() -> None:
    world = World()
    world.sleep(850_000)
    await world.wake()
    delivery = world.awake[0]
    assert (delivery.due_ms, delivery.excused_ms, delivery.owed) == (900_000, 50_000, True)
    # What the lane has of it is not all any more.
    assert delivery.lane_offset == -1


async def test_what_was_not_read_sleeps_on() -> None:
    world = World()
    events = [world.sleep(1_000_000 - number) for number in range(5)]
    world.fails = True
    assert await world.wake() == []
    world.fails, world.covered = False, 2
    assert await world.wake() == events[:2]
    world.covered = None
    assert await world.wake() == events


async def test_what_is_full_wakes_no_more() -> None:
    world = World()
    for _ in range(300):
        world.sleep(1_000_000)
    assert len(await world.wake()) == world.occupancy.share(A) == 200
    for delivery in world.awake:
        world.occupancy.enter(A, delivery.weight)
    assert len(await world.wake()) == 200
    assert len(world.partition.dormant) == 100


async def test_of_a_partition_that_goes_nothing_wakes() -> None:
    world = World()
    world.sleep(1_000_000)
    world.closing = True
    assert await world.wake() == []
    assert len(world.partition.dormant) == 0
