"""One run: `roompulse up`, a stream of traffic, kills in the middle of it, and the tables that are left."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import asdict, dataclass
from random import Random
from typing import TYPE_CHECKING, Literal, Self

import psutil
import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition

from schemas.topics import DELIVERIES, EVENTS, QUALITY, RETRIES, TASKS, TOUCHED
from services.console.store import ApplicationStore
from services.embedded.kafka import wait_ready
from tests.chaos import tables
from tests.chaos.customer import Customer
from tests.chaos.stream import Stream
from tests.support.clickhouse import ClickHouseServer
from tests.support.lag import group_lag
from tests.support.stack import Up

if TYPE_CHECKING:
    from pathlib import Path

    from services.runtime.settings import Settings
    from services.simulator.traffic.scenario import Scenario

log = structlog.get_logger(__name__)

Victim = Literal["ingest", "processor", "dispatcher", "clickhouse", "kafka", "everything"]
Plan = tuple[tuple[int, Victim], ...]
"""Who is killed, and after how many samples."""
SDK_APP_ID = 1400000007
PROCESSED = [topic.name for topic in (QUALITY, EVENTS, TASKS, DELIVERIES, TOUCHED)]
TRIES = 30
FLOW = 2_000
"""Samples that are sent for each try to find the middle of the work."""
BACK_WITHIN_S = 120.0
DRAINED_WITHIN_S = 300.0


@dataclass
class Kill:
    """What was outstanding at a kill, counted while those who work on it stood still."""

    victim: Victim
    samples: int
    """Samples sent so far."""
    requests: int
    """Requests on their way to ingest and not answered."""
    callbacks: int
    """Callbacks on their way to the customer and not answered."""
    processor: dict[str, int]
    """By topic, records that the processor had not committed."""
    dispatcher: int
    """Events that the dispatcher had not committed."""
    back_s: float = 0.0
    """Seconds until all that had to was ready again."""

    @property
    def in_the_middle(self) -> bool:
        """Whether requests and offsets were outstanding, above all those that the victim works on."""
        callbacks = bool(self.callbacks and self.dispatcher)
        samples = bool(self.processor[QUALITY.name])
        match self.victim:
            case "ingest" | "kafka":
                chosen = any(self.processor.values())
            case "processor" | "clickhouse":
                chosen = samples
            case "dispatcher":
                chosen = callbacks
            case "everything":
                chosen = callbacks and samples
        return self.requests > 0 and chosen


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

    def __init__(self, data: Path, scenario: Scenario, *, seed: int = 0) -> None:
        """`seed` decides how long after each point of the plan the kill comes."""
        self._scenario = scenario
        self._random = Random(seed)
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
        kills = []
        for number, (at, victim) in enumerate(plan, 1):
            await stream.reached(at)
            kill = await self._kill_in_the_middle(victim, stream)
            # Traffic goes on while the victim is away, but not beyond the next kill, or nothing would be left for it.
            await stream.hold_at(plan[number][0] if number < len(plan) else None)
            began = time.monotonic()
            if victim == "everything":
                await asyncio.to_thread(self._up.start)
            await self._back(victim)
            kill.back_s = round(time.monotonic() - began, 1)
            log.info("killed", **asdict(kill))
            kills.append(kill)
        return kills

    async def _kill_in_the_middle(self, victim: Victim, stream: Stream) -> Kill:
        kill: Kill | None = None
        for _ in range(TRIES):
            await stream.hold_at(stream.samples + FLOW)
            await asyncio.sleep(self._random.random() / 4)
            kill = await self._kill_unless_idle(victim, stream)
            if kill.in_the_middle:
                return kill
        raise AssertionError(f"never in the middle of the work: {kill}")

    async def _kill_unless_idle(self, victim: Victim, stream: Stream) -> Kill:
        """Stop those who could change the numbers, count, and kill where that is the middle of the work."""
        parts = self._up.parts()
        stopped = {"processor", "dispatcher", "clickhouse", victim} - {"kafka", "everything"}
        for name in stopped:
            parts[name].suspend()
        try:
            # The customer's answers to a stopped dispatcher are on their way to nobody.
            callbacks = self._customer.in_the_air
            kill = await self._outstanding(victim, stream, callbacks)
            if kill.in_the_middle and victim == "everything":
                await asyncio.to_thread(self._up.kill9_everything)
            elif kill.in_the_middle:
                parts[victim].kill()
                await asyncio.to_thread(parts[victim].wait)
            return kill
        finally:
            for name in stopped:
                with contextlib.suppress(psutil.NoSuchProcess):
                    parts[name].resume()

    async def _outstanding(self, victim: Victim, stream: Stream, callbacks: int) -> Kill:
        bootstrap = self._settings.kafka_bootstrap
        processor, dispatcher = await asyncio.gather(
            group_lag(bootstrap, "processor", PROCESSED), group_lag(bootstrap, "dispatcher", [EVENTS.name])
        )
        return Kill(victim, stream.samples, stream.unanswered, callbacks, processor, dispatcher[EVENTS.name])

    async def _back(self, victim: Victim) -> None:
        """Return when the victim is at work again, and whoever cannot work without it."""
        everybody = victim in ("kafka", "everything")
        names = ("ingest", "processor", "dispatcher", "clickhouse") if everybody else (victim,)
        if victim == "kafka":
            await wait_ready(self._settings.kafka_bootstrap, BACK_WITHIN_S)
        deadline = time.monotonic() + BACK_WITHIN_S
        while not all([await asyncio.to_thread(self._up.ready, name) for name in names]):
            assert time.monotonic() < deadline, f"not back {BACK_WITHIN_S} s after the end of {victim}"
            await asyncio.sleep(0.1)

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
