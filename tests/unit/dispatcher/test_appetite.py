"""What is taken follows what gets done."""

from __future__ import annotations

from services.dispatcher.appetite import LEAST_PENDING, MOST_PENDING, Appetite


def test_so_much_is_taken_as_is_done_in_a_second_and_a_half_within_bounds() -> None:
    now = 0.0
    appetite = Appetite(lambda: now)
    assert appetite.limit(0) == LEAST_PENDING
    limits = []
    completed = 0
    for rate in (100, 1_000, 2_000, 10_000, 0):
        for _ in range(2):
            now += 0.25
            completed += rate // 4
            limit = appetite.limit(completed)
        limits.append(limit)
    assert limits == [LEAST_PENDING, 1_500, 3_000, MOST_PENDING, LEAST_PENDING]


def test_between_two_measurements_nothing_changes() -> None:
    now = 0.0
    appetite = Appetite(lambda: now)
    now = 0.25
    assert appetite.limit(500) == 3_000
    now = 0.3
    assert appetite.limit(500) == 3_000


def test_what_was_taken_away_by_a_rebalance_makes_it_careful_only_for_a_moment() -> None:
    now = 0.0
    appetite = Appetite(lambda: now)
    now = 1.0
    assert appetite.limit(2_000) == 3_000
    now = 2.0
    assert appetite.limit(1_000) == LEAST_PENDING
    now = 3.0
    assert appetite.limit(3_000) == 3_000
