"""The memory of recent events."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.dispatcher.recent import MAX_REMEMBERED, REMEMBERED_MS, RecentEvents

LONGEST_MS = REMEMBERED_MS * 5 // 4


def test_an_event_is_known_for_ten_minutes() -> None:
    recent = RecentEvents()
    assert not recent.seen(1, 1_000)
    assert recent.seen(1, 1_000)
    assert recent.seen(1, 1_000 + REMEMBERED_MS - 1)


def test_an_event_is_forgotten_in_the_end() -> None:
    recent = RecentEvents()
    recent.seen(1, 0)
    recent.seen(2, LONGEST_MS)
    assert not recent.seen(1, LONGEST_MS + 1)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 200_000)), max_size=200))
def test_between_ten_minutes_and_a_quarter_more(steps: list[tuple[int, int]]) -> None:
    recent = RecentEvents()
    first_seen: dict[int, int] = {}
    now_ms = 0
    for event, pause_ms in steps:
        now_ms += pause_ms
        known = recent.seen(event, now_ms)
        if event in first_seen and now_ms - first_seen[event] < REMEMBERED_MS:
            assert known
        if event not in first_seen or now_ms - first_seen[event] > LONGEST_MS:
            assert not known
        if not known:
            first_seen[event] = now_ms


def test_timestamps_that_go_back_forget_nothing() -> None:
    recent = RecentEvents()
    recent.seen(1, REMEMBERED_MS)
    recent.seen(2, 0)
    assert recent.seen(1, REMEMBERED_MS)
    assert recent.seen(2, REMEMBERED_MS)


def test_memory_is_bounded() -> None:
    recent = RecentEvents()
    last = MAX_REMEMBERED * 3 // 2
    for event in range(last + 1):
        recent.seen(event, event // 1000)
    assert MAX_REMEMBERED // 2 < len(recent) <= MAX_REMEMBERED
    assert recent.seen(last, last // 1000)
    assert recent.seen(last - MAX_REMEMBERED // 2, last // 1000)
