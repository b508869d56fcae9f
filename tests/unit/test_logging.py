from __future__ import annotations

import logging

from services.runtime.logging import SAME_LINE_EVERY_S, Seldom


def record(name: str, text: str, argument: object, at: float) -> logging.LogRecord:
    made = logging.LogRecord(name, logging.ERROR, "", 0, text, (argument,), None)
    made.created = at
    return made


def test_a_line_of_one_kind_comes_once_in_a_while() -> None:
    seldom = Seldom("aiokafka")
    at = 1_700_000_000.0
    assert seldom.filter(record("aiokafka", "no connection to %s", 1, at))
    assert not seldom.filter(record("aiokafka", "no connection to %s", 2, at + SAME_LINE_EVERY_S - 0.1))
    assert seldom.filter(record("aiokafka", "no metadata from %s", 1, at + 1))
    assert seldom.filter(record("aiokafka.producer", "no connection to %s", 1, at + 1))
    assert seldom.filter(record("aiokafka", "no connection to %s", 1, at + SAME_LINE_EVERY_S))


def test_our_own_lines_all_come() -> None:
    seldom = Seldom("aiokafka")
    for _ in range(3):
        assert seldom.filter(record("services.ingest", "waiting for Kafka%s", "", 1_700_000_000.0))
