"""The ways on which reports get to the processor while it works, each report until it is acknowledged."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import defaultdict
from typing import TYPE_CHECKING, Protocol

import aiohttp

from schemas.keys import report_partition
from schemas.topics import QUALITY
from services.console.publisher import publish_applications
from services.console.store import ApplicationStore
from services.runtime import usersig
from services.runtime.clock import now_ms
from tests.bench.load import APP, REPORTS_A_RECORD, SAMPLES_A_REPORT
from tests.bench.pipeline import producing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence

    from aiokafka import AIOKafkaProducer

    from services.runtime.settings import Settings
    from tests.bench.pipeline import Pipeline
    from tests.bench.tempo import Due

_TICK_S = 0.05
_CONNECTIONS = 200


class Way(Protocol):
    """How reports are sent."""

    def parts(self, due: Sequence[Due]) -> Iterable[Sequence[Due]]:
        """What is sent together."""

    async def send(self, part: Sequence[Due]) -> None:
        """Return when it is acknowledged."""


class ToKafka:
    """Records as ingest makes them, straight to Kafka."""

    def __init__(self, producer: AIOKafkaProducer, partitions: int) -> None:
        self._producer = producer
        self._partitions = partitions

    def parts(self, due: Sequence[Due]) -> Iterator[Sequence[Due]]:
        """See `Way`."""
        places: defaultdict[int, list[Due]] = defaultdict(list)
        for report in due:
            places[self._place(report)].append(report)
        for here in places.values():
            for first in range(0, len(here), REPORTS_A_RECORD):
                yield here[first : first + REPORTS_A_RECORD]

    async def send(self, part: Sequence[Due]) -> None:
        """See `Way`."""
        value = b'{"Reports":[' + b",".join(report.value for report in part) + b"]}"
        await self._producer.send_and_wait(QUALITY.name, value, partition=self._place(part[0]))

    def _place(self, report: Due) -> int:
        return report_partition(APP, str(report.room), f"user_{report.room}_{report.user}", self._partitions)


class ToIngest:
    """Each report posted by itself, signed by its user; acknowledged is what got its 200."""

    def __init__(self, session: aiohttp.ClientSession, url: str, secret_key: str) -> None:
        self._session = session
        self._url = url
        self._secret_key = secret_key
        self._signatures: dict[tuple[int, int], bytes] = {}

    def parts(self, due: Sequence[Due]) -> Iterator[Sequence[Due]]:
        """See `Way`."""
        return ([report] for report in due)

    async def send(self, part: Sequence[Due]) -> None:
        """See `Way`."""
        report = part[0]
        who = report.room, report.user
        if who not in self._signatures:
            user = f"user_{report.room}_{report.user}"
            self._signatures[who] = usersig.generate(APP, self._secret_key, user, now=now_ms() // 1000).encode()
        body = report.value[:-1] + b',"UserSig":"' + self._signatures[who] + b'"}'
        async with self._session.post(f"{self._url}/v1/reports", data=body) as answer:
            answer.raise_for_status()


@contextlib.asynccontextmanager
async def to_kafka(lines: Pipeline) -> AsyncIterator[Way]:
    """Straight to Kafka."""
    async with producing(lines.bootstrap, linger_ms=0) as producer:
        yield ToKafka(producer, len(await producer.partitions_for(QUALITY.name)))


@contextlib.asynccontextmanager
async def to_ingest(lines: Pipeline) -> AsyncIterator[Way]:
    """By HTTP through an ingest that is started for it."""
    ingest = lines.stack.services["ingest"]
    secret_key = await _create_application(lines.stack.settings)
    try:
        ingest.launch()
        await asyncio.to_thread(ingest.wait_ready)
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=_CONNECTIONS)) as session:
            yield ToIngest(session, ingest.url, secret_key)
    finally:
        await asyncio.to_thread(ingest.stop)


async def _create_application(settings: Settings) -> str:
    store = ApplicationStore(settings)
    application = store.create("bench", sdk_app_id=APP)
    store.close()
    await publish_applications(settings, [application])
    return application.secret_key


async def pour(
    way: Way, reports: Iterator[Due], seconds: float, acknowledged: Callable[[Sequence[Due], float], None]
) -> int:
    """Send what is due when it is due, and tell of what was acknowledged by the monotonic clock; how many samples."""
    sent, until = 0, time.monotonic() + seconds

    async def send(part: Sequence[Due]) -> None:
        await way.send(part)
        acknowledged(part, time.monotonic())

    report = next(reports)
    async with asyncio.TaskGroup() as group:
        while time.monotonic() < until:
            due, now = [], now_ms()
            while report.due_ms <= now:
                due.append(report)
                report = next(reports)
            for part in way.parts(due):
                sent += len(part) * SAMPLES_A_REPORT
                group.create_task(send(part))
            await asyncio.sleep(_TICK_S)
    return sent
