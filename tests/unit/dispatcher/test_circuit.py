"""When an endpoint is parked and when it is opened, by a clock of the test's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from services.dispatcher.circuit import (
    FAILURES_WHILE_OPENING,
    MAX_FAILING,
    REOPENED_AFTER,
    Circuit,
    Circuits,
    Health,
    health_of,
)
from services.dispatcher.sender import Answer

if TYPE_CHECKING:
    from services.dispatcher.scheduler import EndpointKey

KEY = (1, "http://a.example/")
FINE = Answer(status=200)
DEAD = Answer(error_class="refused", error="nobody there")
OURS = Answer(error_class="egress-proxy")


class Trial:
    """Circuits and the changes that they told."""

    def __init__(self) -> None:
        self.now_ms = 1_000_000
        self.changes: list[tuple[EndpointKey, bool, bool]] = []
        self.circuits = Circuits(
            lambda: self.now_ms,
            failures=10,
            failing_ms=10_000,
            first_pause_ms=1_000,
            longest_pause_ms=10_000,
            on_change=self._changed,
        )

    def _changed(self, key: EndpointKey, circuit: Circuit) -> None:
        self.changes.append((key, bool(circuit.parked_ms), circuit.gone))

    def note(self, answer: Answer, times: int = 1, *, every_ms: int = 0, key: EndpointKey = KEY) -> None:
        for _ in range(times):
            self.now_ms += every_ms
            self.circuits.note(key, answer)

    def parked(self) -> Circuit:
        self.note(DEAD, 11, every_ms=1_000)
        return self.circuits.closed[KEY]


@pytest.mark.parametrize(
    ("answer", "health"),
    [
        (FINE, Health.WELL),
        *[(Answer(status=status, error_class="status"), Health.WELL) for status in (201, 301, 400, 404, 410)],
        *[(Answer(status=status, error_class="status"), Health.ILL) for status in (429, 500, 503)],
        *[(Answer(error_class=name), Health.ILL) for name in ("timeout", "refused", "reset", "connect", "dns", "tls")],
        (Answer(status=200, error_class="too-large"), Health.WELL),
        (Answer(error_class="protocol"), Health.ILL),
        *[(Answer(error_class=name), Health.UNKNOWN) for name in ("blocked", "url", "no-url")],
        *[(Answer(error_class=name), Health.OUR_FAULT) for name in ("own", "egress-proxy")],
    ],
)
def test_what_an_attempt_tells(answer: Answer, health: Health) -> None:
    assert health_of(answer) is health


def test_parked_after_many_failures_over_some_time() -> None:
    trial = Trial()
    trial.note(DEAD, 50)
    assert not trial.circuits.closed, "they came all at once"
    trial.note(DEAD, every_ms=9_999)
    assert not trial.circuits.closed
    trial.note(DEAD, every_ms=1)
    assert trial.changes == [(KEY, True, False)]
    circuit = trial.circuits.closed[KEY]
    assert (circuit.failures, circuit.last, circuit.next_ms - trial.now_ms) == (52, DEAD, 1_000)


def test_few_failures_do_not_park_however_long_they_take() -> None:
    trial = Trial()
    trial.note(DEAD, 9, every_ms=60_000)
    assert not trial.circuits.closed


def test_one_good_answer_begins_the_count_anew() -> None:
    trial = Trial()
    for _ in range(10):
        trial.note(DEAD, 9, every_ms=1_200)
        trial.note(FINE)
    assert not trial.circuits.closed
    assert not trial.changes


def test_what_says_nothing_changes_nothing() -> None:
    trial = Trial()
    trial.note(Answer(error_class="blocked"), 50, every_ms=1_000)
    assert not trial.circuits.closed
    trial.note(DEAD, 5, every_ms=1_000)
    trial.note(Answer(error_class="blocked"))
    trial.note(DEAD, 6, every_ms=1_000)
    assert KEY in trial.circuits.closed


def test_it_is_trusted_after_some_good_answers() -> None:
    trial = Trial()
    trial.parked()
    trial.note(FINE, REOPENED_AFTER)
    assert (list(trial.circuits.closed), list(trial.circuits.parked)) == ([], [KEY])
    trial.note(FINE)
    assert not trial.circuits.parked
    assert trial.changes == [(KEY, True, False), (KEY, False, False)]
    # Trusted: a few failures do nothing.
    trial.note(DEAD, FAILURES_WHILE_OPENING + 1)
    assert not trial.circuits.closed


def test_it_is_trusted_after_some_time_where_it_has_little_to_do() -> None:
    trial = Trial()
    trial.parked()
    trial.note(FINE)
    trial.now_ms += 9_999
    trial.circuits.settle()
    assert trial.circuits.parked
    trial.now_ms += 1
    trial.circuits.settle()
    assert not trial.circuits.parked
    assert trial.changes[-1] == (KEY, False, False)


def test_parked_again_with_longer_pauses_and_nobody_told_twice() -> None:
    trial = Trial()
    trial.parked()
    trial.note(FINE)
    trial.note(DEAD, FAILURES_WHILE_OPENING - 1)
    assert not trial.circuits.closed
    trial.note(DEAD)
    assert trial.circuits.closed[KEY].next_ms == trial.now_ms + 2_000
    assert len(trial.changes) == 1


def test_failures_of_what_was_in_the_air_before_make_no_longer_pause() -> None:
    trial = Trial()
    circuit = trial.parked()
    trial.note(DEAD, 30)
    assert circuit.pause_ms == 1_000
    trial.note(DEAD, every_ms=1_000)
    assert circuit.pause_ms == 2_000


def test_faults_of_ours_pause_without_parking() -> None:
    trial = Trial()
    trial.note(OURS, 100, every_ms=1_000)
    circuit = trial.circuits.closed[KEY]
    assert (circuit.failures, circuit.pause_ms, circuit.parked_ms) == (0, 5_000, 0)
    assert not trial.changes
    trial.note(FINE)
    assert not trial.circuits.closed


def test_a_fault_of_ours_does_not_open_what_is_parked() -> None:
    trial = Trial()
    circuit = trial.parked()
    trial.note(OURS, every_ms=1_000)
    trial.note(DEAD, every_ms=5_000)
    assert trial.circuits.closed[KEY] is circuit
    assert (circuit.held_ms, circuit.released_ms, circuit.reachable_ms) == (0, trial.now_ms, trial.now_ms)
    assert len(trial.changes) == 1


def test_an_application_that_changes_is_tried_at_once() -> None:
    trial = Trial()
    circuit = trial.parked()
    trial.circuits.application_changed(2, [])
    assert circuit.next_ms > trial.now_ms
    trial.circuits.application_changed(1, [KEY[1]])
    assert circuit.next_ms == trial.now_ms
    trial.circuits.application_changed(1, [])
    assert not trial.circuits.closed
    assert trial.changes[-1] == (KEY, False, True)


def test_memory_is_bounded_and_what_is_parked_stays() -> None:
    trial = Trial()
    trial.parked()
    for number in range(MAX_FAILING + 5):
        trial.note(DEAD, key=(number + 2, ""))
    assert len(trial.circuits._circuits) == MAX_FAILING
    assert KEY in trial.circuits.closed
