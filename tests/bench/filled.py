"""`make bench-processor BENCH=filled`: what a sample costs where little is stored, and beside a hundred million.

The store is filled inside ClickHouse: one minute that the processor has put there is copied into the minutes before it,
rollups too, with other sessions every hour. Both times the measured load goes on where that minute ended.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import click

from tests.bench.load import APP, SAMPLES_A_REPORT
from tests.bench.pipeline import first_ms_of, pipeline

if TYPE_CHECKING:
    from tests.bench.pipeline import Used
    from tests.support.clickhouse import ClickHouseServer

MINUTE_MS = 60_000
ROUNDS_A_MINUTE = 6
STREAMS_A_SAMPLE = 2
TABLES = {
    "samples": "StartTime",
    "streams": "StartTime",
    "stutters": "BucketTime",
    "user_10s": "BucketTime",
    "app_10s": "BucketTime",
}
"""What is copied, and by which column a minute of it is found."""
_MINUTES_AT_ONCE = 10
_FILL_WITHIN_S = 600.0


def fill(clickhouse: ClickHouseServer, minute_ms: int, copies: int) -> None:
    """Copy the minute that begins then so many times, each into the minute before the last."""
    for table, column in TABLES.items():
        columns = clickhouse.query(
            f"SELECT name, type FROM system.columns WHERE database = 'roompulse' AND table = '{table}' "
            "AND default_kind NOT IN ('ALIAS', 'MATERIALIZED') FORMAT TSV"
        )
        types = dict(line.split("\t") for line in columns.splitlines())
        moved = [f"{name} - toIntervalMinute(ago) AS {name}" for name, kind in types.items() if "DateTime" in kind]
        if "SessionId" in types:
            moved.append("concat(SessionId, '-', toString(intDiv(ago, 60))) AS SessionId")
        for first in range(1, copies + 1, _MINUTES_AT_ONCE):
            after = min(first + _MINUTES_AT_ONCE, copies + 1)
            clickhouse.query(
                f"INSERT INTO roompulse.{table} ({', '.join(types)}) "
                f"SELECT * EXCEPT (ago) REPLACE ({', '.join(moved)}) "
                f"FROM (SELECT {', '.join(types)}, arrayJoin(range({first}, {after})) AS ago "
                f"FROM roompulse.{table} FINAL WHERE SdkAppId = {APP} "
                f"AND {table}.{column} >= fromUnixTimestamp64Milli({minute_ms}, 'UTC') "
                f"AND {table}.{column} < fromUnixTimestamp64Milli({minute_ms + MINUTE_MS}, 'UTC'))",
                timeout=_FILL_WITHIN_S,
            )


def settle(clickhouse: ClickHouseServer, seconds: float) -> None:
    """Return when nothing has been merged for some seconds, or the time is over."""
    deadline, quiet = time.monotonic() + seconds, 0
    while quiet < 5 and time.monotonic() < deadline:
        time.sleep(1)
        quiet = 0 if int(clickhouse.query("SELECT count() FROM system.merges")) else quiet + 1


def stored(clickhouse: ClickHouseServer) -> str:
    """What is in the store, in words."""
    rows, parts, size = clickhouse.query(
        "SELECT sumIf(rows, table = 'streams'), count(), formatReadableSize(sum(bytes_on_disk)) "
        "FROM system.parts WHERE active AND database = 'roompulse' FORMAT TSV"
    ).split("\t")
    return f"{int(rows):,} stream samples, {parts} parts, {size.strip()}"


async def measure(rooms: int, users: int, samples: int, filled: int, seconds: float) -> Used:
    """The load beside so many stream samples at least."""
    minute = rooms * users * SAMPLES_A_REPORT * ROUNDS_A_MINUTE
    async with pipeline() as lines:
        first_ms = first_ms_of(rooms, users, minute + samples) // MINUTE_MS * MINUTE_MS
        poured = await lines.pour(rooms, users, minute, first_ms)
        await lines.run(seconds=seconds)
        began = time.monotonic()
        await asyncio.to_thread(fill, lines.clickhouse, first_ms, filled // (minute * STREAMS_A_SAMPLE))
        await asyncio.to_thread(settle, lines.clickhouse, seconds)
        before = f"{stored(lines.clickhouse)}, filled in {time.monotonic() - began:.0f} s"
        await lines.pour(rooms, users, samples, poured.until_ms)
        used = await lines.run(warm_up=min(samples // 2, 2 * rooms * users * SAMPLES_A_REPORT), seconds=seconds)
        click.echo(f"{before}: {used}; afterwards {stored(lines.clickhouse)}")
    return used


async def compare(rooms: int, users: int, samples: int, filled: int, seconds: float) -> None:
    """Measure and print."""
    little = await measure(rooms, users, samples, 0, seconds)
    much = await measure(rooms, users, samples, filled, seconds)
    click.echo(
        f"\nCPU time of a sample, beside {filled:,} stream samples to an almost empty store: processor "
        f"{much.processor_us:.2f} µs to {little.processor_us:.2f} µs, {much.processor_us / little.processor_us:.2f}; "
        f"with ClickHouse {much.both_us:.2f} µs to {little.both_us:.2f} µs, {much.both_us / little.both_us:.2f}"
    )


@click.command()
@click.option("--rooms", default=2_000, show_default=True)
@click.option("--users", default=4, show_default=True, help="Users of each room.")
@click.option("--samples", default=3_000_000, show_default=True, help="Samples of each row.")
@click.option("--filled", default=100_000_000, show_default=True, help="Stream samples that are there before.")
@click.option("--seconds", default=300.0, show_default=True, help="Stop counting, and waiting for merges, after this.")
def bench(rooms: int, users: int, samples: int, filled: int, seconds: float) -> None:
    """CPU time of a sample by what is stored."""
    asyncio.run(compare(rooms, users, samples, filled, seconds))


if __name__ == "__main__":
    bench()
