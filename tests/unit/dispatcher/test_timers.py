"""Deliveries that wait for a point of time, on a clock of the test's own."""

from __future__ import annotations

import asyncio

from services.dispatcher.delivery import Delivery
from services.dispatcher.timers import RetryTimers
from tests.unit.dispatcher.deliveries import delivery_of, partition_of


class Clock:
    """Unix milliseconds that a test sets."""

    def __init__(self) -> None:
        self.now_ms = 1_000

    def __call__(self) -> int:
        return self.now_ms


def due(now_ms: int) -> Delivery:
    delivery = delivery_of()
    delivery.due_ms = now_ms
    return delivery


async def ring() -> None:
    """Let the loop run what is due."""
    for _ in range(5):
        await asyncio.sleep(0.002)


async def test_handed_out_when_due_and_in_order() -> None:
    clock, handed_out = Clock(), list[Delivery]()
    timers = RetryTimers(clock, handed_out.append)
    late, early, at_once = due(1_020), due(1_010), due(900)
    for delivery in (late, early, at_once):
        timers.add(delivery)
    await ring()
    assert handed_out == [at_once]
    clock.now_ms = 1_020
    await asyncio.sleep(0.05)
    assert handed_out == [at_once, early, late]
    assert len(timers) == 0


async def test_same_time_first_come_first_served() -> None:
    handed_out = list[Delivery]()
    timers = RetryTimers(Clock(), handed_out.append)
    deliveries = [due(1_000) for _ in range(50)]
    for delivery in deliveries:
        timers.add(delivery)
    await ring()
    assert handed_out == deliveries


async def test_a_partition_that_goes_is_passed_over() -> None:
    handed_out = list[Delivery]()
    timers = RetryTimers(Clock(), handed_out.append)
    partition = partition_of()
    gone, staying = delivery_of(partition=partition), due(1_000)
    timers.add(gone)
    timers.add(staying)
    partition.draining = True
    await ring()
    assert handed_out == [staying]


async def test_one_that_is_added_while_handing_out() -> None:
    handed_out = list[Delivery]()
    second = due(1_000)

    def hand_out(delivery: Delivery) -> None:
        handed_out.append(delivery)
        if delivery is not second:
            timers.add(second)

    timers = RetryTimers(Clock(), hand_out)
    first = due(1_000)
    timers.add(first)
    await ring()
    assert handed_out == [first, second]


async def test_closed_timers_hand_nothing_out() -> None:
    handed_out = list[Delivery]()
    timers = RetryTimers(Clock(), handed_out.append)
    timers.add(due(1_000))
    timers.close()
    await ring()
    assert not handed_out
