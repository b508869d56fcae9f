"""What becomes of callbacks that wait for endpoints that are closed off: little memory, and an end in time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.dispatcher.delivery import Delivery
from services.dispatcher.occupancy import SQUEEZED
from services.dispatcher.overflow import LOAD_AT_MOST, Marks

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from schemas.applications import CallbackSchedule
    from services.dispatcher.circuit import Circuit, Circuits
    from services.dispatcher.courier import Courier
    from services.dispatcher.occupancy import Occupancy
    from services.dispatcher.overflow import LaneReader
    from services.dispatcher.partition import Partition
    from services.dispatcher.scheduler import EndpointKey, Scheduler
    from services.runtime.clock import Clock

_ENDPOINTS_AT_ONCE = 200
"""Endpoints that one sweep looks through."""


class Patience:
    """Gives up callbacks whose time ends before their endpoint is opened, and leaves to the lane what is too many.

    A callback may wait as long as its schedule makes attempts. Where a fault of ours keeps us from the endpoint, that
    is as long as the durable schedule does, whatever the application's own one.
    """

    def __init__(
        self,
        *,
        circuits: Circuits,
        scheduler: Scheduler,
        courier: Courier,
        occupancy: Occupancy,
        lane_reader: LaneReader,
        clock: Clock,
        run: Callable[[Partition, Coroutine[None, None, None]], None],
        on_surplus: Callable[[Delivery, EndpointKey], None],
    ) -> None:
        """`on_surplus` is called with a callback that is no longer queued and has to wait in the lane alone."""
        self._circuits = circuits
        self._scheduler = scheduler
        self._courier = courier
        self._occupancy = occupancy
        self._lane_reader = lane_reader
        self._clock = clock
        self._run = run
        self._on_surplus = on_surplus
        self._turn: list[EndpointKey] = []

    def adopt(self, partition: Partition) -> None:
        """Begin to watch how far the lane of a partition is written."""
        partition.adopted_ms = self._clock()
        partition.marks = {name: Marks(schedule.window_ms) for name, schedule in self._courier.schedules.items()}

    def sweep(self) -> None:
        """Look through some of the endpoints that are closed off, the next ones each time."""
        self._turn = self._turn or list(self._circuits.closed)
        for key in self._turn[:_ENDPOINTS_AT_ONCE]:
            circuit = self._circuits.closed.get(key)
            if circuit is not None:
                self._give_up(key, circuit)
                if self._occupancy.held(key) > 2 * SQUEEZED:
                    self._squeeze(key, circuit)
        del self._turn[:_ENDPOINTS_AT_ONCE]

    def _give_up(self, key: EndpointKey, circuit: Circuit) -> None:
        now_ms = self._clock()
        window_ms = self._courier.schedules[self._schedule_name(key, circuit)].window_ms
        reachable_ms = circuit.reachable_ms

        def over(delivery: Delivery) -> bool:
            return now_ms - delivery.waits_from_ms(reachable_ms) >= window_ms

        for delivery in self._scheduler.withdraw(key, over):
            if not delivery.partition.draining:
                self._run(delivery.partition, self._courier.give_up(delivery, *_reason(circuit)))

    def _squeeze(self, key: EndpointKey, circuit: Circuit) -> None:
        kept = 0

        def surplus(delivery: Delivery) -> bool:
            nonlocal kept
            if delivery.attempts and circuit.held_ms:
                # Only in memory it is known that the time that it waits is not to count.
                return False
            kept += delivery.weight
            return kept > SQUEEZED

        for delivery in self._scheduler.withdraw(key, surplus):
            if not delivery.partition.draining:
                self._on_surplus(delivery, key)

    async def give_up_in_lane(self, partition: Partition) -> None:
        """The same for callbacks that only the lane holds, all endpoints' in one go. Raises `KafkaError`."""
        now_ms = self._clock()
        for marks in partition.marks.values():
            marks.tick(now_ms)
        found: dict[int, EndpointKey] = {}
        for key, backlog in partition.overflow.items():
            circuit = self._circuits.closed.get(key)
            if circuit is None:
                continue
            name = self._schedule_name(key, circuit)
            window_ms = self._courier.schedules[name].window_ms
            if now_ms - max(circuit.reachable_ms, partition.adopted_ms) < window_ms:
                continue
            for offset in backlog.up_to(partition.marks[name].before(now_ms - window_ms)):
                found[offset] = key
        if not found:
            return
        values, covered = await self._lane_reader.read(partition.lane_number, sorted(found)[:LOAD_AT_MOST])
        if partition.draining:
            return
        for offset in sorted(found)[:covered]:
            if (waiting := partition.overflow.get(found[offset])) is not None:
                waiting.drop(1)
        for offset, value in values:
            key = found[offset]
            delivery = Delivery.in_the_lane(offset, value, partition, now_ms)
            delivery.url = key[1]
            partition.lane[delivery.delivery_id] = delivery
            circuit = self._circuits.closed.get(key)
            self._run(partition, self._courier.give_up(delivery, *_reason(circuit)))

    def _schedule_name(self, key: EndpointKey, circuit: Circuit) -> CallbackSchedule:
        return "durable" if circuit.held_ms else self._courier.schedule_name(key[0])


def _reason(circuit: Circuit | None) -> tuple[str, str]:
    if circuit is not None and circuit.held_ms:
        return "own", "for all the time for attempts, a fault of ours kept us from the endpoint"
    return "parked", "the time for attempts ended while the endpoint was parked"
