# mypy: ignore-errors
"""Faust as its guide shows it: one sample a record into a windowed table."""

from __future__ import annotations

import sys

import faust
from meter import WINDOW_S, Meter

bootstrap, topic, partitions, expected = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
meter = Meter(expected)
app = faust.App(
    "bench-faust",
    broker=f"kafka://{bootstrap}",
    store="memory://",
    topic_partitions=partitions,
    topic_replication_factor=1,
    consumer_auto_offset_reset="earliest",
    web_enabled=False,
)
samples = app.topic(topic, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")
stutter = app.Table("stutter", default=int, partitions=partitions).tumbling(WINDOW_S, expires=3600)


def totals():
    """What is in the table."""
    return ((room, int(start), total) for (room, (start, _)), total in stutter.table.data.items())


@app.agent(samples)
async def count(stream):
    """The job."""
    async for value in stream:
        sample = meter.read(value)
        stutter[str(sample.room_id)] += sample.stutter_ms
        meter.done(totals)


if __name__ == "__main__":
    app.worker_init()
    faust.Worker(app, loglevel="warn").execute_from_commandline()
