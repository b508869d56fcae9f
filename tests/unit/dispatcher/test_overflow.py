"""What is known of callbacks that only the lane holds."""

from __future__ import annotations

from services.dispatcher.overflow import Backlog, Marks


def test_first_come_first_served() -> None:
    backlog = Backlog([3, 5])
    backlog.add(9)
    assert backlog.first(2) == [3, 5]
    assert len(backlog) == 3
    backlog.drop(2)
    assert [*backlog] == [9]
    assert backlog.first(10) == [9]


def test_over_when_nothing_waits_and_nothing_is_on_its_way() -> None:
    assert Backlog().over
    assert not Backlog([1]).over
    backlog = Backlog()
    backlog.writing += 1
    assert not backlog.over


def test_ascending_even_if_a_write_had_to_be_repeated() -> None:
    backlog = Backlog([1, 5])
    backlog.add(3)
    backlog.add(9)
    assert [*backlog] == [1, 3, 5, 9]


def test_marks_tell_what_was_written_before() -> None:
    marks = Marks(60_000)
    assert marks.before(10_000_000) == -1
    marks.note(7)
    marks.tick(1_000_000)
    marks.note(9)
    marks.tick(1_000_999)
    marks.note(8)
    marks.tick(1_001_000)
    assert [marks.before(moment) for moment in (999_999, 1_000_000, 1_000_999, 1_001_000)] == [-1, 7, 7, 9]
    # Nothing new, no mark.
    marks.tick(1_500_000)
    assert marks.before(1_500_000) == 9


def test_marks_cover_their_span_however_long_they_are_set() -> None:
    marks = Marks(60_000)
    for second in range(10_000):
        marks.note(second)
        marks.tick(second * 1_000)
    now_ms = 9_999_000
    assert marks.before(now_ms - 60_000) == 9_939
    assert len(marks._marks) == 120
