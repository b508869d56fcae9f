"""Kafka, ClickHouse and processors that a load goes through, and the CPU time that they use for it.

Counted from a turn of the processor's on until Kafka knows that all is done, so that neither its start nor an idle end
is in the figures.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import psutil
from aiokafka import AIOKafkaProducer

from schemas.topics import QUALITY, TOUCHED
from services.runtime.clock import now_ms
from services.runtime.topics import ensure_topics
from tests.bench.load import SAMPLES_A_REPORT, records, rounds
from tests.bench.measuring import cpu_s, tree
from tests.support.clickhouse import ClickHouseServer, free_port
from tests.support.kafka import KafkaBroker
from tests.support.lag import group_lag
from tests.support.stack import ServiceProcess, Stack, settings_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator

    from schemas.reports import AcceptedReport

GROUP = "processor"
SEEN = "roompulse_processor_samples_total"
REPORTS_TOGETHER = 4_000
"""Reports that records are made of, of several rounds where one has fewer, so that records of few rooms are as full."""
_LOOK_EVERY_S = 0.1
_STORE_SECONDS = re.compile(r'roompulse_processor_store_seconds_(sum|count)\{statement="(.+)"\} (.+)')


class Cpu(NamedTuple):
    """CPU seconds."""

    processor: float
    clickhouse: float
    kafka: float

    def since(self, before: Cpu) -> Cpu:
        """What was used since then."""
        return Cpu(*(now - then for now, then in zip(self, before, strict=True)))


class Used(NamedTuple):
    """What processors used for so many samples."""

    samples: int
    cpu: Cpu
    wall_s: float
    peak_mb: float
    """Of the largest processor."""
    shares: tuple[float, ...]
    """Of the samples, by processor."""
    drained: bool
    """Whether all was done within the time."""

    @property
    def processor_us(self) -> float:
        """Microseconds of the processor's CPU time for one sample."""
        return self.cpu.processor / self.samples * 1e6

    @property
    def both_us(self) -> float:
        """The same with ClickHouse's."""
        return (self.cpu.processor + self.cpu.clickhouse) / self.samples * 1e6

    def __str__(self) -> str:
        end = "" if self.drained else " (time was over)"
        return (
            f"{self.samples:,} samples in {self.wall_s:.1f} s{end}; CPU s: processor {self.cpu.processor:.2f}, "
            f"ClickHouse {self.cpu.clickhouse:.2f}, Kafka {self.cpu.kafka:.2f}; samples per CPU second "
            f"{1e6 / self.processor_us:,.0f}, with ClickHouse {1e6 / self.both_us:,.0f}"
        )


class Statement(NamedTuple):
    """What processors ask of ClickHouse, and how long they have waited for it in all."""

    name: str
    times: int
    seconds: float


class Poured(NamedTuple):
    """A load that is in Kafka."""

    samples: int
    bytes: int
    until_ms: int
    """End of its last samples."""


class Pipeline:
    """An empty stack whose processors are started and measured by those who want it."""

    def __init__(self, folder: Path, kafka: KafkaBroker, clickhouse: ClickHouseServer) -> None:
        self.kafka = kafka
        self.clickhouse = clickhouse
        self.stack = Stack(folder / "data", kafka=kafka, clickhouse=clickhouse)
        self.workers: list[ServiceProcess] = []

    @property
    def bootstrap(self) -> str:
        """Where Kafka is."""
        return self.kafka.bootstrap

    async def pour(self, rooms: int, users: int, samples: int, first_ms: int) -> Poured:
        """Put a load that begins at this time into topic `quality`."""
        poured = size = until_ms = 0
        async with producing(self.bootstrap) as producer:
            partitions = len(await producer.partitions_for(QUALITY.name))
            for reports in together(rounds(rooms, users, samples, first_ms)):
                for partition, value, count in records(reports, partitions):
                    await producer.send(QUALITY.name, value, partition=partition)
                    poured, size = poured + count, size + len(value)
                until_ms = reports[-1].sent_ms
        return Poured(poured, size, until_ms)

    async def start(self, count: int = 1) -> None:
        """Start so many processors of one group at once, and wait until they are ready."""
        environment = self.stack.environment
        for _ in range(count):
            own = environment | {"ROOMPULSE_PROCESSOR_PORT": str(free_port())}
            self.workers.append(ServiceProcess("processor", settings_of(own), own))
        for worker in self.workers:
            worker.launch()
        for worker in self.workers:
            await asyncio.to_thread(worker.wait_ready)

    async def stop(self) -> None:
        """Stop the processors."""
        workers, self.workers = self.workers, []
        for worker in workers:
            await asyncio.to_thread(worker.stop)

    def cpu(self) -> Cpu:
        """CPU seconds so far."""
        return Cpu(
            cpu_s(*(psutil.Process(pid) for pid in self._pids())),
            cpu_s(psutil.Process(self.clickhouse.process.pid)) if self.clickhouse.process else 0.0,
            cpu_s(_broker(self.kafka)),
        )

    def memory_mb(self) -> float:
        """Resident memory of the largest processor."""
        return max(float(psutil.Process(pid).memory_info().rss) for pid in self._pids()) / 2**20

    async def seen(self) -> list[int]:
        """Samples that each processor has done in its life."""
        return [await asyncio.to_thread(_metric, worker.url, SEEN) for worker in self.workers]

    async def statements(self) -> list[Statement]:
        """What the first processor has waited for, the longest first."""
        return await asyncio.to_thread(_statements, self.workers[0].url)

    async def left(self) -> int:
        """Records that processors have not done."""
        return sum((await group_lag(self.bootstrap, GROUP, [QUALITY.name, TOUCHED.name])).values())

    async def run(self, *, workers: int = 1, warm_up: int = 1, seconds: float = 60.0) -> Used:
        """Let processors work off what is in Kafka; the first `warm_up` samples and the start are not counted."""
        await self.start(workers)
        while sum(first := await self.seen()) < warm_up or not all(first):
            assert await self.left(), "all was done before each processor had begun: the load is too small"
            await asyncio.sleep(_LOOK_EVERY_S)
        before, began, peak = self.cpu(), time.perf_counter(), 0.0
        drained = False
        while not drained and time.perf_counter() - began < seconds:
            await asyncio.sleep(0.3)
            drained = await self.left() == 0
            peak = max(peak, self.memory_mb())
        wall_s, used, last = time.perf_counter() - began, self.cpu().since(before), await self.seen()
        done = [now - then for now, then in zip(last, first, strict=True)]
        await self.stop()
        return Used(sum(done), used, wall_s, peak, tuple(each / max(1, sum(done)) for each in done), drained)

    def _pids(self) -> list[int]:
        return [worker.process.pid for worker in self.workers if worker.process]


@contextlib.asynccontextmanager
async def pipeline() -> AsyncIterator[Pipeline]:
    """An empty one in a folder that is thrown away."""
    with contextlib.ExitStack() as exits:
        folder = Path(exits.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
        kafka = exits.enter_context(KafkaBroker(folder / "kafka", free_port()))
        clickhouse = exits.enter_context(ClickHouseServer(folder / "clickhouse"))
        made = Pipeline(folder, kafka, clickhouse)
        await ensure_topics(made.stack.settings)
        try:
            yield made
        finally:
            await made.stop()


@contextlib.asynccontextmanager
async def producing(bootstrap: str, linger_ms: int = 5) -> AsyncIterator[AIOKafkaProducer]:
    """A producer for records as large as ingest makes them; with the end of the block Kafka has all of them."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, max_request_size=4 << 20, linger_ms=linger_ms)
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


def together(rounds_: Iterable[list[AcceptedReport]]) -> Iterator[list[AcceptedReport]]:
    """Small rounds joined, so that records are as full for few rooms as for many."""
    joined: list[AcceptedReport] = []
    for reports in rounds_:
        joined += reports
        if len(joined) >= REPORTS_TOGETHER:
            yield joined
            joined = []
    if joined:
        yield joined


def first_ms_of(rooms: int, users: int, samples: int) -> int:
    """When a load begins that has just ended."""
    return (now_ms() - 10_000 * (1 + samples // (rooms * users * SAMPLES_A_REPORT))) // 10_000 * 10_000


def _broker(kafka: KafkaBroker) -> psutil.Process:
    """The broker itself, which may be the child of what started it."""
    assert kafka.process is not None
    return tree(kafka.process.pid)[-1]


def _metrics(url: str) -> list[str]:
    with urllib.request.urlopen(f"{url}/metrics", timeout=30) as response:
        lines: list[str] = response.read().decode().splitlines()
    return lines


def _metric(url: str, name: str) -> int:
    return round(float(next(line.split()[1] for line in _metrics(url) if line.startswith(f"{name} "))))


def _statements(url: str) -> list[Statement]:
    sums: dict[str, dict[str, float]] = {"sum": {}, "count": {}}
    for line in _metrics(url):
        if found := _STORE_SECONDS.match(line):
            kind, name, value = found.groups()
            sums[kind][name] = float(value)
    statements = [Statement(name, round(times), sums["sum"][name]) for name, times in sums["count"].items()]
    return sorted(statements, key=lambda statement: -statement.seconds)
