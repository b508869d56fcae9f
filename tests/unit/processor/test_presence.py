"""Who was in a room when, each rule by hand, at its limits."""

from __future__ import annotations

import pytest

from services.processor.presence import REACH_MS, Key, StayEnd, changed_buckets, hours_of, presence_rows

HOUR = 3_600_000
T = 1_700_000_000_000 // HOUR * HOUR
NOW = T + 10 * HOUR
USER = (1, "r", 0, "a")


def key(enter: int) -> Key:
    return (*USER, T + enter)


def end(at: int | None, session: str = "") -> StayEnd:
    return StayEnd(None if at is None else T + at, session)


@pytest.mark.parametrize(
    ("enter", "leave", "hours"),
    [
        (0, 1, [0]),
        (0, 0, [0]),
        (HOUR - 1, HOUR, [0]),
        (HOUR - 1, HOUR + 1, [0, 1]),
        (HOUR, 3 * HOUR, [1, 2]),
        (0, 3 * HOUR + 1, [0, 1, 2, 3]),
    ],
)
def test_a_stay_has_a_row_for_each_hour_that_it_touches(enter: int, leave: int, hours: list[int]) -> None:
    assert [(at - T) // HOUR for at in hours_of(T + enter, T + leave, NOW)] == hours


@pytest.mark.parametrize(
    ("now", "hours"), [(HOUR // 2, [0]), (HOUR - 600_000, [0]), (HOUR - 599_999, [0, 1]), (HOUR, [0, 1])]
)
def test_an_open_stay_has_the_next_hour_ten_minutes_ahead(now: int, hours: list[int]) -> None:
    assert [(at - T) // HOUR for at in hours_of(T, None, T + now)] == hours


def test_an_open_stay_of_a_clock_ahead_has_its_hour() -> None:
    assert list(hours_of(T + HOUR, None, T - HOUR)) == [T + HOUR]


def test_hours_that_cannot_change_any_more_are_left_alone() -> None:
    now = T + REACH_MS + 3 * HOUR
    hours = list(hours_of(T, None, now))
    assert hours[0] == T + 3 * HOUR
    known = {(key(0), T + number * HOUR): end(None) for number in range(4)}
    rows = presence_rows(known, {key(0): end(now - T - HOUR)}, now)
    assert {row[1] * 1000 for row in rows} == set(hours[:-2])


def test_rows_are_written_where_they_differ() -> None:
    stays = {key(0): end(HOUR + 1)}
    first, second = ((1, (T + at) // 1000, "r", 0, "a", T, T + HOUR + 1, "", False) for at in (0, HOUR))
    assert presence_rows({}, stays, NOW) == [first, second]
    known = {(key(0), T): end(HOUR + 1)}
    assert presence_rows(known, stays, NOW) == [second]
    assert presence_rows(known | {(key(0), T + HOUR): end(None)}, stays, NOW) == [second]
    assert presence_rows(known | {(key(0), T + HOUR): end(HOUR + 1)}, stays, NOW) == []
    assert presence_rows({}, {key(0): end(None, "s")}, T) == [(1, T // 1000, "r", 0, "a", T, None, "s", False)]


def test_rows_that_are_no_longer_right_are_taken_back() -> None:
    known = {(key(0), T): end(None), (key(0), T + HOUR): end(None), (key(5), T): end(9)}
    rows = presence_rows(known, {key(0): end(10)}, NOW)
    assert rows[0] == (1, T // 1000, "r", 0, "a", T, T + 10, "", False)
    assert sorted(rows[1:], key=repr) == [
        (1, T // 1000, "r", 0, "a", T + 5, None, "", True),
        (1, (T + HOUR) // 1000, "r", 0, "a", T, None, "", True),
    ]


@pytest.mark.parametrize(
    ("before", "after", "buckets"),
    [
        (None, end(20_000), [0, 1]),
        (end(20_000), None, [0, 1]),
        (end(20_000), end(20_000), []),
        (end(20_000), end(20_001), [2]),
        (end(40_000), end(20_000), [2, 3]),
        (end(29_999), end(25_000), [2]),
        (None, end(0), []),
        (None, end(None), [0, 1, 2, 3, 4]),
        (end(None), end(30_000), [3, 4]),
        (None, end(None, "s"), []),
        (end(20_000), end(None, "s"), [0, 1]),
    ],
)
def test_the_ten_seconds_that_change(before: StayEnd | None, after: StayEnd | None, buckets: list[int]) -> None:
    known = {key(0): before} if before else {}
    stays = {key(0): after} if after else {}
    changed = changed_buckets(known, stays, {}, T + 50_000)
    assert sorted(changed) == [(1, T + bucket * 10_000) for bucket in buckets]


def test_a_stay_within_ten_seconds_changes_them() -> None:
    assert changed_buckets({}, {key(3): end(3)}, {}, NOW) == {(1, T)}
    assert changed_buckets({}, {key(9_999): end(10_001)}, {}, NOW) == {(1, T), (1, T + 10_000)}


@pytest.mark.parametrize(("seen", "first"), [(-1, 15), (0, 9), (9_999, 9), (10_000, 10), (59_999, 14), (60_000, 15)])
def test_who_had_vanished_before_an_exit_told_otherwise(seen: int, first: int) -> None:
    """The exit is at 2:30: seen before the entry or in the last 90 seconds, the user was in until then."""
    changed = changed_buckets({key(0): end(None)}, {key(0): end(150_000)}, {USER: T + seen}, T + 160_000)
    assert sorted(changed) == [(1, T + bucket * 10_000) for bucket in range(first, 16)]
