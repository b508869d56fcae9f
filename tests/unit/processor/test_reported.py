"""Stays and calls from reports alone, each rule by hand, at its limits."""

from __future__ import annotations

import pytest

from services.processor.calls import Call, RoomEvent, calls_of
from services.processor.reported import ReportedSession, with_reports

T = 1_700_000_000_000


def event(at: int, kind: int, user: str, scene: str | None = None, role: int | None = None) -> RoomEvent:
    return RoomEvent(T + at, kind, f"{kind}-{at}-{user}", user, role, scene=scene)


def session(user: str, first: int, last: int, name: str = "") -> ReportedSession:
    return ReportedSession(user, name or f"{user}{first}", T + first, T + last)


def shown(calls: list[Call]) -> list[tuple[int, bool, list[tuple[str, int, int | None, str]]]]:
    """(start, from reports, stays) of each call."""
    return [
        (
            call.start_ms - T,
            call.from_reports,
            [
                (stay.user_id, stay.enter_ms - T, None if stay.exit_ms is None else stay.exit_ms - T, stay.session_id)
                for stay in call.stays
            ],
        )
        for call in calls
    ]


def test_without_events_sessions_make_a_call() -> None:
    found = with_reports([], [session("b", 5_000, 20_000), session("a", 0, 10_000)])
    assert shown(found) == [(0, True, [("a", 0, 10_000, "a0"), ("b", 5_000, 20_000, "b5000")])]
    assert found[0].close_ms is None


@pytest.mark.parametrize(("first", "calls"), [(100_000, 1), (100_001, 2)])
def test_silence_of_90_s_ends_a_call(first: int, calls: int) -> None:
    assert len(with_reports([], [session("a", 0, 10_000), session("b", first, first + 1)])) == calls


def test_the_longest_session_keeps_the_call_alive() -> None:
    found = with_reports([], [session("a", 0, 200_000), session("b", 1_000, 2_000), session("c", 290_000, 291_000)])
    assert [call.start_ms - T for call in found] == [0]


@pytest.mark.parametrize(
    ("first", "last", "alone"),
    [
        (0, 10_000, True),  # ends as the stay begins
        (0, 10_001, False),
        (19_999, 30_000, False),
        (20_000, 30_000, True),  # begins as the stay ends
        (12_000, 13_000, False),
    ],
)
def test_a_session_that_meets_a_stay_of_its_user_tells_nothing_new(first: int, last: int, alone: bool) -> None:
    calls = calls_of([event(10_000, 103, "a"), event(20_000, 104, "a")])
    found = with_reports(calls, [session("a", first, last)])
    assert [name for _, _, stays in shown(found) for *_, name in stays if name] == [f"a{first}"] * alone


def test_a_stay_without_length_is_met_by_what_begins_with_it() -> None:
    calls = calls_of([event(0, 103, "a"), event(0, 104, "a")])
    assert shown(with_reports(calls, [session("a", 0, 1_000)])) == [(0, False, [("a", 0, 0, "")])]
    assert len(with_reports(calls, [session("a", 1, 1_000)])) == 2


def test_an_open_stay_meets_whatever_comes_later() -> None:
    calls = calls_of([event(0, 103, "a")])
    assert shown(with_reports(calls, [session("a", 10**9, 10**9 + 1)])) == [(0, False, [("a", 0, None, "")])]


def test_another_users_session_is_a_stay_in_the_first_call_that_it_meets() -> None:
    events = [event(0, 103, "a"), event(10_000, 104, "a"), event(20_000, 103, "a"), event(30_000, 104, "a")]
    found = with_reports(calls_of(events), [session("b", 5_000, 40_000), session("c", 10_000, 20_000)])
    assert shown(found) == [
        (0, False, [("a", 0, 10_000, ""), ("b", 5_000, 40_000, "b5000")]),
        (10_000, True, [("c", 10_000, 20_000, "c10000")]),
        (20_000, False, [("a", 20_000, 30_000, "")]),
    ]


def test_a_live_room_waits_for_those_of_whom_only_reports_tell() -> None:
    events = [event(0, 101, "a", "live"), event(0, 103, "a", role=21), event(10_000, 104, "a")]
    found = with_reports(calls_of(events), [session("b", 609_999, 620_000), session("c", 610_000, 620_000)])
    assert [(start, len(stays)) for start, _, stays in shown(found)] == [(0, 2), (610_000, 1)]


def test_a_call_that_events_tell_ends_one_of_reports() -> None:
    calls = calls_of([event(20_000, 103, "b"), event(25_000, 104, "b")])
    found = with_reports(calls, [session("a", 0, 10_000), session("a", 30_000, 40_000)])
    assert [call.start_ms - T for call in found] == [0, 20_000, 30_000]


def test_the_order_of_sessions_changes_nothing() -> None:
    sessions = [session("a", 0, 10_000), session("b", 0, 5_000), session("b", 60_000, 61_000)]
    assert with_reports([], sessions) == with_reports([], sessions[::-1])


def test_a_room_by_hand() -> None:
    """Anna enters by events, Ben's client only reports, and both are gone before Cleo's reports begin a new call.

    Anna: 103 at 0:10, 104 at 2:00, so the call is 0:10 to 2:00; her reports from 0:09 to 2:01 tell nothing new. Ben:
    reports from 1:00 to 2:30, in the same call. Cleo: from 2:00, when it had closed, to 2:20; Ben's next session at
    3:50 is exactly 90 s later and in her call, Anna's at 5:30.001 a millisecond too late after his end at 4:00.
    """
    events = [event(10_000, 101, "anna"), event(10_000, 103, "anna"), event(120_000, 104, "anna")]
    sessions = [
        session("anna", 9_000, 121_000),
        session("ben", 60_000, 150_000),
        session("cleo", 120_000, 140_000),
        session("ben", 230_000, 240_000),
        session("anna", 330_001, 340_000),
    ]
    assert shown(with_reports(calls_of(events), sessions)) == [
        (10_000, False, [("anna", 10_000, 120_000, ""), ("ben", 60_000, 150_000, "ben60000")]),
        (120_000, True, [("cleo", 120_000, 140_000, "cleo120000"), ("ben", 230_000, 240_000, "ben230000")]),
        (330_001, True, [("anna", 330_001, 340_000, "anna330001")]),
    ]


def test_lost_ends_by_hand() -> None:
    """The exits of both users are lost: Anna's stay ends with her next entry, Ben's with the room's next creation.

    Ben reports from 0:20 to 0:40 within his stay from 0:05. The room is created again at 1:40; what he reports from
    1:40 to 1:50 is a stay of its own in the new call, where only Dora enters, at 1:45.
    """
    events = [
        *(event(0, 101, "anna"), event(0, 103, "anna"), event(5_000, 103, "ben"), event(50_000, 103, "anna")),
        *(event(60_000, 104, "anna"), event(100_000, 101, "dora"), event(105_000, 103, "dora")),
    ]
    sessions = [session("ben", 20_000, 40_000), session("ben", 100_000, 110_000)]
    assert shown(with_reports(calls_of(events), sessions)) == [
        (0, False, [("anna", 0, 50_000, ""), ("ben", 5_000, 100_000, ""), ("anna", 50_000, 60_000, "")]),
        (100_000, False, [("dora", 105_000, None, ""), ("ben", 100_000, 110_000, "ben100000")]),
    ]


def test_a_late_event_by_hand() -> None:
    """Reports of Anna and Ben make one call from 0:00; Anna's events, at 0:30 and 1:00, come much later.

    They make the call 0:30 to 1:00. Her reports from 0:00 to 1:05 are her stay's, Ben's from 0:50 to 2:00 his in it.
    """
    sessions = [session("anna", 0, 65_000), session("ben", 50_000, 120_000)]
    assert shown(with_reports([], sessions)) == [
        (0, True, [("anna", 0, 65_000, "anna0"), ("ben", 50_000, 120_000, "ben50000")])
    ]
    events = [event(30_000, 103, "anna"), event(60_000, 104, "anna")]
    assert shown(with_reports(calls_of(events), sessions)) == [
        (30_000, False, [("anna", 30_000, 60_000, ""), ("ben", 50_000, 120_000, "ben50000")])
    ]
