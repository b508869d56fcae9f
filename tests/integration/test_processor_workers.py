"""Two processors share drawn traffic, are killed and stopped in turn, ClickHouse goes away: the rows are the oracle's.

`ORACLE_PROCESSES=100` draws more.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import AsyncExitStack
from random import Random
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from aiokafka import AIOKafkaProducer

from schemas.reports import ReportBatch
from schemas.topics import QUALITY, TOUCHED
from services.processor.store import Store
from tests.integration.dispatching import environment_of
from tests.oracle.check import compare
from tests.oracle.drawn import draw
from tests.support.clickhouse import free_port
from tests.support.lag import drained
from tests.support.processing import accepted
from tests.support.stack import ServiceProcess

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from services.runtime.settings import Settings
    from tests.support.clickhouse import ClickHouseServer

SCENARIOS = int(os.environ.get("ORACLE_PROCESSES", "10"))
FIRST_SEED, FIRST_APP = 7_001, 1_700_000_001
STEPS = 12
Reports = list[dict[str, Any]]
AWAY_S = 6.0


@pytest.fixture
async def workers(settings: Settings) -> AsyncIterator[list[ServiceProcess]]:
    """Two processors, ready."""
    both = [settings.model_copy(update={"processor_port": free_port()}) for _ in range(2)]
    async with AsyncExitStack() as stack:
        found = []
        for one in both:
            worker = ServiceProcess("processor", one, environment_of(one))
            worker.launch()
            stack.push_async_callback(asyncio.to_thread, worker.stop)
            found.append(worker)
        for worker in found:
            await asyncio.to_thread(worker.wait_ready)
        yield found


@pytest.mark.timeout(0)
async def test_killed_and_rebalanced_workers_make_the_same_rows(
    settings: Settings, clickhouse: ClickHouseServer, workers: list[ServiceProcess]
) -> None:
    drawn = {FIRST_APP + number: draw(FIRST_SEED + number, FIRST_APP + number) for number in range(SCENARIOS)}
    placed: list[tuple[int, int, Reports]] = []
    for number, scenario in enumerate(drawn.values()):
        # Each scenario in its order, all of them at the same time.
        places = sorted(Random(number).sample(range(1_000_000), len(scenario.records)))
        for place, (partition, reports) in zip(places, scenario.records, strict=True):
            placed.append((place, (number * 2 + partition) % settings.kafka_partitions, reports))
    coming = [(partition, reports) for _, partition, reports in sorted(placed, key=lambda entry: entry[0])]
    first, second = workers
    what_happens = {
        2: lambda: first.kill9(),
        3: lambda: first.launch(),
        5: lambda: second.stop(),
        6: lambda: second.launch(),
        8: lambda: clickhouse.kill9(),
        10: lambda: first.kill9(),
        11: lambda: first.launch(),
    }
    producer = AIOKafkaProducer(bootstrap_servers=settings.kafka_bootstrap)
    await producer.start()
    try:
        for step in range(STEPS):
            for partition, reports in _part(coming, step):
                batch = ReportBatch([accepted(report) for report in reports])
                await producer.send_and_wait(QUALITY.name, msgspec.json.encode(batch), partition=partition)
            if step in what_happens:
                await asyncio.to_thread(what_happens[step])
            if step == 8:
                await asyncio.sleep(AWAY_S)
                await asyncio.to_thread(clickhouse.start)
            await asyncio.sleep(1)
    finally:
        await producer.stop()
    for worker in workers:
        await asyncio.to_thread(worker.wait_ready)
    await drained(settings.kafka_bootstrap, "processor", [QUALITY.name, TOUCHED.name], within_s=120)
    store = Store(settings)
    try:
        await compare(store, drawn)
    finally:
        await store.close()


def _part(coming: list[tuple[int, Reports]], step: int) -> list[tuple[int, Reports]]:
    size = -(-len(coming) // STEPS)
    return coming[step * size : (step + 1) * size]
