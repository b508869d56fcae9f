"""The retry schedules, by the table of their arithmetic."""

from __future__ import annotations

import pytest

from services.dispatcher.schedule import DurableSchedule, Schedule, VendorSchedule


def attempts_at(schedule: Schedule, duration_ms: int) -> list[int]:
    """When attempts begin that all fail after a duration."""
    starts = [0]
    while (due := schedule.next_attempt(len(starts), 0, starts[-1] + duration_ms)) is not None:
        starts.append(due)
    return starts


def test_an_endpoint_that_fails_at_once() -> None:
    assert attempts_at(VendorSchedule(), 0) == [0, 0, 10_000, 20_000, 30_000, 40_000, 50_000]


def test_an_endpoint_that_always_times_out() -> None:
    assert attempts_at(VendorSchedule(), 5_000) == [0, 5_000, 20_000, 35_000, 50_000]


def test_no_attempt_begins_when_the_window_has_ended() -> None:
    schedule = VendorSchedule()
    assert schedule.next_attempt(3, 0, 49_999) == 59_999
    assert schedule.next_attempt(3, 0, 50_000) is None
    assert schedule.next_attempt(1, 0, 59_999) == 59_999
    assert schedule.next_attempt(1, 0, 60_000) is None


def test_excused_time_moves_the_window() -> None:
    assert VendorSchedule().next_attempt(5, 30_000, 75_000) == 85_000


@pytest.mark.parametrize(("now_ms", "over"), [(0, False), (59_999, False), (60_249, False), (60_250, True)])
def test_a_turn_that_comes_too_late(now_ms: int, over: bool) -> None:
    assert VendorSchedule().over(0, now_ms) is over


def test_settings_are_respected() -> None:
    assert attempts_at(VendorSchedule(interval_ms=500, window_ms=2_000), 0) == [0, 0, 500, 1_000, 1_500]
    assert attempts_at(VendorSchedule(window_ms=0), 0) == [0]


SLOWEST = DurableSchedule(base_ms=1_000, cap_ms=6_000, window_ms=20_000, chance=lambda: 1.0)
QUICKEST = DurableSchedule(base_ms=1_000, cap_ms=6_000, window_ms=20_000, chance=lambda: 0.0)


def test_durable_waits_double_up_to_the_cap() -> None:
    assert attempts_at(SLOWEST, 0) == [0, 1_000, 3_000, 7_000, 13_000, 19_000]
    assert attempts_at(QUICKEST, 0) == [0, 500, 1_500, 3_500, 6_500, 9_500, 12_500, 15_500, 18_500]


def test_durable_goes_on_for_three_days() -> None:
    starts = attempts_at(DurableSchedule(), 0)
    assert 70 < len(starts) < 160
    assert 71 * 3_600_000 < starts[-1] < 72 * 3_600_000


def test_durable_waits_differ() -> None:
    schedule = DurableSchedule()
    waits = {schedule.next_attempt(8, 0, 0) or 0 for _ in range(100)}
    assert len(waits) > 50
    assert 320_000 <= min(waits) <= max(waits) <= 640_000


def test_durable_bears_any_number_of_attempts() -> None:
    assert SLOWEST.next_attempt(100_000, 0, 0) == 6_000


@pytest.mark.parametrize(("asked_ms", "due_ms"), [(0, 1_000), (400, 1_000), (4_000, 4_000), (90_000, 6_000)])
def test_durable_gives_an_endpoint_the_time_it_asks_for_within_bounds(asked_ms: int, due_ms: int) -> None:
    assert SLOWEST.next_attempt(1, 0, 0, asked_ms) == due_ms


def test_the_vendors_schedule_heeds_no_wish() -> None:
    assert VendorSchedule().next_attempt(2, 0, 0, 30_000) == 10_000


@pytest.mark.parametrize(("now_ms", "over"), [(20_249, False), (20_250, True)])
def test_a_durable_turn_that_comes_too_late(now_ms: int, over: bool) -> None:
    assert SLOWEST.over(0, now_ms) is over
