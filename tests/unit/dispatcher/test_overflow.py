"""What is known of callbacks that only the lane holds."""

from __future__ import annotations

from services.dispatcher.overflow import Backlog


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
