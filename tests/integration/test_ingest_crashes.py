from __future__ import annotations

import asyncio
import os
import signal
import time
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from schemas.callbacks import sign
from schemas.topics import QUALITY
from services.ingest.items import Record
from services.ingest.outlet import Outlet
from services.runtime.clock import now_ms
from tests.integration.ingesting import World, encoded, event, report, sample, world_on
from tests.support.clickhouse import free_port
from tests.support.kafka import KafkaBroker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from schemas.applications import Application

SENDERS = 16
EMPTY = Record(QUALITY.name, b'{"Reports":[]}', partition=0)


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaBroker]:
    """A broker that tests may kill."""
    with KafkaBroker(tmp_path_factory.mktemp("kafka"), free_port()) as broker:
        yield broker


@pytest.fixture(scope="module")
async def world(broker: KafkaBroker, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    limits = {"ROOMPULSE_INGEST_ACK_TIMEOUT_S": "1", "ROOMPULSE_INGEST_WAITING_BYTES": str(1 << 20)}
    async with world_on(broker, tmp_path_factory.mktemp("ingest"), **limits) as world:
        yield world


class Load:
    """Senders that repeat each request, byte for byte, until it is acknowledged, as the contract asks of them."""

    def __init__(self, world: World, application: Application) -> None:
        self._url = world.ingest.url
        self._application = application
        self._world = world
        self._ending = False
        self.events: set[str] = set()
        """Ids of events that were acknowledged."""
        self.reports: set[tuple[str, int]] = set()
        """Users and numbers of reports that were."""
        self.statuses: dict[int, int] = {}
        self.outstanding = 0

    async def run(self) -> None:
        """Send until `end`."""
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http, asyncio.TaskGroup() as group:
            for number in range(SENDERS):
                group.create_task(self._send_events(http) if number % 2 else self._send_reports(http, number))

    def end(self) -> None:
        """Let each sender finish what it is at."""
        self._ending = True

    async def _send_events(self, http: aiohttp.ClientSession) -> None:
        while not self._ending:
            numbers = [self._world.number() for _ in range(3)]
            body = encoded([event(number, room=f"room {number % 5}") for number in numbers])
            headers = {"SdkAppId": str(self._application.sdk_app_id), "Sign": sign(self._application.secret_key, body)}
            if await self._until_acknowledged(http, "/v1/events", body, headers):
                self.events |= {f"event-{number}" for number in numbers}

    async def _send_reports(self, http: aiohttp.ClientSession, sender: int) -> None:
        seq = 0
        while not self._ending:
            seq += 1
            body = encoded(report(self._application, user=f"user_{sender}", seq=seq))
            if await self._until_acknowledged(http, "/v1/reports", body, {}):
                self.reports.add((f"user_{sender}", seq))

    async def _until_acknowledged(
        self, http: aiohttp.ClientSession, path: str, body: bytes, headers: dict[str, str]
    ) -> bool:
        while True:
            self.outstanding += 1
            try:
                async with http.post(self._url + path, data=body, headers=headers) as response:
                    status = response.status
                    if status != 200:
                        assert response.headers["Retry-After"]
            except aiohttp.ClientConnectionError:
                status = 0
            finally:
                self.outstanding -= 1
            self.statuses[status] = self.statuses.get(status, 0) + 1
            if status == 200:
                return True
            if self._ending:
                return False
            await asyncio.sleep(0.2)


async def test_kafka_is_killed_under_load_and_nothing_acknowledged_is_lost(world: World, broker: KafkaBroker) -> None:
    application = await world.application()
    await asyncio.sleep(0.5)
    assert world.ingest.process is not None
    pid = world.ingest.process.pid
    load = Load(world, application)
    running = asyncio.create_task(load.run())
    await acknowledged_more(load, 100)
    while not load.outstanding:
        await asyncio.sleep(0)
    await asyncio.to_thread(broker.kill9)
    await asyncio.sleep(1.5)
    assert not world.ingest.ready()
    await asyncio.to_thread(broker.start)
    await acknowledged_more(load, 100)
    load.end()
    await running
    assert world.ingest.ready()
    assert world.ingest.process.pid == pid
    assert world.ingest.process.poll() is None
    assert set(load.statuses) == {200, 503}
    assert load.events <= {e.event_id for e in await world.events()}
    assert load.reports <= {(r.user_id, r.seq) for r in await world.reports()}


async def test_ingest_is_killed_under_load_and_nothing_acknowledged_is_lost(world: World, broker: KafkaBroker) -> None:
    application = await world.application()
    await asyncio.sleep(0.5)
    load = Load(world, application)
    running = asyncio.create_task(load.run())
    await acknowledged_more(load, 100)
    assert broker.process is not None
    os.killpg(broker.process.pid, signal.SIGSTOP)  # from here on nothing reaches Kafka, so nothing is acknowledged
    try:
        await asyncio.sleep(0.3)
        before = len(load.events), len(load.reports)
        await asyncio.sleep(0.5)
        assert (len(load.events), len(load.reports)) == before
        assert load.outstanding
        world.ingest.kill9()
    finally:
        os.killpg(broker.process.pid, signal.SIGCONT)
    world.ingest.launch()
    await asyncio.to_thread(world.ingest.wait_ready)
    await acknowledged_more(load, 100)
    load.end()
    await running
    assert {0, 200} <= set(load.statuses) <= {0, 200, 503}
    assert load.events <= {e.event_id for e in await world.events()}
    assert load.reports <= {(r.user_id, r.seq) for r in await world.reports()}


async def test_kafka_hangs_and_what_waits_stays_bounded(world: World, broker: KafkaBroker) -> None:
    application = await world.application()
    await asyncio.sleep(0.5)
    now = now_ms()
    peers = [{"UserId": f"peer_{n}", "Type": "big", "Bitrate": 500_000, "Width": 1280} for n in range(150)]
    posted = report(application, Samples=[sample(now - 2000 * n, Remote=peers) for n in range(1, 6)])
    body = encoded(posted)
    assert 40_000 < len(body) < 80_000
    assert broker.process is not None
    os.killpg(broker.process.pid, signal.SIGSTOP)
    try:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
            answers = await asyncio.gather(*(post(http, world, body) for _ in range(60)))
            assert {status for status, _, _ in answers} == {503}
            reasons = [answer["Error"]["Reason"] for _, answer, _ in answers]
            beyond = [reason for reason in reasons if "ingest_waiting_bytes" in reason]
            assert 30 < len(beyond) < 60
            assert max(seconds for _, _, seconds in answers) < 3
            held = await waiting_bytes(http, world)
            assert 0 < held <= 1 << 20
            status, _, _ = await post(http, world, body)
            assert status == 503
    finally:
        os.killpg(broker.process.pid, signal.SIGCONT)
    async with aiohttp.ClientSession() as http:
        deadline = time.monotonic() + 30
        while (await post(http, world, body))[0] != 200 or await waiting_bytes(http, world):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.2)


async def test_a_producer_with_a_hole_in_its_sequence_is_made_anew(world: World) -> None:
    outlet = Outlet(world.settings)
    outlet.start()
    try:
        await until_ready(outlet)
        await outlet.send([EMPTY])
        producer = outlet._producer
        assert producer is not None
        producer._txn_manager._sequence_numbers[TopicPartition(EMPTY.topic, 0)] += 7
        with pytest.raises(KafkaError):
            await outlet.send([EMPTY])
        await until_ready(outlet)
        await outlet.send([EMPTY])
        assert outlet._producer is not producer
    finally:
        await outlet.stop()


async def test_sigterm_while_kafka_is_away(world: World, broker: KafkaBroker) -> None:
    application = await world.application()
    await asyncio.sleep(0.5)
    await asyncio.to_thread(broker.kill9)  # this test is the last one
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        waiting = [asyncio.create_task(post(http, world, encoded(report(application)))) for _ in range(20)]
        await asyncio.sleep(0.2)
        began = time.monotonic()
        assert await asyncio.to_thread(world.ingest.stop) == 0
        assert time.monotonic() - began < 3
        assert {status for status, _, _ in await asyncio.gather(*waiting)} == {503}


async def until_ready(outlet: Outlet) -> None:
    deadline = time.monotonic() + 10
    while not outlet.ready:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


async def acknowledged_more(load: Load, count: int) -> None:
    """Return when so many further events and reports have been acknowledged."""
    events, reports, deadline = len(load.events) + count, len(load.reports) + count, time.monotonic() + 60
    while len(load.events) < events or len(load.reports) < reports:
        assert time.monotonic() < deadline, load.statuses
        await asyncio.sleep(0.02)


async def post(http: aiohttp.ClientSession, world: World, body: bytes) -> tuple[int, Any, float]:
    """Status, answer and seconds of a report."""
    began = time.monotonic()
    async with http.post(world.ingest.url + "/v1/reports", data=body) as response:
        return response.status, await response.json(), time.monotonic() - began


async def waiting_bytes(http: aiohttp.ClientSession, world: World) -> float:
    """What ingest says waits for Kafka."""
    async with http.get(world.ingest.url + "/metrics") as response:
        lines = (await response.text()).splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("roompulse_ingest_waiting_bytes "))
