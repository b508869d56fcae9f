"""Applications and events for measuring the dispatcher."""

from __future__ import annotations

import asyncio
import time
from itertools import islice
from typing import TYPE_CHECKING, Self

import aiohttp
import msgspec
from aiokafka import AIOKafkaProducer

from schemas.applications import Application, CallbackConfig
from schemas.callbacks import sign
from schemas.deliveries import delivery_id
from schemas.keys import event_key
from schemas.retries import RetryRecord
from schemas.topics import EVENTS, RETRIES
from services.runtime.clock import now_ms
from tests.integration.dispatching import room_event

if TYPE_CHECKING:
    from collections.abc import Iterable

    from schemas.events import EventRecord
    from services.runtime.settings import Settings
    from tests.bench.receiver import ReceiverProcess

FIRST_APP = 1_400_000_001
ROOMS = 20
"""Of each application."""
_POSTS = 64
_HOUR_MS = 3_600_000


def applications(count: int, receiver: ReceiverProcess) -> list[Application]:
    """Applications with a key, each with an endpoint of its own."""
    return [
        Application(
            sdk_app_id=FIRST_APP + number,
            name=f"app_{number}",
            status="enabled",
            version=1,
            created_ms=now_ms(),
            secret_key="0123456789abcdef" * 4,
            callback_key="Key0123456789abc",
            callback=CallbackConfig(room_url=receiver.url(f"/callbacks/{number}")),
        )
        for number in range(count)
    ]


def event(application: Application, number: int) -> EventRecord:
    """The event of a number."""
    return room_event(application, 1 + number % ROOMS, f"user_{number}")


class Events:
    """A producer of events, which go to the applications in turn."""

    def __init__(self, bootstrap: str, applications: list[Application]) -> None:
        self._applications = applications
        self._producer = AIOKafkaProducer(bootstrap_servers=bootstrap, linger_ms=1)
        self._number = 0

    async def __aenter__(self) -> Self:
        await self._producer.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._producer.stop()

    async def put(self, count: int) -> None:
        """Put events onto Kafka."""
        for _ in range(count):
            number = self._number
            self._number += 1
            made = event(self._applications[number % len(self._applications)], number // len(self._applications))
            key = event_key(made.sdk_app_id, made.room_id, made.task_id)
            await self._producer.send(EVENTS.name, key=key, value=msgspec.json.encode(made))

    async def pour(self, rate: float, seconds: float) -> int:
        """The same at a steady rate; how many it were."""
        began, sent = time.perf_counter(), 0
        while (passed := time.perf_counter() - began) < seconds:
            await self.put(due := int(passed * rate) + 1 - sent)
            sent += due
            await asyncio.sleep(0.002)
        return sent


async def fill_lane(settings: Settings, applications: list[Application], count: int) -> None:
    """Let callbacks wait in the retry lane that failed once and are due in an hour."""
    producer = AIOKafkaProducer(bootstrap_servers=settings.kafka_bootstrap, linger_ms=5, max_batch_size=1 << 20)
    await producer.start()
    now = now_ms()
    for number in range(count):
        application = applications[number % len(applications)]
        made = event(application, number)
        partition = number % settings.kafka_partitions
        record = RetryRecord(
            delivery_id=delivery_id(made.sdk_app_id, made.event_id),
            event=made,
            accepted_ms=now,
            source_partition=partition,
            source_offset=number,
            callback_ts=now,
            attempts=1,
            first_attempt_ms=now,
            due_ms=now + _HOUR_MS,
        )
        await producer.send(
            RETRIES.name, msgspec.json.encode(record), key=record.delivery_id.encode(), partition=partition
        )
    await producer.stop()


async def post(url: str, applications: list[Application], numbers: Iterable[int], items: int) -> None:
    """Post events to ingest as media servers do, so many in a request."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        left = iter(numbers)

        async def work(application: Application) -> None:
            while chunk := list(islice(left, items)):
                body = msgspec.json.encode([_item(application, number) for number in chunk])
                headers = {"SdkAppId": str(application.sdk_app_id), "Sign": sign(application.secret_key, body)}
                headers["Content-Type"] = "application/json"
                async with session.post(url, data=body, headers=headers) as response:
                    assert response.status == 200, await response.text()

        await asyncio.gather(*(work(applications[place % len(applications)]) for place in range(_POSTS)))


def _item(application: Application, number: int) -> dict[str, object]:
    made = event(application, number)
    return {"EventGroupId": 1, "EventType": made.event_type, "EventInfo": made.event_info, "EventId": f"e{number}"}
