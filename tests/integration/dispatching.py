"""A dispatcher, applications and events for the tests of the dispatcher."""

from __future__ import annotations

import asyncio
import base64
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Self

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from schemas.applications import CallbackConfig
from schemas.deliveries import DeliveryAttempt
from schemas.events import EventRecord, read_event
from schemas.keys import event_key
from schemas.retries import RetryRecord
from schemas.topics import DEAD_LETTERS, DELIVERIES, EVENTS, RETRIES
from services.console.publisher import publish_applications
from services.console.store import ApplicationStore
from services.dispatcher.consumer import GROUP
from services.dispatcher.recovery import committed
from services.dispatcher.service import run
from services.runtime.clickhouse import migrate
from services.runtime.clock import now_ms
from services.runtime.settings import Settings
from services.runtime.topics import ensure_topics
from tests.support.clickhouse import free_port
from tests.support.stack import Stack

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from aiokafka import ConsumerRecord

    from schemas.applications import Application
    from tests.support.clickhouse import ClickHouseServer
    from tests.support.kafka import KafkaBroker


def settings_for(bootstrap: str, data: Path, **changes: Any) -> Settings:
    """Settings of a dispatcher that may call back to this machine and has short times."""
    return Settings(
        data=data,
        kafka_bootstrap=bootstrap,
        dispatcher_port=free_port(),
        **{
            "kafka_partitions": 4,
            "callback_allow": "127.0.0.0/8,::1/128",
            "callback_timeout_s": 1.0,
            "callback_retry_interval_s": 0.5,
            "callback_retry_window_s": 2.2,
            **changes,
        },
    )


def environment_of(settings: Settings) -> dict[str, str]:
    """The environment with which a process has these settings."""
    return {f"ROOMPULSE_{name.upper()}": str(getattr(settings, name)) for name in settings.model_fields_set}


@asynccontextmanager
async def callback_stack(
    data: Path, kafka: KafkaBroker, clickhouse: ClickHouseServer, *, retry_window_s: float
) -> AsyncIterator[Stack]:
    """Processes that send callbacks and show what became of them, with short times."""
    stack = Stack(
        data,
        kafka=kafka,
        clickhouse=clickhouse,
        ROOMPULSE_KAFKA_PARTITIONS="4",
        ROOMPULSE_CALLBACK_TIMEOUT_S="1",
        ROOMPULSE_CALLBACK_RETRY_INTERVAL_S="0.3",
        ROOMPULSE_CALLBACK_RETRY_WINDOW_S=str(retry_window_s),
    )
    await migrate(stack.settings)
    async with World(stack.settings):
        pass
    with stack:
        stack.start("dispatcher", "processor", "console")
        yield stack


class World:
    """One installation: applications, topics, what the dispatcher wrote."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.store = ApplicationStore(settings)
        self._numbers = iter(range(1, 1_000_000))
        self._producer = AIOKafkaProducer(bootstrap_servers=settings.kafka_bootstrap, linger_ms=5)

    async def __aenter__(self) -> Self:
        await ensure_topics(self.settings)
        await self._producer.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._producer.stop()
        self.store.close()

    async def application(self, *, key: str | None = "Key0123456789abc", **urls: Any) -> Application:
        """A new application with callback URLs."""
        created = self.store.create(f"app_{next(self._numbers)}")
        return await self.change(created.sdk_app_id, key=key, **urls)

    async def application_at(self, url: str) -> Application:
        """A new application with a URL for room events that no console would have let pass."""
        created = self.store.create(f"app_{next(self._numbers)}")
        changed = msgspec.structs.replace(created, callback=CallbackConfig(room_url=url), version=2)
        await publish_applications(self.settings, [changed])
        return changed

    async def change(self, sdk_app_id: int, **changes: Any) -> Application:
        """Change and publish an application's callbacks."""
        application = self.store.set_callback(sdk_app_id, **changes)
        await publish_applications(self.settings, [application])
        return application

    async def publish(self, *events: EventRecord, timestamp_ms: int | None = None) -> None:
        """Put events onto Kafka as ingest does."""
        sent = [
            await self._producer.send(
                EVENTS.name,
                key=event_key(event.sdk_app_id, event.room_id, event.task_id),
                value=msgspec.json.encode(event),
                timestamp_ms=timestamp_ms,
            )
            for event in events
        ]
        for future in sent:
            await future

    async def records(self, topic: str) -> list[tuple[str, bytes | None]]:
        """Everything in a topic, as (key, value)."""
        return [((record.key or b"").decode(), record.value) for record in await self.read(topic)]

    async def read(self, topic: str) -> list[ConsumerRecord[bytes, bytes]]:
        """Everything in a topic."""
        consumer = AIOKafkaConsumer(bootstrap_servers=self.settings.kafka_bootstrap, auto_offset_reset="earliest")
        await consumer.start()
        try:
            partitions = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic) or ()]
            if not partitions:
                await consumer._client.force_metadata_update()
                numbers = range(self.settings.kafka_partitions)
                partitions = [TopicPartition(topic, number) for number in numbers]
            consumer.assign(partitions)
            await consumer.seek_to_beginning(*partitions)
            ends = await consumer.end_offsets(partitions)
            found: list[ConsumerRecord[bytes, bytes]] = []
            while any([await consumer.position(tp) < end for tp, end in ends.items()]):
                for records in (await consumer.getmany(timeout_ms=100)).values():
                    found += records
            return found
        finally:
            await consumer.stop()

    async def attempts(self, sdk_app_id: int | None = None) -> list[DeliveryAttempt]:
        """The rows of topic `deliveries`, in the order of their start."""
        rows = [
            msgspec.json.decode(value, type=DeliveryAttempt)
            for _, value in await self.records(DELIVERIES.name)
            if value is not None
        ]
        wanted = [row for row in rows if sdk_app_id in (None, row.sdk_app_id)]
        return sorted(wanted, key=lambda row: (row.started_ms, row.attempt))

    async def attempts_when(
        self, sdk_app_id: int, enough: Callable[[list[DeliveryAttempt]], bool]
    ) -> list[DeliveryAttempt]:
        """The rows of an application once there are enough of them."""
        async with asyncio.timeout(60):
            while not enough(rows := await self.attempts(sdk_app_id)):
                await asyncio.sleep(0.1)
        return rows

    async def lane(self, sdk_app_id: int) -> dict[str, RetryRecord]:
        """What waits of an application in the retry lane, by delivery id."""
        return {key: record for key, record in (await self.lanes()).items() if record.event.sdk_app_id == sdk_app_id}

    async def lanes(self) -> dict[str, RetryRecord]:
        """What waits in the retry lane, by delivery id."""
        last = dict(await self.records(RETRIES.name))
        return {key: msgspec.json.decode(value, type=RetryRecord) for key, value in last.items() if value}

    async def wait_in_lane(self, *records: RetryRecord) -> None:
        """Let the retry lane have other records of callbacks that are in it."""
        partitions = await self._producer.partitions_for(RETRIES.name)
        for record in records:
            await self._producer.send_and_wait(
                RETRIES.name,
                key=record.delivery_id.encode(),
                value=msgspec.json.encode(record),
                partition=record.source_partition % len(partitions),
            )

    async def unfinished(self) -> list[EventRecord]:
        """The events of which Kafka does not know that their callbacks have come to an end."""
        records = await self.read(EVENTS.name)
        partitions = {TopicPartition(EVENTS.name, record.partition) for record in records}
        commits = await committed(self.settings, GROUP, list(partitions))
        found = [record.event for record in (await self.lanes()).values()]
        for tp in partitions:
            watermark, metadata = commits.get(tp, (0, ""))
            # Read here by its own means: bit i stands for offset watermark + i.
            beyond = int.from_bytes(base64.b64decode(metadata.removeprefix("1:")), "little")
            found += [
                msgspec.json.decode(record.value or b"", type=EventRecord)
                for record in records
                if record.partition == tp.partition
                and record.offset >= watermark
                and not beyond >> (record.offset - watermark) & 1
            ]
        return found

    async def lane_empty(self, sdk_app_id: int) -> None:
        """Return when nothing of an application waits in the retry lane."""
        async with asyncio.timeout(60):
            while await self.lane(sdk_app_id):
                await asyncio.sleep(0.1)

    async def dead_letters(self, sdk_app_id: int) -> list[dict[str, Any]]:
        """What was given up."""
        values = [msgspec.json.decode(value) for _, value in await self.records(DEAD_LETTERS.name) if value]
        return [value for value in values if value["Callback"]["Event"]["SdkAppId"] == sdk_app_id]

    @asynccontextmanager
    async def dispatcher(self, settings: Settings | None = None) -> AsyncIterator[asyncio.Task[None]]:
        """A dispatcher in this process."""
        stopping = asyncio.Event()
        task = asyncio.create_task(run(settings or self.settings, stopping))
        try:
            yield task
        finally:
            stopping.set()
            await asyncio.wait_for(task, 30)


def event_of(application: Application, item: dict[str, Any]) -> EventRecord:
    """The event of a body as a media server posts it."""
    return read_event(application.sdk_app_id, msgspec.json.encode(item), now_ms())


def room_event(
    application: Application, room: int | str, user: str = "alice", *, event_id: str | None = None, **changes: Any
) -> EventRecord:
    """Event 103: a user enters a room."""
    moment = now_ms()
    item: dict[str, Any] = {
        "EventGroupId": 1,
        "EventType": 103,
        "EventInfo": {
            "RoomId": room,
            "EventTs": moment // 1000,
            "EventMsTs": moment,
            "UserId": user,
            "Role": 20,
            "TerminalType": 2,
            "UserType": 3,
            "Reason": 1,
            **changes,
        },
    }
    if event_id is not None:
        item["EventId"] = event_id
    return read_event(application.sdk_app_id, msgspec.json.encode(item), moment)
