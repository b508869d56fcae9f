"""Callbacks that wait for endpoints that are closed off, with a lane and a courier of the test's own."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, cast

import msgspec
import pytest

from services.dispatcher.circuit import Circuits
from services.dispatcher.occupancy import SQUEEZED, Occupancy
from services.dispatcher.overflow import Backlog
from services.dispatcher.pace import Paces
from services.dispatcher.patience import Patience
from services.dispatcher.schedule import DurableSchedule, VendorSchedule
from services.dispatcher.scheduler import EndpointKey, Scheduler
from services.dispatcher.sender import Answer
from tests.unit.dispatcher.deliveries import delivery_of, partition_of

if TYPE_CHECKING:
    from services.dispatcher.delivery import Delivery
    from services.dispatcher.partition import Partition

DEAD = Answer(error_class="refused")
OURS = Answer(error_class="own")
KEYS = [(1, f"http://{name}.example/") for name in "abc"]


class World:
    """Endpoints, one partition, and what was given up."""

    def __init__(self) -> None:
        self.now_ms = 1_000_000
        self.name = "vendor"
        self.schedules = {"vendor": VendorSchedule(), "durable": DurableSchedule()}
        self.given_up: list[tuple[str, str]] = []
        self.surplus: list[Delivery] = []
        self.values: dict[int, bytes] = {}
        self.reads: list[list[int]] = []
        self.circuits = Circuits(
            self.clock,
            failures=1,
            failing_ms=0,
            first_pause_ms=10_000_000_000,
            longest_pause_ms=10_000_000_000,
            on_change=lambda *_: None,
        )
        self.scheduler = Scheduler(
            lambda *_: None,
            in_flight=100,
            in_flight_per_endpoint=10,
            circuits=self.circuits,
            paces=Paces(self.clock, lambda _: 0),
            clock=self.clock,
            on_later=lambda _: None,
        )
        self.occupancy = Occupancy(10_000, self.circuits.closed)
        self.patience = Patience(
            circuits=self.circuits,
            scheduler=self.scheduler,
            courier=cast("Any", self),
            occupancy=self.occupancy,
            lane_reader=cast("Any", self),
            clock=self.clock,
            run=self._run,
            on_surplus=lambda delivery, _: self.surplus.append(delivery),
        )
        self.partition = partition_of()
        self.patience.adopt(self.partition)

    def clock(self) -> int:
        return self.now_ms

    def _run(self, _: Partition, work: Any) -> None:
        with pytest.raises(StopIteration):
            work.send(None)

    async def give_up(self, delivery: Delivery, error_class: str, _: str) -> None:
        self.given_up.append((delivery.event.event_id, error_class))

    def schedule_name(self, _: int) -> str:
        return self.name

    async def read(self, _: int, offsets: list[int]) -> tuple[list[tuple[int, bytes]], int]:
        self.reads.append(offsets)
        return [(offset, self.values[offset]) for offset in offsets], len(offsets)

    def wait(self, key: EndpointKey, *, attempts: int = 0) -> Delivery:
        """One more waits in memory."""
        delivery = delivery_of(str(len(self.values)), url=key[1], partition=self.partition, accepted_ms=self.now_ms)
        delivery.attempts = attempts
        delivery.first_attempt_ms = delivery.due_ms = self.now_ms if attempts else 0
        self.occupancy.enter(key, 1)
        if attempts:
            self.scheduler.submit_retry(delivery)
        else:
            self.scheduler.submit(delivery)
        return delivery

    def wait_in_lane(self, key: EndpointKey) -> Delivery:
        """One more waits in the lane alone."""
        delivery = delivery_of("1", url=key[1], partition=self.partition, accepted_ms=self.now_ms)
        offset = 10 * len(self.values)
        self.values[offset] = msgspec.json.encode(delivery.to_record())
        self.partition.overflow.setdefault(key, Backlog()).add(offset)
        for marks in self.partition.marks.values():
            marks.note(offset)
            marks.tick(self.now_ms)
        return delivery


def test_the_time_of_a_first_attempt_begins_when_the_endpoint_is_parked() -> None:
    world = World()
    waiting = world.wait(KEYS[0])
    elsewhere = world.wait(KEYS[1])
    world.now_ms += 100_000
    world.circuits.note(KEYS[0], DEAD)
    world.now_ms += 59_999
    world.patience.sweep()
    assert not world.given_up
    world.now_ms += 1
    world.patience.sweep()
    assert world.given_up == [(waiting.event.event_id, "parked")]
    assert list(world.scheduler.endpoints) == [KEYS[1]]
    assert elsewhere.url == KEYS[1][1]


def test_the_time_of_further_attempts_goes_on() -> None:
    world = World()
    attempted = world.wait(KEYS[0], attempts=1)
    owed = world.wait(KEYS[0], attempts=1)
    world.now_ms += 40_000
    world.circuits.note(KEYS[0], DEAD)
    owed.excuse(world.now_ms)
    world.now_ms += 20_000
    world.patience.sweep()
    assert world.given_up == [(attempted.event.event_id, "parked")]
    world.now_ms += 40_000
    world.patience.sweep()
    assert len(world.given_up) == 2


def test_a_fault_of_ours_takes_much_longer_and_is_named() -> None:
    world = World()
    world.wait(KEYS[0])
    world.wait(KEYS[0], attempts=1)
    world.circuits.note(KEYS[0], OURS)
    world.now_ms += DurableSchedule().window_ms - 1
    world.patience.sweep()
    assert not world.given_up
    world.now_ms += 1
    world.patience.sweep()
    assert [error_class for _, error_class in world.given_up] == ["own", "own"]


def test_what_is_too_much_for_memory_makes_way_the_newest_first() -> None:
    world = World()
    deliveries = [world.wait(KEYS[0]) for _ in range(200)]
    world.patience.sweep()
    assert not world.surplus
    world.circuits.note(KEYS[0], DEAD)
    world.patience.sweep()
    assert world.surplus == deliveries[SQUEEZED:]


def test_what_a_fault_of_ours_delays_stays_in_memory_where_it_was_attempted() -> None:
    world = World()
    attempted = [world.wait(KEYS[0], attempts=1) for _ in range(200)]
    fresh = [world.wait(KEYS[0]) for _ in range(100)]
    world.circuits.note(KEYS[0], OURS)
    world.patience.sweep()
    assert not set(attempted) & set(world.surplus)
    assert world.surplus == fresh[SQUEEZED:]


async def test_what_only_the_lane_holds_is_given_up_in_one_go() -> None:
    world = World()
    for key in KEYS[:2]:
        world.circuits.note(key, DEAD)
    old = [world.wait_in_lane(KEYS[number % 3]) for number in range(30)]
    world.now_ms += 1_000
    await world.patience.give_up_in_lane(world.partition)
    world.now_ms += 29_000
    young = [world.wait_in_lane(KEYS[number % 3]) for number in range(30)]
    world.now_ms += 31_000
    await world.patience.give_up_in_lane(world.partition)
    expected = {delivery.event.event_id for delivery in old if delivery.url != KEYS[2][1]}
    assert {event_id for event_id, _ in world.given_up} == expected
    assert len(world.reads) == 1
    counts = {key[1]: len(backlog) for key, backlog in world.partition.overflow.items()}
    assert counts == Counter(delivery.url for delivery in young) + Counter({KEYS[2][1]: 10})
    world.now_ms += 60_000
    await world.patience.give_up_in_lane(world.partition)
    assert len(world.given_up) == 40
    assert len(world.reads) == 2


async def test_in_the_lane_the_durable_schedule_has_its_own_time() -> None:
    world = World()
    world.name = "durable"
    world.circuits.note(KEYS[0], DEAD)
    world.wait_in_lane(KEYS[0])
    world.now_ms += DurableSchedule().window_ms - 1
    await world.patience.give_up_in_lane(world.partition)
    assert not world.reads
    world.now_ms += 1
    await world.patience.give_up_in_lane(world.partition)
    assert len(world.given_up) == 1
