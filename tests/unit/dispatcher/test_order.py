"""Rooms whose order is kept: who waits for whom, and for how long."""

from __future__ import annotations

from tests.unit.dispatcher.air import FINE, HOLD_MS, OURS, REFUSED, Air
from tests.unit.dispatcher.deliveries import delivery_of, partition_of


def ordered_air() -> Air:
    air = Air(failures=1000)
    air.ordered.add(1)
    return air


def end(air: Air, index: int = 0) -> None:
    """An attempt delivers its callback."""
    air.scheduler.ended(air.land(index, answer=FINE))
    air.scheduler.pump()


def test_one_at_a_time_when_the_one_before_has_come_to_its_end() -> None:
    air = ordered_air()
    deliveries = [delivery_of("a") for _ in range(4)]
    air.submit(*deliveries)
    assert air.started == deliveries[:1]
    first = air.land(answer=FINE)
    # It is delivered, but nobody has written it down yet.
    air.scheduler.pump()
    assert air.started == deliveries[:1]
    air.scheduler.ended(first)
    air.scheduler.pump()
    assert air.started == deliveries[:2]
    while air.flying:
        end(air)
    assert air.started == deliveries
    assert not any(delivery.gap for delivery in deliveries)
    assert not air.scheduler.endpoints


def test_one_that_fails_holds_up_its_room_alone() -> None:
    air = ordered_air()
    first, second, other = delivery_of("a"), delivery_of("a"), delivery_of("b")
    elsewhere = delivery_of("a", url="http://b.example/")
    air.submit(first, second, other, elsewhere)
    assert air.started[0] is first
    assert set(air.started[1:]) == {other, elsewhere}
    assert air.land(answer=REFUSED) is first
    air.wait(HOLD_MS - 1)
    assert second not in air.started
    air.retry(first)
    assert air.started[-1] is first
    end(air, -1)
    assert air.started[-1] is second
    assert not second.gap


def test_after_its_time_the_next_one_goes_with_a_mark() -> None:
    air = ordered_air()
    first, second, third = (delivery_of("a") for _ in range(3))
    air.submit(first, second, third)
    air.land(answer=REFUSED)
    air.wait(HOLD_MS - 1)
    assert air.started == [first]
    air.wait(1)
    assert air.started == [first, second]
    assert (second.gap, third.gap) == (True, False)
    # The one that is late is no matter to the others any more.
    air.scheduler.ended(first)
    air.scheduler.pump()
    assert air.started == [first, second]
    end(air)
    assert air.started == [first, second, third]
    assert not third.gap


def test_the_time_counts_from_the_start_of_the_attempt() -> None:
    air = ordered_air()
    first, second = delivery_of("a"), delivery_of("a")
    air.submit(first, second)
    air.wait(5_000)
    delivery, endpoint, retry = air.flying.pop()
    slow = type(REFUSED)(error_class="timeout", duration_ms=5_000)
    air.scheduler.finished(delivery, endpoint, retry=retry, answer=slow)
    air.wait(HOLD_MS - 5_001)
    assert air.started == [first]
    air.wait(1)
    assert air.started == [first, second]


def test_whoever_comes_later_than_that_goes_without_a_mark() -> None:
    air = ordered_air()
    first, late = delivery_of("a"), delivery_of("a")
    air.submit(first)
    air.land(answer=REFUSED)
    assert air.scheduler.endpoints
    air.wait(HOLD_MS)
    assert not air.scheduler.endpoints
    air.submit(late)
    assert air.started == [first, late]
    assert not late.gap


def test_a_fault_of_ours_changes_no_order() -> None:
    air = ordered_air()
    deliveries = [delivery_of("a") for _ in range(3)]
    air.submit(*deliveries)
    air.land(answer=OURS)
    # The endpoint is left alone for a while.
    air.wait(2_000)
    assert air.started == [deliveries[0], deliveries[0]]
    while air.flying:
        end(air)
    assert air.started == [deliveries[0], *deliveries]


def test_another_dispatcher_made_the_first_attempt() -> None:
    air = ordered_air()
    partition = partition_of()
    first, second, third = (delivery_of("a", partition=partition) for _ in range(3))
    key = (1, first.url)
    air.scheduler.hold(key, "a", first.delivery_id, partition, air.now_ms - 20_000)
    air.submit(second, third)
    assert air.started == []
    air.wait(HOLD_MS - 20_001)
    assert air.started == []
    air.wait(1)
    assert air.started == [second]
    assert second.gap


def test_nobody_waits_for_one_of_a_partition_that_is_gone() -> None:
    air = ordered_air()
    partition = partition_of()
    first = delivery_of("a", partition=partition)
    air.submit(first)
    air.land(answer=REFUSED)
    partition.close()
    second = delivery_of("a")
    air.submit(second)
    assert air.started == [first, second]


def test_nothing_is_left_of_a_partition_that_is_gone() -> None:
    air = ordered_air()
    partition = partition_of()
    air.submit(*(delivery_of("a", partition=partition) for _ in range(3)))
    # It is delivered, and nobody will hear that it has come to its end.
    air.land(answer=FINE)
    partition.close()
    air.scheduler.forget_closed()
    air.scheduler.pump()
    assert len(air.started) == 1
    assert not air.scheduler.endpoints


def test_order_is_asked_for_and_asked_for_no_longer() -> None:
    air = Air(failures=1000)
    deliveries = [delivery_of("a") for _ in range(3)]
    air.submit(*deliveries[:2])
    assert len(air.flying) == 2
    (endpoint,) = air.scheduler.endpoints.values()
    endpoint.be_ordered(ordered=True)
    air.submit(deliveries[2])
    end(air)
    # What is in the air already has no order, but the third one waits until it has come down.
    assert air.started == deliveries[:2]
    end(air)
    assert air.started == deliveries
    more = [delivery_of("a") for _ in range(3)]
    air.submit(*more)
    assert air.started == deliveries
    endpoint.be_ordered(ordered=False)
    air.scheduler.submit(delivery_of("b"))
    air.scheduler.pump()
    assert [delivery for delivery in air.started if delivery in more] == more


def test_what_is_queued_anew_keeps_its_mark_and_its_place() -> None:
    air = ordered_air()
    first, second, third = (delivery_of("a") for _ in range(3))
    air.submit(first, second, third)
    air.land(answer=REFUSED)
    (endpoint,) = air.scheduler.endpoints.values()
    waiting: list[object] = []
    endpoint.drain(waiting, [])  # type: ignore[arg-type]
    assert waiting == [second, third]
    air.submit(second, third)
    assert air.started == [first]
    air.wait(HOLD_MS)
    assert air.started == [first, second]
    assert second.gap
    withdrawn = air.scheduler.withdraw(endpoint.key, lambda delivery: delivery is third)
    assert withdrawn == [third]
    end(air)
    assert not air.scheduler.endpoints
