"""One run: `roompulse up`, a stream of traffic, kills in the middle of it, and the tables that are left."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Self

from aiokafka import AIOKafkaConsumer, TopicPartition

from schemas.topics import EVENTS, RETRIES
from services.console.store import ApplicationStore
from tests.chaos import tables
from tests.chaos.customer import Customer
from tests.chaos.kills import PROCESSED, Killer
from tests.chaos.stream import Stream
from tests.support.clickhouse import ClickHouseServer
from tests.support.lag import group_lag
from tests.support.stack import Up

if TYPE_CHECKING:
    from pathlib import Path

    from services.runtime.settings import Settings
    from services.simulator.traffic.scenario import Scenario
    from tests.chaos.kills import Kill, Plan

SDK_APP_ID = 1400000007
DRAINED_WITHIN_S = 300.0


@dataclass
class Outcome:
    """What a run came to."""

    samples: int
    rows: dict[str, int]
    """Rows by table."""
    acknowledged: set[str]
    """Ids of the events that ingest acknowledged with 200."""
    delivered: set[str]
    """Ids of the events that table `deliveries` has as delivered."""
    acknowledged_contents: set[str]
    """What the acknowledged events say; the content stands for it."""
    delivered_contents: set[str]
    """What the callbacks said that the customer answered with 200."""
    callbacks: int
    """Callbacks that the customer answered with 200, repeated ones included."""
    unverified: int
    """Callbacks whose `Sign` was wrong."""
    retries: int
    """Requests that ingest did not answer, or answered with 503, and that were sent again."""
    kills: list[Kill]
    seconds: dict[str, float]

    @property
    def repeated(self) -> int:
        """Callbacks beyond one for each event."""
        return self.callbacks - len(self.acknowledged)

    @property
    def broken_promises(self) -> list[str]:
        """Events that were acknowledged or delivered, but not both; callbacks that cannot be verified."""
        found = []
        for what, acknowledged, delivered in (
            ("events", self.acknowledged, self.delivered),
            ("contents of events", self.acknowledged_contents, self.delivered_contents),
        ):
            if lost := acknowledged - delivered:
                found.append(f"{len(lost)} {what} acknowledged and never delivered: {sorted(lost)[:5]}")
            if invented := delivered - acknowledged:
                found.append(f"{len(invented)} {what} delivered and never acknowledged: {sorted(invented)[:5]}")
        if self.unverified:
            found.append(f"{self.unverified} callbacks with a wrong signature")
        return found


class Run:
    """An installation of its own with one application. As a context manager it is started, and stopped at the end."""

    def __init__(self, data: Path, scenario: Scenario, *, seed: int = 0, at_work_s: float = 0.0) -> None:
        """`seed` decides how long after each point of the plan the kill comes.

        Who has come back is left at work for a time of up to `at_work_s` before the next kill.
        """
        self._scenario = scenario
        self._random = Random(seed)
        self._at_work_s = at_work_s
        self._up = Up(data)
        self._settings = self._up.settings
        self._customer = Customer()
        self.query = ClickHouseServer(data, self._settings.clickhouse_port).query

    async def __aenter__(self) -> Self:
        await self._customer.__aenter__()
        store = ApplicationStore(self._settings)
        store.create("chaos", sdk_app_id=SDK_APP_ID)
        url = self._customer.url
        self._application = store.set_callback(
            SDK_APP_ID, key="Chaos0Key", room_url=url, media_url=url, recording_url=url, relay_url=url
        )
        store.close()
        self._customer.application = self._application
        await asyncio.to_thread(self._up.start)
        return self

    async def __aexit__(self, *error: object) -> None:
        try:
            await asyncio.to_thread(self._up.stop)
        finally:
            await self._customer.__aexit__(*error)

    async def outcome(self, folder: Path, plan: Plan = ()) -> Outcome:
        """Send everything, kill by plan, wait until nothing is left to do, write the tables into a folder."""
        times = [time.monotonic()]
        settings = self._settings
        stream = Stream(f"http://{settings.host}:{settings.ingest_port}", self._application, self._scenario)
        async with asyncio.TaskGroup() as group:
            sending = group.create_task(stream.run())
            kills = await self._kill_by(plan, stream)
            await sending
        times.append(time.monotonic())
        await self._drained()
        times.append(time.monotonic())
        rows = await asyncio.to_thread(tables.export, self.query, settings.clickhouse_database, folder)
        delivered = await asyncio.to_thread(
            self.query,
            f"SELECT DISTINCT EventId FROM {settings.clickhouse_database}.deliveries WHERE Outcome = 'delivered'",
        )
        return Outcome(
            samples=stream.samples,
            rows=rows,
            acknowledged=stream.event_ids,
            delivered=set(delivered.split()),
            acknowledged_contents=stream.contents,
            delivered_contents=set(self._customer.delivered),
            callbacks=self._customer.delivered.total(),
            unverified=self._customer.unverified,
            retries=stream.retries,
            kills=kills,
            seconds={"sending": times[1] - times[0], "draining": times[2] - times[1]},
        )

    async def _kill_by(self, plan: Plan, stream: Stream) -> list[Kill]:
        killer = Killer(self._up, stream, self._customer, self._random)
        kills = []
        for number, (at, victim) in enumerate(plan, 1):
            await stream.reached(at)
            kill = await killer.kill(victim)
            # Traffic goes on while the victim is away, but not beyond the next kill, or nothing would be left for it.
            await stream.hold_at(plan[number][0] if number < len(plan) else None)
            await killer.revive(kill)
            kills.append(kill)
            await asyncio.sleep(self._random.random() * self._at_work_s)
        return kills

    async def _drained(self) -> None:
        """Return when nothing is left to do: no lag, nothing in the retry lane, and the tables stay as they are."""
        before = ""
        calm = 0
        deadline = time.monotonic() + DRAINED_WITHIN_S
        while calm < 3:
            left = await self._left()
            assert time.monotonic() < deadline, f"not drained within {DRAINED_WITHIN_S} s: {left}"
            now = await asyncio.to_thread(tables.inserted, self.query)
            calm = calm + 1 if not any(left.values()) and now == before else 0
            before = now
            await asyncio.sleep(0.5)

    async def _left(self) -> dict[str, int]:
        bootstrap = self._settings.kafka_bootstrap
        processor = await group_lag(bootstrap, "processor", PROCESSED)
        dispatcher = await group_lag(bootstrap, "dispatcher", [EVENTS.name])
        return {**processor, "callbacks": dispatcher[EVENTS.name], "waiting": len(await _waiting(self._settings))}


async def _waiting(settings: Settings) -> set[bytes | None]:
    """The callbacks in the retry lane."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=settings.kafka_bootstrap, enable_auto_commit=False, auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        partitions = [TopicPartition(RETRIES.name, number) for number in range(settings.kafka_partitions)]
        consumer.assign(partitions)
        await consumer.seek_to_beginning(*partitions)
        ends = await consumer.end_offsets(partitions)
        waiting: set[bytes | None] = set()
        while any([await consumer.position(partition) < end for partition, end in ends.items()]):
            for records in (await consumer.getmany(timeout_ms=100)).values():
                for record in records:
                    if record.value is None:
                        waiting.discard(record.key)
                    else:
                        waiting.add(record.key)
        return waiting
    finally:
        await consumer.stop()
