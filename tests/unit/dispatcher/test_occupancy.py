"""Room in memory, shared between endpoints."""

from __future__ import annotations

from services.dispatcher.occupancy import SQUEEZED, Occupancy


def key(number: int) -> tuple[int, str]:
    return number, "http://a.example/"


def fill(occupancy: Occupancy, number: int) -> int:
    """Let an endpoint have what it may have; how many it has got."""
    entered = 0
    while occupancy.room(key(number)):
        occupancy.enter(key(number), 1)
        entered += 1
    return entered


def test_one_endpoint_gets_a_fifth() -> None:
    occupancy = Occupancy(10_000)
    assert occupancy.room(key(1)) == 2_000
    assert fill(occupancy, 1) == 2_000
    assert occupancy.total == 2_000


def test_there_is_room_for_the_next_one_however_many_are_full() -> None:
    occupancy = Occupancy(10_000)
    got = [fill(occupancy, number) for number in range(20)]
    assert got == sorted(got, reverse=True)
    assert occupancy.total <= 10_000
    assert occupancy.room(key(99)) >= 16


def test_whoever_leaves_makes_room() -> None:
    occupancy = Occupancy(10_000)
    fill(occupancy, 1)
    for _ in range(500):
        occupancy.leave(key(1), 1)
    assert occupancy.room(key(1)) == 500
    for _ in range(1_500):
        occupancy.leave(key(1), 1)
    assert occupancy.total == 0
    assert occupancy.room(key(2)) == 2_000


def test_every_endpoint_gets_on_a_little_when_memory_is_full() -> None:
    occupancy = Occupancy(0)
    assert [fill(occupancy, number) for number in range(3)] == [16, 16, 16]


def test_large_callbacks_weigh_more() -> None:
    occupancy = Occupancy(10_000)
    occupancy.enter(key(1), 700)
    assert occupancy.room(key(1)) == 1_300
    occupancy.leave(key(1), 700)
    assert occupancy.total == 0


def test_an_endpoint_that_is_closed_off_makes_do_with_little() -> None:
    squeezed: set[tuple[int, str]] = set()
    occupancy = Occupancy(10_000, squeezed)
    fill(occupancy, 1)
    squeezed.add(key(1))
    assert (occupancy.room(key(1)), occupancy.held(key(1))) == (0, 2_000)
    squeezed.add(key(2))
    assert fill(occupancy, 2) == SQUEEZED
    squeezed.clear()
    assert occupancy.room(key(2)) > 1_000
