"""Turns, bounds and order, without any network."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from services.dispatcher.queues import IN_FLIGHT_PER_ROOM
from services.dispatcher.scheduler import STARTS_A_TURN
from tests.unit.dispatcher.air import BUSY, FINE, OURS, REFUSED, Air
from tests.unit.dispatcher.deliveries import delivery_of, partition_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.dispatcher.delivery import Delivery


def test_first_attempts_of_a_room_start_in_order_and_are_bounded() -> None:
    air = Air()
    deliveries = [delivery_of("a") for _ in range(100)]
    air.submit(*deliveries)
    assert len(air.flying) == IN_FLIGHT_PER_ROOM
    air.land(5)
    assert len(air.flying) == IN_FLIGHT_PER_ROOM
    air.land_all()
    assert air.started == deliveries
    assert not air.scheduler.endpoints


def test_a_turn_of_the_event_loop_starts_few_and_the_next_one_goes_on() -> None:
    turns: list[Callable[[], None]] = []
    air = Air(next_turn=turns.append)
    deliveries = [delivery_of("a") for _ in range(3 * STARTS_A_TURN)]
    air.submit(*deliveries[:-2])
    for number in range(STARTS_A_TURN):
        # What lands makes room for others, but not in this turn.
        air.land()
        assert len(air.started) == STARTS_A_TURN, number
        assert len(turns) == 1
    for started in (2 * STARTS_A_TURN, 3 * STARTS_A_TURN - 2):
        turns.pop()()
        assert len(air.started) == started
    turns.pop()()
    air.submit(*deliveries[-2:])
    assert air.started == deliveries
    assert len(turns) == 1


def test_rooms_of_an_endpoint_take_turns() -> None:
    air = Air(per_endpoint=4)
    busy = [delivery_of("busy") for _ in range(20)]
    quiet = delivery_of("quiet")
    air.submit(*busy)
    air.submit(quiet)
    air.land()
    air.land()
    assert quiet in air.started


def test_an_endpoint_has_its_bound() -> None:
    air = Air(per_endpoint=3)
    air.submit(*(delivery_of(str(number)) for number in range(10)))
    assert len(air.flying) == 3
    air.land_all()
    assert len(air.started) == 10


def test_hanging_endpoints_leave_room_for_the_next_one() -> None:
    air = Air(in_flight=100, per_endpoint=64)
    for number in range(15):
        air.submit(*(delivery_of(str(room), url=f"http://hanging-{number}/") for room in range(80)))
    for number in range(5):
        healthy = delivery_of(url=f"http://healthy-{number}/")
        air.submit(healthy)
        assert healthy in air.started


def test_an_endpoint_that_hangs_has_less_in_the_air_even_when_it_had_nothing_to_do_meanwhile() -> None:
    air = Air(failures=1000)
    hanging = [delivery_of(str(room)) for room in range(200)]
    air.submit(*hanging[:64])
    for _ in range(64):
        air.land(answer=BUSY)
    assert not air.scheduler.endpoints
    air.submit(*hanging[64:], *(delivery_of(str(room), url="http://well.example/") for room in range(80)))
    assert air.by_url() == {"http://a.example/": 16, "http://well.example/": 64}
    while air.flying:
        air.land(answer=FINE)
    assert set(hanging) <= set(air.started)


def test_a_single_endpoint_gets_all_that_it_may_have() -> None:
    air = Air()
    air.submit(*(delivery_of(str(room)) for room in range(80)))
    assert len(air.flying) == 64


def test_never_more_in_the_air_than_allowed() -> None:
    air = Air(in_flight=10)
    for number in range(50):
        air.submit(delivery_of(url=f"http://hanging-{number}/"))
    assert len(air.flying) == air.scheduler.in_flight == 10
    air.land_all()
    assert len(air.started) == 50
    assert air.scheduler.in_flight == 0


def test_half_of_the_slots_is_kept_for_first_attempts() -> None:
    air = Air(per_endpoint=8)
    air.retry(*(delivery_of() for _ in range(20)))
    assert len(air.flying) == 4
    firsts = [delivery_of(str(number)) for number in range(4)]
    air.submit(*firsts)
    assert set(firsts) <= set(air.started)


def test_retries_and_first_attempts_take_turns() -> None:
    air = Air(per_endpoint=1)
    retries, firsts = [delivery_of() for _ in range(4)], [delivery_of() for _ in range(4)]
    air.submit(firsts[0])
    for delivery in retries:
        air.scheduler.submit_retry(delivery)
    air.submit(*firsts[1:])
    air.land_all()
    kinds = ["retry" if delivery in retries else "first" for delivery in air.started]
    assert kinds == ["first", "retry"] * 4


def test_nothing_of_a_partition_that_goes_is_started() -> None:
    air = Air(per_endpoint=1)
    going, staying = partition_of(0), partition_of(1)
    air.submit(delivery_of("x"))
    gone = [delivery_of("a", partition=going) for _ in range(5)]
    kept = [delivery_of("b", partition=staying) for _ in range(5)]
    for pair in zip(gone, kept, strict=True):
        air.submit(*pair)
    air.retry(delivery_of(partition=going))
    going.draining = True
    air.land_all()
    assert air.started[1:] == kept
    assert not air.scheduler.endpoints


def test_what_waits_can_be_taken_out_again() -> None:
    air = Air(per_endpoint=1)
    flying = delivery_of("a")
    waiting = [delivery_of(room) for room in ("a", "b", "a", "c")]
    retry = delivery_of()
    air.submit(flying, *waiting)
    air.retry(retry)
    [endpoint] = air.scheduler.endpoints.values()
    firsts: list[Delivery] = []
    retries: list[Delivery] = []
    endpoint.drain(firsts, retries)
    assert set(firsts) == set(waiting)
    assert firsts.index(waiting[0]) < firsts.index(waiting[2])
    assert retries == [retry]
    air.land_all()
    assert air.started == [flying]
    assert not air.scheduler.endpoints
    air.submit(*firsts)
    air.land_all()
    assert len(air.started) == 5


@given(
    work=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.booleans()), max_size=120),
    landings=st.lists(st.integers(0, 100), max_size=200),
    per_endpoint=st.integers(1, 6),
    in_flight=st.integers(1, 12),
)
def test_everything_starts_once_in_the_order_of_its_room(
    work: list[tuple[int, int, bool]], landings: list[int], per_endpoint: int, in_flight: int
) -> None:
    air = Air(in_flight, per_endpoint)
    firsts: dict[tuple[str, str], list[Delivery]] = {}
    submitted = []
    pending = iter(landings)
    for endpoint, room, retry in work:
        delivery = delivery_of(str(room), url=f"http://{endpoint}/")
        submitted.append(delivery)
        if retry:
            air.retry(delivery)
        else:
            firsts.setdefault((delivery.url, str(room)), []).append(delivery)
            air.submit(delivery)
        landing = next(pending, 0)
        if air.flying and landing % 3 == 0:
            air.land(landing % len(air.flying))
        assert len(air.flying) <= in_flight
        assert max(air.by_url().values(), default=0) <= per_endpoint
    while air.flying:
        air.land(next(pending, 0) % len(air.flying))
    assert Counter(air.started) == Counter(submitted)
    for expected in firsts.values():
        assert [delivery for delivery in air.started if delivery in set(expected)] == expected
    assert not air.scheduler.endpoints
    assert air.scheduler.in_flight == 0


def park(air: Air, url: str = "http://a.example/") -> None:
    """Let three attempts at an endpoint fail."""
    air.submit(*(delivery_of(str(room), url=url) for room in range(3)))
    for _ in range(3):
        air.land(answer=REFUSED)
    assert (1, url) in air.circuits.closed


def test_a_parked_endpoint_gets_one_attempt_at_a_time_with_growing_pauses() -> None:
    air = Air()
    park(air)
    air.submit(*(delivery_of(str(room)) for room in range(20)))
    for pause_ms in (1_000, 2_000, 4_000, 8_000, 8_000):
        assert not air.flying
        air.wait(pause_ms - 1)
        assert not air.flying
        air.wait(1)
        assert len(air.flying) == 1
        air.wait(60_000)
        assert len(air.flying) == 1
        air.land(answer=REFUSED)


def test_others_do_not_notice_that_an_endpoint_is_parked() -> None:
    air = Air(in_flight=10)
    for number in range(50):
        url = f"http://dead-{number}/"
        park(air, url)
        air.submit(*(delivery_of(str(room), url=url) for room in range(5)))
    air.wait(1_000)
    assert len(air.flying) == 1, "a tenth of the slots is for probes"
    air.submit(*(delivery_of(str(room), url="http://well.example/") for room in range(50)))
    assert air.by_url()["http://well.example/"] >= 2
    # Each of the dead ones has its turn in the end.
    for _ in range(200):
        probes = [place for place, (delivery, _, _) in enumerate(air.flying) if "dead" in delivery.url]
        if probes:
            air.land(probes[0], answer=REFUSED)
        air.wait(200)
    assert len({delivery.url for delivery in air.started if "dead" in delivery.url}) == 50


def test_a_good_answer_opens_it_gradually() -> None:
    air = Air()
    park(air)
    air.submit(*(delivery_of(str(room)) for room in range(200)))
    air.wait(1_000)
    rounds = []
    while air.flying:
        rounds.append(len(air.flying))
        for _ in range(len(air.flying)):
            air.land(answer=FINE)
    assert rounds[:5] == [1, 2, 4, 8, 16]
    assert sum(rounds) == 200
    key = (1, "http://a.example/")
    assert air.changes == [(key, True), (key, False)]


def test_it_is_parked_again_soon_where_it_fails_while_it_is_being_opened() -> None:
    air = Air()
    park(air)
    air.submit(*(delivery_of(str(room)) for room in range(20)))
    air.wait(1_000)
    air.land(answer=FINE)
    for _ in range(3):
        air.land(answer=REFUSED)
    while air.flying:
        air.land(answer=REFUSED)
    air.wait(1_999)
    assert not air.flying
    air.wait(1)
    assert len(air.flying) == 1
    assert len(air.changes) == 1


def test_what_was_in_the_air_when_it_was_parked_opens_it_too() -> None:
    air = Air()
    air.submit(*(delivery_of(str(room)) for room in range(5)))
    waiting = [delivery_of(str(room)) for room in range(5)]
    for _ in range(4):
        air.land(answer=REFUSED)
    air.submit(*waiting)
    assert len(air.flying) == 1
    air.land(answer=FINE)
    assert air.flying
    air.land_all()
    assert set(waiting) <= set(air.started)


def test_a_fault_of_ours_puts_back_and_keeps_the_order_of_the_room() -> None:
    air = Air()
    deliveries = [delivery_of("room", partition=partition_of()) for _ in range(40)]
    air.submit(*deliveries)
    assert len(air.flying) == 32
    for _ in range(32):
        air.land(answer=OURS)
    assert not air.flying
    began = len(air.started)
    for pause_ms in (250, 500, 1_000):
        air.wait(pause_ms)
        assert air.started[-1] is deliveries[0]
        assert len(air.flying) == 1
        air.land(answer=OURS)
    assert not air.changes
    air.wait(2_000)
    while air.flying:
        air.land(answer=FINE)
    assert air.started[began + 3 :] == deliveries


def test_a_fault_of_ours_excuses_what_waited_for_another_attempt() -> None:
    air = Air(per_endpoint=1)
    first, waiting = delivery_of("a"), delivery_of("b")
    for delivery in (first, waiting):
        delivery.attempts, delivery.first_attempt_ms, delivery.due_ms = 1, air.now_ms - 10_000, air.now_ms
    air.retry(first, waiting)
    air.land(answer=OURS)
    air.wait(300)
    air.land(answer=FINE)
    assert (waiting.excused_ms, waiting.owed) == (300, True)


def test_what_nobody_wants_any_more_is_withdrawn() -> None:
    air = Air(per_endpoint=1)
    flying, *waiting = (delivery_of(room) for room in "aabbc")
    retry = delivery_of("d")
    air.submit(flying, *waiting)
    air.retry(retry)
    key = (1, "http://a.example/")
    unwanted = {waiting[0], waiting[1], retry}
    assert set(air.scheduler.withdraw(key, unwanted.__contains__)) == unwanted
    air.land_all()
    assert air.started == [flying, waiting[2], waiting[3]]
    assert not air.scheduler.endpoints


def test_a_rate_spaces_attempts_evenly_and_concerns_its_application_alone() -> None:
    air = Air()
    air.rates[1] = 10
    limited = [delivery_of(str(room)) for room in range(31)]
    began_ms = air.now_ms
    air.submit(*limited)
    air.submit(*(delivery_of(str(room), app=2) for room in range(50)))
    assert len([delivery for delivery in air.started if delivery.event.sdk_app_id == 2]) == 50
    starts: list[int] = []
    while len(starts) < 31:
        found = len([delivery for delivery in air.started if delivery.event.sdk_app_id == 1])
        starts += [air.now_ms - began_ms] * (found - len(starts))
        air.wait(1)
    assert len([moment for moment in starts if moment < 1_000]) == 10
    assert abs(starts[-1] - 3_000) <= 30
    assert max(later - earlier for earlier, later in pairwise(starts)) <= 101


def test_a_pause_saves_up_nothing() -> None:
    air = Air()
    air.rates[1] = 10
    air.submit(delivery_of("a"))
    air.wait(60_000)
    air.submit(*(delivery_of(str(room)) for room in range(50)))
    air.wait(1)
    assert len(air.started) == 2


def test_a_rate_that_is_removed_binds_no_more() -> None:
    air = Air()
    air.rates[1] = 1
    air.submit(*(delivery_of(str(room)) for room in range(20)))
    assert len(air.started) == 1
    air.rates[1] = 0
    for endpoint in list(air.scheduler.endpoints.values()):
        air.scheduler.hasten(endpoint)
    air.scheduler.pump()
    assert len(air.started) == 20
