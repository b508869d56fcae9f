"""Limits that follow how endpoints bear their callbacks."""

from __future__ import annotations

import pytest

from services.dispatcher.pressure import MAX_STRAINED, Pressure, strains
from services.dispatcher.sender import Answer

KEY = (1, "http://a.example/")
OTHER = (1, "http://b.example/")


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (Answer(error_class="timeout"), True),
        (Answer(status=200, error_class="timeout"), True),
        (Answer(status=429, error_class="status"), True),
        (Answer(status=503, error_class="status"), True),
        (Answer(status=500, error_class="status"), False),
        (Answer(error_class="refused"), False),
        (Answer(status=200), False),
    ],
)
def test_what_is_a_sign_of_overload(answer: Answer, expected: bool) -> None:
    assert strains(answer) is expected


def test_halved_down_to_a_floor_and_nobody_elses() -> None:
    pressure = Pressure(64)
    limits = []
    for _ in range(4):
        pressure.note(KEY, strained=True)
        limits.append(pressure.limit(KEY))
    assert limits == [32, 16, 16, 16]
    assert pressure.limit(OTHER) == 64


def test_one_more_for_as_many_answers_as_the_limit_is() -> None:
    pressure = Pressure(64)
    pressure.note(KEY, strained=True)
    for _ in range(33):
        pressure.note(KEY, strained=False)
    assert pressure.limit(KEY) == 33
    for _ in range(64 * 64):
        pressure.note(KEY, strained=False)
    assert (pressure.limit(KEY), len(pressure)) == (64, 0)


def test_a_limit_of_one_stays_one() -> None:
    pressure = Pressure(1)
    pressure.note(KEY, strained=True)
    assert pressure.limit(KEY) == 1


def test_memory_is_bounded() -> None:
    pressure = Pressure(64)
    for number in range(MAX_STRAINED + 5):
        pressure.note((number, ""), strained=True)
    assert len(pressure) == MAX_STRAINED
    assert (pressure.limit((0, "")), pressure.limit((MAX_STRAINED, ""))) == (64, 32)


def test_after_a_new_beginning_it_rises_quickly_to_the_floor() -> None:
    pressure = Pressure(64)
    pressure.restart(KEY)
    limits = []
    for _ in range(18):
        limits.append(pressure.limit(KEY))
        pressure.note(KEY, strained=False)
    assert limits == [*range(1, 17), 16, 16]


def test_a_new_beginning_is_not_made_easier_by_overload() -> None:
    pressure = Pressure(64)
    pressure.restart(KEY)
    pressure.note(KEY, strained=True)
    assert pressure.limit(KEY) == 1
