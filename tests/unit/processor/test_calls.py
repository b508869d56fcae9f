"""Room life, each rule by hand."""

from __future__ import annotations

import random

import pytest

from services.processor.calls import Call, RoomEvent, calls_of, comm_id

T = 1_700_000_000_000
ANCHOR, AUDIENCE = 20, 21


def created(at: int, user: str = "a", scene: str | None = None) -> RoomEvent:
    return RoomEvent(T + at, 101, f"101-{at}", user, scene=scene)


def entered(at: int, user: str, role: int = ANCHOR, reason: int = 1) -> RoomEvent:
    return RoomEvent(T + at, 103, f"103-{at}-{user}", user, role, 2, 3, reason)


def left(at: int, user: str, role: int | None = None, reason: int = 1) -> RoomEvent:
    return RoomEvent(T + at, 104, f"104-{at}-{user}", user, role, None, None, reason)


def changed(at: int, user: str, role: int) -> RoomEvent:
    return RoomEvent(T + at, 105, f"105-{at}-{user}", user, role)


def dismissed(at: int) -> RoomEvent:
    return RoomEvent(T + at, 102, f"102-{at}")


def spans(call: Call) -> list[tuple[str, int, int | None]]:
    return [
        (stay.user_id, stay.enter_ms - T, None if stay.exit_ms is None else stay.exit_ms - T) for stay in call.stays
    ]


def test_a_call_from_creation_to_the_last_exit() -> None:
    events = [
        created(0),
        entered(5, "a"),
        entered(1000, "b", AUDIENCE),
        left(5000, "a"),
        left(9000, "b"),
        dismissed(9100),
    ]
    (call,) = calls_of(events)
    assert (call.start_ms, call.creator_id, call.scene) == (T, "a", "call")
    assert (call.first_entry_ms, call.last_exit_ms, call.close_ms) == (T + 5, T + 9000, T + 9000)
    assert call.joined_users == 2
    assert spans(call) == [("a", 5, 5000), ("b", 1000, 9000)]
    first = call.stays[0]
    assert (first.role, first.terminal_type, first.user_type, first.enter_reason, first.exit_reason) == (20, 2, 3, 1, 1)


def test_an_open_call_has_no_end() -> None:
    (call,) = calls_of([created(0), entered(5, "a"), entered(6, "b"), left(100, "b")])
    assert call.close_ms is None
    assert call.last_exit_ms is None
    assert spans(call) == [("a", 5, None), ("b", 6, 100)]


@pytest.mark.parametrize("seed", range(20))
def test_order_and_repetition_change_nothing(seed: int) -> None:
    events = [
        created(0, scene="live"),
        entered(5, "a"),
        entered(700, "b", AUDIENCE),
        changed(800, "b", ANCHOR),
        changed(900, "b", AUDIENCE),
        left(5000, "a"),
        left(5000, "b"),
        entered(60_000, "c"),
        dismissed(70_000),
        created(70_500, "d"),
        entered(70_505, "d"),
    ]
    shuffled = events * 2
    random.Random(seed).shuffle(shuffled)
    # Facts have one row an event, so a repetition never gets here; only the order is the database's.
    assert calls_of(dict.fromkeys(shuffled)) == calls_of(events)


def test_a_live_room_waits_ten_minutes_for_audience_and_not_for_an_anchor() -> None:
    for role, closes in ((AUDIENCE, 600_000 + 50), (ANCHOR, 50)):
        (call,) = calls_of([created(0, scene="live"), entered(5, "a", role), left(50, "a")])
        assert call.close_ms == T + closes
        assert call.last_exit_ms == T + 50
    back = [
        created(0, scene="live"),
        entered(5, "a", AUDIENCE),
        left(50, "a"),
        entered(600_050, "b"),
        left(600_100, "b"),
    ]
    assert len(calls_of(back)) == 1
    too_late = [*back[:3], entered(600_051, "b")]
    assert [call.start_ms - T for call in calls_of(too_late)] == [0, 600_051]


def test_the_role_at_the_exit_decides_in_a_live_room() -> None:
    events = [created(0, scene="live"), entered(5, "a", AUDIENCE), changed(10, "a", ANCHOR), left(50, "a")]
    assert calls_of(events)[0].close_ms == T + 50
    assert calls_of(events)[0].stays[0].roles == [(T + 10, ANCHOR)]


def test_a_call_room_closes_when_it_is_empty() -> None:
    calls = calls_of([created(0), entered(5, "a"), left(50, "a"), entered(60, "b")])
    assert [spans(call) for call in calls] == [[("a", 5, 50)], [("b", 60, None)]]


def test_creation_may_come_after_the_first_entry() -> None:
    (call,) = calls_of([entered(0, "a"), created(3, "a"), left(9, "a")])
    assert (call.start_ms, call.creator_id) == (T, "a")


def test_a_creation_says_that_the_earlier_call_had_ended() -> None:
    first, second = calls_of([created(0), entered(5, "a"), created(100_000, "b"), entered(100_005, "b")])
    assert (first.close_ms, spans(first)) == (T + 100_000, [("a", 5, 100_000)])
    assert (second.start_ms, second.creator_id, second.close_ms) == (T + 100_000, "b", None)


def test_dismissal_ends_the_stays_of_all_who_are_in() -> None:
    (call,) = calls_of([created(0), entered(5, "a"), entered(6, "b"), left(50, "b"), dismissed(100)])
    assert spans(call) == [("a", 5, 100), ("b", 6, 50)]
    assert (call.close_ms, call.stays[0].exit_reason) == (T + 100, None)


def test_who_comes_again_without_having_left_has_two_stays() -> None:
    (call,) = calls_of([created(0), entered(5, "a"), entered(60, "a"), left(90, "a")])
    assert spans(call) == [("a", 5, 60), ("a", 60, 90)]
    assert call.joined_users == 1


def test_an_exit_and_an_entry_of_one_millisecond_are_a_new_stay() -> None:
    (call,) = calls_of([created(0), entered(5, "a"), entered(5, "b"), left(60, "a"), entered(60, "a")])
    assert spans(call) == [("a", 5, 60), ("b", 5, None), ("a", 60, None)]
    # And where one came and went within a millisecond, he is gone.
    (call,) = calls_of([created(0), entered(5, "b"), entered(60, "a"), left(60, "a")])
    assert spans(call) == [("b", 5, None), ("a", 60, 60)]


def test_stray_events_make_no_call() -> None:
    assert calls_of([left(5, "a"), changed(6, "a", ANCHOR), dismissed(7)]) == []


def test_the_name_of_a_call() -> None:
    assert comm_id(1400000001, "8801", 0, T + 999) == "1400000001_8801_1700000000"
    string = comm_id(1400000001, "8801", 1, T)
    assert string != "1400000001_8801_1700000000"
    assert 0 <= int(string.split("_")[1]) < 2**32
