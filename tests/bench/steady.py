"""`make bench-processor BENCH=steady`: memory over time and freshness, at a rate that the machine sustains.

Freshness is the time from the acknowledgement of the last report with samples of some ten seconds until the numbers of
these ten seconds can be read. Kafka acknowledges, upon which ingest answers; with `--through ingest` it is that answer.
Numbers are read as the console reads them, by room and for the application, several times a second; how long that takes
is part of the figure, and in ClickHouse's CPU time.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from statistics import linear_regression, quantiles
from typing import TYPE_CHECKING

import click

from services.runtime.clock import now_ms
from tests.bench.load import APP, SAMPLES_A_REPORT
from tests.bench.pipeline import Pipeline, pipeline
from tests.bench.sending import Way, pour, to_ingest, to_kafka
from tests.bench.tempo import EVERY_MS, GRID_MS, USERS, Due, due_reports

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractAsyncContextManager

BUCKET_MS = 10_000
PROBED_ROOMS = 200
LOOK_EVERY_S = 0.2
MEMORY_EVERY_S = 10.0
_SHUT_AFTER_MS = BUCKET_MS + EVERY_MS + 2 * GRID_MS
"""From the start of ten seconds until the last report of them has been sent."""
_LOST_AFTER_MS = 60_000
_STATEMENTS = 8
_WHOLE = 0
"""Stands for the application among rooms."""
WAYS: dict[str, Callable[[Pipeline], AbstractAsyncContextManager[Way]]] = {"kafka": to_kafka, "ingest": to_ingest}

Key = tuple[int, int]
"""Room, start of ten seconds in Unix ms."""


class Freshness:
    """What was acknowledged and when, and when that could be read."""

    def __init__(self, rooms: int) -> None:
        self._probed = set(range(1, rooms + 1, max(1, rooms // PROBED_ROOMS)))
        self._told: defaultdict[Key, int] = defaultdict(int)
        self._acknowledged: dict[Key, float] = {}
        self._read: dict[Key, tuple[int, float]] = {}
        self.rooms: list[float] = []
        self.application: list[float] = []
        self.lost = 0

    def query(self, now: int) -> str:
        """What was played in all ten seconds that may still change, by probed room and for the application."""
        since = f"SdkAppId = {APP} AND BucketTime >= fromUnixTimestamp64Milli({now - _LOST_AFTER_MS}, 'UTC')"
        rooms = ", ".join(f"'{room}'" for room in sorted(self._probed))
        columns = "toUnixTimestamp(BucketTime) * 1000, VideoPlayMs"
        return (
            f"SELECT RoomId, {columns} FROM roompulse.room_10s WHERE {since} AND RoomId IN ({rooms}) "
            f"UNION ALL SELECT '{_WHOLE}', {columns} FROM roompulse.app_10s FINAL WHERE {since} FORMAT TSV"
        )

    def acknowledged(self, reports: Sequence[Due], at: float) -> None:
        """Somebody answers for these from now on."""
        for report in reports:
            for start in range(report.first_ms, report.first_ms + SAMPLES_A_REPORT * GRID_MS, GRID_MS):
                for room in (report.room, _WHOLE) if report.room in self._probed else (_WHOLE,):
                    key = room, start - start % BUCKET_MS
                    self._told[key] += GRID_MS
                    self._acknowledged[key] = at

    def read(self, answer: str, at: float) -> None:
        """What can be read at a time."""
        for line in answer.splitlines():
            room, bucket, played = map(int, line.split("\t"))
            if self._read.get((room, bucket), (-1, 0.0))[0] != played:
                self._read[room, bucket] = played, at

    def shut(self, now: int, since_ms: int) -> None:
        """Note how fresh the buckets were that are complete by now and began after `since_ms`."""
        for key in [key for key in self._told if key[1] + _SHUT_AFTER_MS < now]:
            played, at = self._read.get(key, (0, 0.0))
            right = played == self._told[key]
            if not right and key[1] + _LOST_AFTER_MS > now:
                continue
            if key[1] >= since_ms:
                self.lost += not right
                if right:
                    (self.application if key[0] == _WHOLE else self.rooms).append(at - self._acknowledged[key])
            del self._told[key], self._acknowledged[key]
            self._read.pop(key, None)

    def end(self, since_ms: int) -> None:
        """What is not right by now is given up."""
        self.lost += sum(key[1] >= since_ms for key in self._told)


async def look(lines: Pipeline, freshness: Freshness, since_ms: int) -> None:
    """Read what viewers would read, again and again. Ends by cancellation."""
    while True:
        answer = await asyncio.to_thread(lines.clickhouse.query, freshness.query(now_ms()))
        freshness.read(answer, time.monotonic())
        freshness.shut(now_ms(), since_ms)
        await asyncio.sleep(LOOK_EVERY_S)


async def weigh(lines: Pipeline, weights: list[tuple[float, float]]) -> None:
    """Note the processor's memory by minutes. Ends by cancellation."""
    began = time.monotonic()
    while True:
        weights.append(((time.monotonic() - began) / 60, lines.memory_mb()))
        await asyncio.sleep(MEMORY_EVERY_S)


async def measure(through: str, rate: int, minutes: float, warm_up: float) -> None:
    """One processor under a steady load; figures are of the time after the warm-up."""
    freshness, weights = Freshness(rate * EVERY_MS // 1000 // SAMPLES_A_REPORT // USERS), list[tuple[float, float]]()
    async with pipeline() as lines, WAYS[through](lines) as way:
        await lines.start()
        since_ms, began = now_ms() + round(warm_up * 60_000), time.monotonic()
        before, seen = lines.cpu(), sum(await lines.seen())
        tasks = [asyncio.create_task(look(lines, freshness, since_ms)), asyncio.create_task(weigh(lines, weights))]
        sent = await pour(way, due_reports(rate, now_ms()), (warm_up + minutes) * 60, freshness.acknowledged)
        wall_s = time.monotonic() - began
        used, done = lines.cpu().since(before), sum(await lines.seen()) - seen
        await asyncio.sleep(_SHUT_AFTER_MS / 1000 + 6)
        freshness.end(since_ms)
        statements = await lines.statements()
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        for result in results:
            if not isinstance(result, asyncio.CancelledError):
                raise RuntimeError("a task of the bench ended") from result
    click.echo(
        f"{sent / wall_s:,.0f} samples a second sent, {done:,} of {sent:,} done at the end of {wall_s / 60:.1f} min; "
        f"cores used: processor {used.processor / wall_s:.2f}, ClickHouse {used.clickhouse / wall_s:.2f}, "
        f"Kafka {used.kafka / wall_s:.2f}"
    )
    waits = (f"{one.name} {one.seconds / one.times * 1000:.0f} ms x {one.times}" for one in statements[:_STATEMENTS])
    click.echo(f"waited longest for {', '.join(waits)}")
    memory(weights, warm_up)
    click.echo(f"freshness, from the acknowledgement by {through} to what a reader gets, after {warm_up} min:")
    for name, found in (("rooms", freshness.rooms), ("application", freshness.application)):
        if len(found) > 1:
            cuts = quantiles(found, n=100, method="inclusive")
            figures = f"p50 {cuts[49]:.2f} s, p95 {cuts[94]:.2f} s, p99 {cuts[98]:.2f} s, most {max(found):.2f} s"
            click.echo(f"  {name}: {figures}, of {len(found):,} ten seconds")
    click.echo(f"  {freshness.lost} ten seconds did not get their right number in time")


def memory(weights: list[tuple[float, float]], warm_up: float) -> None:
    """Print what the processor weighed, and how much more it was by the minute."""
    click.echo("memory by 10 s, MB: " + " ".join(f"{megabytes:.0f}" for _, megabytes in weights))
    later = [weight for weight in weights if weight[0] >= warm_up]
    if len(later) > 1:
        minutes, megabytes = zip(*later, strict=True)
        slope = linear_regression(minutes, megabytes).slope
        click.echo(
            f"memory after {warm_up} min: {megabytes[0]:.0f} MB, at the end {megabytes[-1]:.0f} MB, slope "
            f"{slope:+.2f} MB a minute ({slope * 10 / megabytes[0]:+.1%} in ten minutes)"
        )


@click.command()
@click.option("--through", type=click.Choice(list(WAYS)), default="kafka", show_default=True, help="Where reports go.")
@click.option("--rate", default=5_000, show_default=True, help="Samples a second, a multiple of ten.")
@click.option("--minutes", default=10.0, show_default=True, help="How long to measure.")
@click.option("--warm-up", default=3.0, show_default=True, help="Minutes before that.")
def bench(through: str, rate: int, minutes: float, warm_up: float) -> None:
    """Memory and freshness under a steady load."""
    asyncio.run(measure(through, rate, minutes, warm_up))


if __name__ == "__main__":
    bench()
