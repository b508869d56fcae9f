"""`make bench-processor`: one recorded load through the processor and through other frameworks.

Each row tells the CPU time from the first sample on, without the start. The rivals do a part of what the processor does
(stutter by room and ten seconds, into nothing); they are installed into a folder that is thrown away.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click
import msgspec
import psutil
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from schemas.topics import QUALITY, TOUCHED
from services.runtime.clock import now_ms
from services.runtime.topics import ensure_topics
from tests.bench.load import records, rounds, singles
from tests.support.clickhouse import ClickHouseServer, free_port
from tests.support.kafka import KafkaBroker
from tests.support.lag import group_lag
from tests.support.stack import Stack

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).parents[2]
RIVALS = Path(__file__).parent / "rivals"
SINGLE = "bench-single"
PARTITIONS = 8
RIVALS_AT_MOST_S = 600
FIRST = ("processor", "bare")
FRAMEWORKS = {
    "faust": ("plain_faust.py", None),
    "quix": ("quix.py", "quixstreams"),
    "bytewax": ("bytewax_flow.py", "bytewax[kafka]"),
}


class Used(NamedTuple):
    """What one row used for so many samples."""

    samples: int
    cpu_s: float
    wall_s: float
    peak_mb: float


class Servers(NamedTuple):
    """The processes that a load goes through."""

    processor: psutil.Process
    clickhouse: psutil.Process
    kafka: psutil.Process

    def cpu_s(self) -> tuple[float, ...]:
        """CPU seconds so far of each."""
        times = [process.cpu_times() for process in self]
        return tuple(time.user + time.system for time in times)


async def produce(bootstrap: str, rooms: int, users: int, samples: int, single: int) -> tuple[int, int, list[bytes]]:
    """Record the load: samples and those one a record in Kafka, and the values of as many for the bare loop."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(SINGLE, PARTITIONS, 1)])
    await admin.close()
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, max_request_size=4 << 20, linger_ms=5)
    await producer.start()
    values: list[bytes] = []
    poured = size = alone = alone_size = kept = 0
    partitions = len(await producer.partitions_for(QUALITY.name))
    first_ms = (now_ms() - 10_000 * (1 + samples // (rooms * users * 5))) // 10_000 * 10_000
    for reports in rounds(rooms, users, samples, first_ms):
        for partition, value, count in records(reports, partitions):
            await producer.send(QUALITY.name, value, partition=partition)
            poured, size = poured + count, size + len(value)
            if kept < single:
                values.append(value)
                kept += count
        if alone < single:
            for place, key, value, at in singles(reports, PARTITIONS):
                await producer.send(SINGLE, value, key=key, partition=place, timestamp_ms=at)
                alone, alone_size = alone + 1, alone_size + len(value)
    await producer.stop()
    click.echo(
        f"{poured:,} samples in {rooms} rooms of {users}, {size / poured:.0f} bytes each in batches; "
        f"{alone:,} of them also one a record, {alone_size / max(1, alone):.0f} bytes each"
    )
    return poured, alone, values


async def run_processor(stack: Stack, clickhouse: ClickHouseServer, poured: int, seconds: float) -> Used:
    """The processor until all is committed or the time is over; what is left then is not counted."""
    bootstrap = stack.settings.kafka_bootstrap
    whole = (await group_lag(bootstrap, "processor", [QUALITY.name]))[QUALITY.name]
    await asyncio.to_thread(stack.start, "processor")
    own, store = stack.services["processor"].process, clickhouse.process
    assert own is not None
    assert store is not None
    servers = Servers(psutil.Process(own.pid), psutil.Process(store.pid), _broker(stack.kafka))
    while (first := (await group_lag(bootstrap, "processor", [QUALITY.name]))[QUALITY.name]) >= whole:
        await asyncio.sleep(0.1)
    before, began, peak = servers.cpu_s(), time.perf_counter(), 0
    left = {QUALITY.name: first}
    while any(left.values()) and time.perf_counter() - began < seconds:
        await asyncio.sleep(0.3)
        left = await group_lag(bootstrap, "processor", [QUALITY.name, TOUCHED.name])
        peak = max(peak, servers.processor.memory_info().rss)
    wall = time.perf_counter() - began
    used = [after - then for after, then in zip(servers.cpu_s(), before, strict=True)]
    samples = round(poured * (first - left[QUALITY.name]) / whole)
    click.echo(
        f"processor: {samples:,} samples in {wall:.1f} s; CPU s: processor {used[0]:.2f}, ClickHouse {used[1]:.2f}, "
        f"Kafka {used[2]:.2f}; samples per CPU second {samples / used[0]:,.0f}, with ClickHouse "
        f"{samples / (used[0] + used[1]):,.0f}"
    )
    stack.services["processor"].stop()
    return Used(samples, used[0], wall, peak / 2**20)


def _broker(kafka: KafkaBroker) -> psutil.Process:
    """The broker itself, which may be the child of what started it."""
    assert kafka.process is not None
    process = psutil.Process(kafka.process.pid)
    return [process, *process.children(recursive=True)][-1]


def run_rival(python: str, script: str, *arguments: str) -> Used | str:
    """What a script used, or why it did not work."""
    try:
        done = subprocess.run(
            [python, str(RIVALS / script), *arguments],
            capture_output=True,
            text=True,
            timeout=RIVALS_AT_MOST_S,
            check=False,
            cwd=tempfile.gettempdir(),
        )
    except subprocess.TimeoutExpired:
        return f"not done in {RIVALS_AT_MOST_S} s"
    for line in done.stdout.splitlines():
        if line.startswith('{"samples"'):
            return Used(**msgspec.json.decode(line))
    return (done.stderr.strip().splitlines() or [f"ended with {done.returncode}"])[-1][:90]


def install(folder: Path, package: str | None) -> str:
    """An interpreter that has the package. Raises `CalledProcessError` where it cannot be had."""
    if package is None:
        return sys.executable
    uv = str(Path(sys.executable).with_name("uv"))
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(folder)], check=True)
    python = str(folder / "bin" / "python")
    subprocess.run([uv, "pip", "install", "--quiet", "--python", python, "msgspec", package], check=True)
    return python


def table(rows: dict[str, Used | str]) -> None:
    """Print the rows, each with our ratio to it."""
    ours = rows.get("processor")
    click.echo(f"\n{'':<10}{'samples/s':>12}{'CPU s/100,000':>16}{'peak MB':>10}{'we are':>10}")
    for name, used in rows.items():
        if isinstance(used, str):
            click.echo(f"{name:<10}  {used}")
            continue
        each = used.cpu_s / used.samples
        ratio = f"{each / (ours.cpu_s / ours.samples):.1f} x" if isinstance(ours, Used) else ""
        click.echo(f"{name:<10}{used.samples / used.wall_s:>12,.0f}{each * 1e5:>16.3f}{used.peak_mb:>10.0f}{ratio:>10}")


async def measure(rows: Sequence[str], rooms: int, users: int, samples: int, single: int, seconds: float) -> None:
    """Run the rows one after another."""
    results: dict[str, Used | str] = {}
    with contextlib.ExitStack() as exits:
        folder = Path(exits.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
        kafka = exits.enter_context(KafkaBroker(folder / "kafka", free_port()))
        clickhouse = exits.enter_context(ClickHouseServer(folder / "clickhouse"))
        stack = exits.enter_context(Stack(folder / "data", kafka=kafka, clickhouse=clickhouse))
        await ensure_topics(stack.settings)
        poured, alone, values = await produce(kafka.bootstrap, rooms, users, samples, single)
        if "processor" in rows:
            results["processor"] = await run_processor(stack, clickhouse, poured, seconds)
        if "bare" in rows:
            (folder / "batches").write_bytes(b"\n".join(values))
            bare = ["-m", "tests.bench.rivals.bare", str(folder / "batches")]
            done = subprocess.run(  # noqa: ASYNC221
                [sys.executable, *bare], capture_output=True, check=True, cwd=ROOT
            )
            results["bare"] = Used(**msgspec.json.decode(done.stdout))
        for name, (script, package) in FRAMEWORKS.items():
            if name in rows:
                try:
                    python = install(folder / name, package)
                except subprocess.CalledProcessError:
                    results[name] = "cannot be installed here"
                    continue
                place = (kafka.bootstrap, SINGLE, str(PARTITIONS), str(alone))
                results[name] = await asyncio.to_thread(run_rival, python, script, *place)
    table(results)


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
