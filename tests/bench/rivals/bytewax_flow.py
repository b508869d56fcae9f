# mypy: ignore-errors
"""Bytewax: one sample a record into a tumbling window, without a recovery store."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta

import bytewax.operators as op
import bytewax.operators.windowing as win
from bytewax.connectors.kafka import KafkaSource
from bytewax.dataflow import Dataflow
from bytewax.testing import TestingSink, run_main
from meter import WINDOW_S, Meter

bootstrap, topic, expected = sys.argv[1], sys.argv[2], int(sys.argv[4])
meter = Meter(expected)
BEGINNING = datetime(2024, 1, 1, tzinfo=UTC)


def keyed(message):
    """A sample as (room, (time, stutter))."""
    sample = meter.read(message.value)
    return str(sample.room_id), (datetime.fromtimestamp(sample.start_ms / 1000, UTC), sample.stutter_ms)


flow = Dataflow("bench")
messages = op.input("in", flow, KafkaSource([bootstrap], [topic], tail=False))
windows = win.fold_window(
    "sum",
    op.map("key", messages, keyed),
    win.EventClock(lambda value: value[0], timedelta(seconds=60)),
    win.TumblingWindower(timedelta(seconds=WINDOW_S), BEGINNING),
    int,
    lambda total, value: total + value[1],
    int.__add__,
    ordered=False,
)
closed = []
op.output("out", windows.down, TestingSink(closed))


def totals():
    """What came out of the windows; each has a number, counted from the beginning."""
    return ((room, int(BEGINNING.timestamp()) + number * WINDOW_S, total) for room, (number, total) in closed)


if __name__ == "__main__":
    run_main(flow)
    meter.done(totals)
