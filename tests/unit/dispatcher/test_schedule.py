"""The vendor's retry schedule, by the table of its arithmetic."""

from __future__ import annotations

import pytest

from services.dispatcher.schedule import VendorSchedule


def attempts_at(schedule: VendorSchedule, duration_ms: int) -> list[int]:
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
