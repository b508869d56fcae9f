"""The Faust app: one agent a topic, each thin. What a record means is in the modules beside.

Every agent does the same: take what has come, do all that follows from it until it is safe, then acknowledge. Nothing
is kept between two turns that could not be forgotten, and no exception leaves an agent: Faust may take one for done.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

import faust
import msgspec
import structlog

from schemas.deliveries import DeliveryAttempt
from schemas.events import EventRecord
from schemas.reports import ReportBatch
from schemas.tasks import TaskRecord
from schemas.topics import DELIVERIES, EVENTS, QUALITY, TASKS, TOUCHED
from schemas.touched import Touched
from services.processor import metrics
from services.processor.exceptions import Thresholds
from services.processor.intake import QualityIntake, QualityRecord, take_events
from services.processor.portions import portions
from services.processor.records import delivery_row, event_row, task_row

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence

    from services.processor.recompute import Recomputer
    from services.processor.store import Store
    from services.processor.tables import Row
    from services.processor.touching import Toucher
    from services.runtime.settings import Settings

log = structlog.get_logger(__name__)
Value = TypeVar("Value")

GROUP = "processor"
TAKE_WITHIN_S = 0.3
"""How long records are collected for one insert. Freshness pays for it, and ClickHouse for less of it."""
RECOMPUTE_WITHIN_S = 0.7
"""The same for rollups, whose rows are computed anew each time."""
_AT_ONCE = 5_000
"""Records that are collected at most. Reports come in large ones when there is much to catch up with, and in many small
ones when there is not: a bound on their number alone would be too high for the ones or too low for the others."""
_BYTES_A_TURN = 24 << 20
"""Of records that are handled together: enough to be worth an insert, and little enough for memory."""
_BUFFERED = 200
"""Records that Faust keeps beside those that are collected."""
_PAUSE_S = 1.0


def build_app(settings: Settings, instance: str, store: Store, toucher: Toucher, recomputer: Recomputer) -> faust.App:
    """An app with an agent for each topic; `instance` names this member of the group over restarts."""
    app = faust.App(
        GROUP,
        broker=f"kafka://{settings.kafka_bootstrap.replace(',', ';')}",
        store="memory://",
        datadir=settings.data / "faust",
        value_serializer="raw",
        key_serializer="raw",
        topic_allow_declare=False,
        topic_disable_leader=True,
        web_enabled=False,
        consumer_group_instance_id=instance,
        consumer_auto_offset_reset="earliest",
        broker_session_timeout=10,
        broker_heartbeat_interval=2,
        broker_rebalance_timeout=15,
        broker_request_timeout=15,
        broker_commit_interval=0.5,
        broker_max_poll_records=500,
        stream_buffer_maxsize=_BUFFERED,
        # What is under way when partitions go is inserted twice, which changes nothing; nobody has to wait for it.
        stream_wait_empty=False,
        loghandlers=[],
        logging_config={"version": 1, "disable_existing_loggers": False},
    )

    def agent(topic: str, within_s: float, handle: Callable[[Sequence[Any]], Awaitable[None]]) -> None:
        async def work(stream: Any) -> AsyncIterator[None]:
            async for events in stream.noack_take(_AT_ONCE, within=within_s):
                for turn in portions(events, _bytes_of, _BYTES_A_TURN):
                    metrics.RECORDS.labels(topic).inc(len(turn))
                    await _until_done(topic, handle, turn)
                    for event in turn:
                        event.ack()
                yield

        app.agent(app.topic(topic, key_type=bytes, value_type=bytes), name=topic)(work)

    intake = QualityIntake(store, toucher, Thresholds.of(settings))

    async def take_quality(events: Sequence[Any]) -> None:
        await intake.take(_read(QUALITY.name, events, _quality_of))

    async def take_room_events(events: Sequence[Any]) -> None:
        await take_events(store, toucher, list(_read(EVENTS.name, events, _event_of)))

    async def take_tasks(events: Sequence[Any]) -> None:
        await store.insert("task_intervals", list(_read(TASKS.name, events, _task_of)))

    async def take_deliveries(events: Sequence[Any]) -> None:
        await store.insert("deliveries", list(_read(DELIVERIES.name, events, _delivery_of)))

    async def take_touched(events: Sequence[Any]) -> None:
        await recomputer.recompute(_read(TOUCHED.name, events, _touched_of))

    agent(QUALITY.name, TAKE_WITHIN_S, take_quality)
    agent(EVENTS.name, TAKE_WITHIN_S, take_room_events)
    agent(TASKS.name, TAKE_WITHIN_S, take_tasks)
    agent(DELIVERIES.name, TAKE_WITHIN_S, take_deliveries)
    agent(TOUCHED.name, RECOMPUTE_WITHIN_S, take_touched)
    return app


_batches = msgspec.json.Decoder(ReportBatch)
_events = msgspec.json.Decoder(EventRecord)
_tasks = msgspec.json.Decoder(TaskRecord)
_deliveries = msgspec.json.Decoder(DeliveryAttempt)
_touched = msgspec.json.Decoder(Touched)


def _bytes_of(event: Any) -> int:
    return len(event.value or b"")


def _quality_of(event: Any) -> QualityRecord:
    return QualityRecord(event.message.partition, event.message.offset, _batches.decode(event.value).reports)


def _event_of(event: Any) -> tuple[EventRecord, Row]:
    record = _events.decode(event.value)
    return record, event_row(record, event.message.partition, event.message.offset)


def _task_of(event: Any) -> Row:
    return task_row(_tasks.decode(event.value))


def _delivery_of(event: Any) -> Row:
    return delivery_row(_deliveries.decode(event.value))


def _touched_of(event: Any) -> Touched:
    return _touched.decode(event.value)


def _read(topic: str, events: Iterable[Any], read: Callable[[Any], Value]) -> Iterator[Value]:
    """What records say, one by one; what cannot be read would never be readable, and must not hold up the others."""
    for event in events:
        try:
            value = read(event)
        except (msgspec.DecodeError, TypeError, ValueError) as error:
            metrics.UNREADABLE.labels(topic).inc()
            log.error(
                "record cannot be read, left out",
                topic=topic,
                partition=event.message.partition,
                offset=event.message.offset,
                error=str(error),
            )
        else:
            yield value


async def _until_done(topic: str, handle: Callable[[Sequence[Any]], Awaitable[None]], events: Sequence[Any]) -> None:
    """Handle records; what nobody expected to fail is tried again, since giving up would acknowledge them."""
    while True:
        try:
            await handle(events)
        except Exception:
            metrics.FAILED_TURNS.labels(topic).inc()
            log.exception("turn failed, trying again", topic=topic, records=len(events))
            await asyncio.sleep(_PAUSE_S)
        else:
            return
