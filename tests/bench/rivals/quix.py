# mypy: ignore-errors
"""Quix Streams: one sample a record into a tumbling window with its usual state store."""

from __future__ import annotations

import sys
import tempfile

from meter import WINDOW_S, Meter
from quixstreams import Application

bootstrap, topic, expected = sys.argv[1], sys.argv[2], int(sys.argv[4])
meter = Meter(expected)
app = Application(
    broker_address=bootstrap,
    consumer_group="bench-quix",
    auto_offset_reset="earliest",
    state_dir=tempfile.mkdtemp(),
    loglevel="WARNING",
)
samples = app.topic(topic, key_deserializer="str", value_deserializer="bytes")


totals = {}


def finished(window, room, *_):
    """What comes out of the window, one for each sample."""
    totals[room, window["start"]] = window["value"]
    meter.done(lambda: ((room, start // 1000, total) for (room, start), total in totals.items()))


frame = app.dataframe(samples)
frame = frame.apply(lambda value: meter.read(value).stutter_ms)
frame = frame.tumbling_window(WINDOW_S * 1000, grace_ms=60_000).sum().current()
frame.update(finished, metadata=True)

if __name__ == "__main__":
    app.run()
