"""`make bench-processor`: one recorded load through the processor and through other frameworks.

Each row tells the CPU time from the first sample on, without the start. The rivals do a part of what the processor does
(stutter by room and ten seconds, into nothing); they are installed into a folder that is thrown away. What each of them
has computed is compared with what the load says.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click
import msgspec
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from schemas.topics import QUALITY
from tests.bench.load import APP, records, rounds, singles
from tests.bench.measuring import install
from tests.bench.pipeline import first_ms_of, pipeline, producing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from schemas.reports import AcceptedReport
    from tests.bench.pipeline import Pipeline

ROOT = Path(__file__).parents[2]
RIVALS = Path(__file__).parent / "rivals"
SINGLE = "bench-single"
PARTITIONS = 8
BUCKET_MS = 10_000
RIVALS_AT_MOST_S = 600
FIRST = ("processor", "bare")
FRAMEWORKS = {
    "faust": ("plain_faust.py", None),
    "quix": ("quix.py", "quixstreams"),
    "bytewax": ("bytewax_flow.py", "bytewax[kafka]"),
}

Stutter = dict[str, int]
"""Milliseconds of stutter by `room/start of the ten seconds in Unix s`, without zeros."""


class Row(NamedTuple):
    """What one row used for so many samples, and what it found of the load that all of them had."""

    samples: int
    cpu_s: float
    wall_s: float
    peak_mb: float
    stutter: Stutter | None = None
    """None where it has not read that load whole."""


class Load(NamedTuple):
    """What is in Kafka."""

    poured: int
    alone: int
    """The first of them are also there one a record."""
    batches: list[bytes]
    """The same as in topic `quality`."""
    until_ms: int
    """End of these."""
    stutter: Stutter


async def produce(bootstrap: str, rooms: int, users: int, samples: int, single: int) -> Load:
    """Record the load in whole rounds: batches of all, and the first of them one a record."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(SINGLE, PARTITIONS, 1)])
    await admin.close()
    batches: list[bytes] = []
    stutter: Counter[str] = Counter()
    poured = size = alone = alone_size = until_ms = 0
    async with producing(bootstrap) as producer:
        partitions = len(await producer.partitions_for(QUALITY.name))
        for reports in rounds(rooms, users, samples, first_ms_of(rooms, users, samples)):
            shared = alone < single
            for partition, value, count in records(reports, partitions):
                await producer.send(QUALITY.name, value, partition=partition)
                poured, size = poured + count, size + len(value)
                if shared:
                    batches.append(value)
            if shared:
                until_ms = reports[-1].sent_ms
                _add_stutter(stutter, reports)
                for place, key, value, at in singles(reports, PARTITIONS):
                    await producer.send(SINGLE, value, key=key, partition=place, timestamp_ms=at)
                    alone, alone_size = alone + 1, alone_size + len(value)
    click.echo(
        f"{poured:,} samples in {rooms} rooms of {users}, {size / poured:.0f} bytes each in batches; "
        f"{alone:,} of them also one a record, {alone_size / max(1, alone):.0f} bytes each"
    )
    return Load(poured, alone, batches, until_ms, dict(stutter))


def _add_stutter(stutter: Counter[str], reports: Sequence[AcceptedReport]) -> None:
    for report in reports:
        for sample in report.samples:
            for stream in sample.remote:
                for _, length in stream.stutters:
                    stutter[f"{report.room_id}/{sample.start_ms // BUCKET_MS * BUCKET_MS // 1000}"] += length


async def run_processor(lines: Pipeline, load: Load, seconds: float) -> Row:
    """The processor until all is committed or the time is over; what is left then is not counted."""
    used = await lines.run(seconds=seconds)
    click.echo(f"processor: {used}")
    until = f"fromUnixTimestamp64Milli({load.until_ms}, 'UTC')"
    query = lines.clickhouse.query
    stored = int(query(f"SELECT count() FROM roompulse.samples FINAL WHERE SdkAppId = {APP} AND StartTime < {until}"))
    if stored < load.alone:
        return Row(used.samples, used.cpu.processor, used.wall_s, used.peak_mb)
    found = query(
        "SELECT concat(RoomId, '/', toString(toUnixTimestamp(BucketTime))), sum(VideoStutterMs) + sum(AudioStutterMs) "
        f"AS Ms FROM roompulse.room_10s WHERE SdkAppId = {APP} AND BucketTime < {until} "
        "GROUP BY RoomId, BucketTime HAVING Ms > 0 FORMAT TSV"
    )
    stutter = {room: int(length) for room, length in (line.split("\t") for line in found.splitlines())}
    return Row(used.samples, used.cpu.processor, used.wall_s, used.peak_mb, stutter)


def run_script(command: Sequence[str], cwd: Path) -> Row | str:
    """What a script used, or why it did not work."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=RIVALS_AT_MOST_S, check=False, cwd=cwd)
    except subprocess.TimeoutExpired:
        return f"not done in {RIVALS_AT_MOST_S} s"
    for line in done.stdout.splitlines():
        if line.startswith('{"samples"'):
            return Row(**msgspec.json.decode(line))
    return (done.stderr.strip().splitlines() or [f"ended with {done.returncode}"])[-1][:90]


def judged(found: Stutter | None, told: Mapping[str, int]) -> str:
    """How what was found compares with what the load says."""
    if found is None:
        return "had not read all of it"
    if found == told:
        return f"right: {sum(found.values()):,} ms in {len(found):,} rooms' ten seconds"
    wrong = sum(found.get(key) != told.get(key) for key in found.keys() | told.keys())
    return f"WRONG in {wrong:,} of {len(told):,}: {sum(found.values()):,} ms for {sum(told.values()):,} ms"


def table(rows: Mapping[str, Row | str], load: Load) -> None:
    """Print the rows, each with our ratio to it."""
    ours = rows.get("processor")
    click.echo(
        f"\n{'':<10}{'samples/s':>12}{'CPU s/100,000':>16}{'peak MB':>10}{'we are':>10}  stutter by room and 10 s"
    )
    for name, used in rows.items():
        if isinstance(used, str):
            click.echo(f"{name:<10}  {used}")
            continue
        each = used.cpu_s / used.samples
        ratio = f"{each / (ours.cpu_s / ours.samples):.1f} x" if isinstance(ours, Row) else ""
        figures = f"{used.samples / used.wall_s:>12,.0f}{each * 1e5:>16.3f}{used.peak_mb:>10.0f}{ratio:>10}"
        click.echo(f"{name:<10}{figures}  {judged(used.stutter, load.stutter)}")


async def measure(rows: Sequence[str], rooms: int, users: int, samples: int, single: int, seconds: float) -> None:
    """Run the rows one after another."""
    results: dict[str, Row | str] = {}
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        async with pipeline() as lines:
            load = await produce(lines.bootstrap, rooms, users, samples, single)
            if "processor" in rows:
                results["processor"] = await run_processor(lines, load, seconds)
            if "bare" in rows:
                (folder / "batches").write_bytes(b"\n".join(load.batches))
                command = [sys.executable, "-m", "tests.bench.rivals.bare", str(folder / "batches")]
                results["bare"] = await asyncio.to_thread(run_script, command, ROOT)
            for framework, (script, package) in FRAMEWORKS.items():
                if framework in rows:
                    try:
                        python = sys.executable if package is None else install(folder / framework, package)
                    except subprocess.CalledProcessError:
                        results[framework] = "cannot be installed here"
                        continue
                    command = [python, str(RIVALS / script), lines.bootstrap, SINGLE, str(PARTITIONS), str(load.alone)]
                    results[framework] = await asyncio.to_thread(run_script, command, folder)
    table(results, load)


@click.command()
@click.option("--rooms", default=5_000, show_default=True)
@click.option("--users", default=4, show_default=True, help="Users of each room.")
@click.option("--samples", default=6_000_000, show_default=True, help="Samples for the processor.")
@click.option("--single", default=300_000, show_default=True, help="Samples for each of the others.")
@click.option("--seconds", default=60.0, show_default=True, help="Stop counting the processor's after this time.")
@click.option("--row", "rows", multiple=True, type=click.Choice([*FIRST, *FRAMEWORKS]), default=[*FIRST, *FRAMEWORKS])
def bench(rows: tuple[str, ...], rooms: int, users: int, samples: int, single: int, seconds: float) -> None:
    """CPU time of a sample, here and elsewhere."""
    asyncio.run(measure(rows, rooms, users, samples, single, seconds))


if __name__ == "__main__":
    bench()
