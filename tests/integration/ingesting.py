"""An ingest process on a real broker, a client of it, and what it put onto Kafka: for the tests of ingest."""

from __future__ import annotations

import asyncio
import http.client
import itertools
import socket
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import msgspec
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from schemas.callbacks import sign
from schemas.events import EventRecord
from schemas.reports import AcceptedReport, ReportBatch
from schemas.tasks import TaskRecord
from schemas.topics import EVENTS, QUALITY, TASKS, Topic
from services.console.publisher import publish_applications
from services.console.store import ApplicationStore
from services.runtime import usersig
from services.runtime.clock import now_ms
from services.runtime.topics import ensure_topics
from tests.support.stack import Stack

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from schemas.applications import Application
    from schemas.words import RoomId
    from tests.support.kafka import KafkaBroker

ANSWER_WITHIN_S = 20


class Answer(NamedTuple):
    """What ingest said."""

    status: int
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes

    @property
    def json(self) -> Any:
        """The decoded body."""
        return msgspec.json.decode(self.body)

    @property
    def code(self) -> str:
        """The code of an error."""
        return str(self.json["Error"]["Code"])


class Client:
    """Sends over one connection, and opens another one when that was closed."""

    def __init__(self, port: int, application: Application) -> None:
        self.application = application
        self._http = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_WITHIN_S)

    def send(self, method: str, path: str, body: bytes = b"", **headers: str) -> Answer:
        """One request; `_` in names of headers stands for `-`."""
        for last in (False, True):
            try:
                self._http.request(method, path, body or None, {n.replace("_", "-"): v for n, v in headers.items()})
                response = self._http.getresponse()
                break
            except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
                self._http.close()
                if last:
                    raise
        received = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, received, response.read())

    def report(self, body: bytes, **headers: str) -> Answer:
        """`POST /v1/reports`."""
        return self.send("POST", "/v1/reports", body, **{"Content_Type": "text/plain", **headers})

    def signed(self, path: str, body: bytes, **headers: str) -> Answer:
        """A POST of the application's."""
        return self.send(
            "POST",
            path,
            body,
            **{
                "Content_Type": "application/json",
                "SdkAppId": str(self.application.sdk_app_id),
                "Sign": sign(self.application.secret_key, body),
                **headers,
            },
        )

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class World:
    """One installation: applications, ingest, what it wrote."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.settings = stack.settings
        self.ingest = stack.services["ingest"]
        self.store = ApplicationStore(stack.settings)
        self._numbers = itertools.count(1)

    def number(self) -> int:
        """A number that nothing else has."""
        return next(self._numbers)

    async def application(self, **changes: Any) -> Application:
        """A new application that is published."""
        application = self.store.create(f"app_{self.number()}")
        await self.publish(application, **changes)
        return application

    async def publish(self, application: Application, **changes: Any) -> Application:
        """Publish an application with changes."""
        changed = msgspec.structs.replace(application, version=application.version + bool(changes), **changes)
        await publish_applications(self.settings, [changed])
        return changed

    @contextmanager
    def client(self, application: Application) -> Iterator[Client]:
        """A client of ingest."""
        with Client(self.settings.ingest_port, application) as client:
            yield client

    def connect(self) -> socket.socket:
        """A bare connection."""
        return socket.create_connection(("127.0.0.1", self.settings.ingest_port), timeout=ANSWER_WITHIN_S)

    async def records(self, topic: Topic) -> list[ConsumerRecord[bytes, bytes]]:
        """Everything that is in a topic."""
        consumer = AIOKafkaConsumer(bootstrap_servers=self.settings.kafka_bootstrap, auto_offset_reset="earliest")
        await consumer.start()
        try:
            partitions = [
                TopicPartition(topic.name, number) for number in consumer.partitions_for_topic(topic.name) or ()
            ] or [TopicPartition(topic.name, number) for number in range(self.settings.kafka_partitions)]
            consumer.assign(partitions)
            await consumer.seek_to_beginning()
            ends = await consumer.end_offsets(partitions)
            found: list[ConsumerRecord[bytes, bytes]] = []
            while any([await consumer.position(partition) < end for partition, end in ends.items()]):
                for records in (await consumer.getmany(timeout_ms=200)).values():
                    found += records
            return found
        finally:
            await consumer.stop()

    async def events(self) -> list[EventRecord]:
        """Every event on Kafka."""
        return [msgspec.json.decode(r.value or b"", type=EventRecord) for r in await self.records(EVENTS)]

    async def tasks(self) -> list[TaskRecord]:
        """Every task interval on Kafka."""
        return [msgspec.json.decode(r.value or b"", type=TaskRecord) for r in await self.records(TASKS)]

    async def batches(self) -> list[ReportBatch]:
        """Every batch of reports on Kafka."""
        return [msgspec.json.decode(r.value or b"", type=ReportBatch) for r in await self.records(QUALITY)]

    async def reports(self) -> list[AcceptedReport]:
        """Every report on Kafka."""
        return [report for batch in await self.batches() for report in batch.reports]


@asynccontextmanager
async def world_on(kafka: KafkaBroker, data: Path, **overrides: Any) -> AsyncIterator[World]:
    """Ingest on a broker, up and ready; `overrides` are environment variables."""
    with Stack(data, kafka=kafka, **{"ROOMPULSE_KAFKA_PARTITIONS": "3", **overrides}) as stack:
        world = World(stack)
        await ensure_topics(stack.settings)
        world.ingest.launch()
        await asyncio.to_thread(world.ingest.wait_ready)
        try:
            yield world
        finally:
            world.store.close()


def event(number: int, *, at_ms: int | None = None, room: RoomId = 8801, **fields: Any) -> dict[str, Any]:
    """Somebody enters a room; the event's id tells the number."""
    at = now_ms() if at_ms is None else at_ms
    return {
        "EventGroupId": 1,
        "EventType": 103,
        "EventId": f"event-{number}",
        "EventInfo": {
            "RoomId": room,
            "EventTs": at // 1000,
            "EventMsTs": at,
            "UserId": f"user_{number}",
            "Role": 20,
            "TerminalType": 2,
            "UserType": 3,
            "Reason": 1,
        },
        **fields,
    }


def task(number: int, *, start_ms: int | None = None, **fields: Any) -> dict[str, Any]:
    """Ten seconds of a recording; the task's id tells the number."""
    start = now_ms() - 12_000 if start_ms is None else start_ms
    return {
        "TaskId": f"task-{number}",
        "TaskType": "record",
        "RecordMode": "mixed",
        "RoomId": "8801",
        "RoomIdType": 0,
        "StartMs": start,
        "EndMs": start + 10_000,
        "Inputs": [{"UserId": "alice", "Type": "big", "Width": 1280, "Height": 720}],
        "Outputs": [{"Format": "mp4", "Codec": "h264", "Width": 1280, "Height": 720, "Destination": "vod"}],
        **fields,
    }


def sample(start_ms: int, **fields: Any) -> dict[str, Any]:
    """Two seconds of a call between two."""
    return {
        "StartMs": start_ms,
        "DurMs": 2000,
        "SysCpu": 41.5,
        "Rtt": 35,
        "Local": [{"Type": "big", "Bitrate": 900_000, "Width": 1280, "Height": 720, "EncFps": 15}],
        "Remote": [{"UserId": "bob", "Type": "big", "PlayMs": 2000, "Stutters": [[start_ms + 100, 700]]}],
        **fields,
    }


def report(
    application: Application, *, user: str = "alice", room: RoomId = 8801, seq: int = 1, **fields: Any
) -> dict[str, Any]:
    """A report with two samples and one client event."""
    now = now_ms()
    return {
        "SdkAppId": application.sdk_app_id,
        "UserId": user,
        "UserSig": usersig.generate(application.sdk_app_id, application.secret_key, user, now=now // 1000 - 60),
        "RoomId": room,
        "SessionId": "session-1",
        "Seq": seq,
        "SentMs": now,
        "Samples": [sample(now - 4000), sample(now - 2000)],
        "Events": [{"AtMs": now - 3000, "Type": 1, "EventId": 2001}],
        **fields,
    }


def encoded(value: object) -> bytes:
    """JSON."""
    return msgspec.json.encode(value)
