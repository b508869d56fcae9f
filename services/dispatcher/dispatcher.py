"""The life of a callback: from an event taken off Kafka to its delivery, its next attempt or its end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec
import structlog

from schemas.events import EventRecord
from schemas.keys import event_key
from schemas.topics import DEAD_LETTERS, DELIVERIES, RETRIES
from services.dispatcher import metrics
from services.dispatcher.delivery import Delivery
from services.dispatcher.journal import Entry
from services.dispatcher.recovery import event_number
from services.dispatcher.schedule import Schedule, VendorSchedule
from services.dispatcher.scheduler import Endpoint, Scheduler
from services.dispatcher.signing import request_headers
from services.dispatcher.timers import RetryTimers

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from aiokafka import ConsumerRecord

    from schemas.applications import Application
    from schemas.deliveries import DeliveryAttempt, Outcome
    from services.dispatcher.journal import Journal
    from services.dispatcher.partition import Partition
    from services.dispatcher.sender import Answer, HttpSender
    from services.runtime.applications import ApplicationTable
    from services.runtime.clock import Clock
    from services.runtime.settings import Settings

log = structlog.get_logger(__name__)

UNKNOWN_APPLICATION_WAIT_MS = 3_000
"""An event may be quicker than the record of its application: so long it waits for it."""
SPILL_AFTER_MS = 2_000
"""A callback that is not done by then goes to the retry lane, so that no slow endpoint holds up the watermark."""

_events = msgspec.json.Decoder(EventRecord)


class Dispatcher:
    """Takes events of its partitions, sends their callbacks and writes down what became of them.

    An event's offset is completed when Kafka has what follows from it: the row of its delivery, or the record of the
    retry lane with which the callback goes on. So a crash at any point repeats a little and loses nothing.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        applications: ApplicationTable,
        journal: Journal,
        sender: HttpSender,
        clock: Clock,
        on_progress: Callable[[], None],
        on_failure: Callable[[BaseException], None],
    ) -> None:
        """`on_progress` is called when offsets were completed, `on_failure` with an error that nobody expected."""
        self._applications = applications
        self._journal = journal
        self._sender = sender
        self._clock = clock
        self._on_progress = on_progress
        self._on_failure = on_failure
        self._schedule: Schedule = VendorSchedule(
            interval_ms=round(settings.callback_retry_interval_s * 1000),
            window_ms=round(settings.callback_retry_window_s * 1000),
        )
        self._scheduler = Scheduler(
            self._start,
            in_flight=settings.callback_in_flight,
            in_flight_per_endpoint=settings.callback_in_flight_per_endpoint,
        )
        self._timers = RetryTimers(clock, self._retry)
        self._unrouted: list[Delivery] = []
        """First attempts of applications that are not known yet, in the order of their events."""

    def adopt(self, partition: Partition) -> None:
        """Go on with the callbacks that an earlier owner left in the retry lane."""
        waiting = sorted(partition.lane.values(), key=lambda delivery: delivery.offset)
        for delivery in waiting:
            if delivery.attempts:
                self._timers.add(delivery)
            else:
                self._submit(delivery)
        self._scheduler.pump()

    def take(self, partition: Partition, records: list[ConsumerRecord[bytes, bytes]]) -> None:
        """Begin with the events of some records of a partition."""
        now_ms = self._clock()
        for record in records:
            self._take(partition, record, now_ms)
        self._scheduler.pump()

    def _take(self, partition: Partition, record: ConsumerRecord[bytes, bytes], now_ms: int) -> None:
        unfinished = partition.tracker.take(record.offset)
        try:
            event = _events.decode(record.value or b"")
        except msgspec.DecodeError as error:
            log.error("event cannot be read", partition=partition.number, offset=record.offset, error=str(error))
            metrics.EVENTS.labels("unreadable").inc()
            self._complete(partition, record.offset)
            return
        delivery = Delivery(event, partition, record.offset, record.timestamp, now_ms)
        repeated = partition.recent.seen(event_number(delivery.delivery_id), record.timestamp)
        if not unfinished:
            return
        if repeated or delivery.delivery_id in partition.lane:
            metrics.EVENTS.labels("repeated").inc()
            self._complete(partition, record.offset)
            return
        partition.pending[record.offset] = delivery
        delivery.refresh(now_ms)
        self._submit(delivery)

    def _submit(self, delivery: Delivery) -> None:
        """Queue a first attempt."""
        application = self._applications.get(delivery.event.sdk_app_id)
        if application is None:
            self._unrouted.append(delivery)
            return
        delivery.url = application.callback.url_of(delivery.event.event_group_id)
        if delivery.url:
            metrics.EVENTS.labels("taken").inc()
            self._scheduler.submit(delivery)
        else:
            metrics.EVENTS.labels("no-url").inc()
            self._run(delivery.partition, self._finish(delivery))

    def _retry(self, delivery: Delivery) -> None:
        """Queue a further attempt."""
        application = self._applications.get(delivery.event.sdk_app_id)
        url = application.callback.url_of(delivery.event.event_group_id) if application else ""
        if url:
            delivery.url = url
            self._scheduler.submit_retry(delivery)
            self._scheduler.pump()
        else:
            self._run(delivery.partition, self._finish(delivery))

    def application_changed(self, application: Application) -> None:
        """Send what waits for an application to the URLs that it has now."""
        unrouted, self._unrouted = self._unrouted, []
        for delivery in unrouted:
            if not delivery.partition.closed:
                self._submit(delivery)
        for endpoint in list(self._scheduler.endpoints.values()):
            if endpoint.key[0] == application.sdk_app_id:
                first_attempts, retries = endpoint.drain()
                for delivery in first_attempts:
                    self._submit(delivery)
                for delivery in retries:
                    self._retry(delivery)
        self._scheduler.pump()

    def sweep(self, partitions: list[Partition]) -> None:
        """Move what takes long out of the way of the watermark; give up waiting for applications."""
        now_ms = self._clock()
        for partition in partitions:
            for delivery in partition.pending.values():
                if now_ms - delivery.taken_ms < SPILL_AFTER_MS:
                    break
                if delivery.moving is None and not delivery.persist_first:
                    self._run(partition, self._move(delivery))
        known, self._unrouted = self._unrouted, []
        for delivery in known:
            if delivery.partition.closed:
                continue
            if now_ms - delivery.taken_ms < UNKNOWN_APPLICATION_WAIT_MS:
                self._unrouted.append(delivery)
                continue
            log.warning("event of an application that does not exist", sdk_app_id=delivery.event.sdk_app_id)
            metrics.EVENTS.labels("unknown-application").inc()
            self._run(delivery.partition, self._finish(delivery))

    def close(self) -> None:
        """Start nothing any more."""
        self._timers.close()

    def _start(self, delivery: Delivery, endpoint: Endpoint, retry: bool) -> None:
        self._run(delivery.partition, self._attempt(delivery, endpoint, retry=retry))

    def _run(self, partition: Partition, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        partition.tasks.add(task)

        def done(task: asyncio.Task[None]) -> None:
            partition.tasks.discard(task)
            if not task.cancelled() and (error := task.exception()) is not None:
                self._on_failure(error)

        task.add_done_callback(done)

    async def _attempt(self, delivery: Delivery, endpoint: Endpoint, *, retry: bool) -> None:
        try:
            if delivery.persist_first:
                await self._persist(delivery, endpoint)
            application = self._applications.get(delivery.event.sdk_app_id)
            if application is None:
                answer = None
            else:
                started_ms = self._clock()
                callback_ts = delivery.callback_ts_at(started_ms)
                body = delivery.body_at(callback_ts)
                answer = await self._sender.post(delivery.url, body, request_headers(application, body))
        finally:
            self._scheduler.finished(delivery, endpoint, retry=retry)
        if answer is None:
            await self._finish(delivery)
            return
        delivery.attempts += 1
        if delivery.attempts == 1:
            delivery.first_attempt_ms = started_ms
        await self._settle(delivery, answer, callback_ts, started_ms)

    async def _persist(self, delivery: Delivery, endpoint: Endpoint) -> None:
        """Put a callback into the lane before it is sent for the first time."""
        try:
            await self._move(delivery)
        finally:
            delivery.persist_first = False
            endpoint.persisted(delivery)

    async def _settle(self, delivery: Delivery, answer: Answer, callback_ts: int, started_ms: int) -> None:
        """Write down an attempt and what follows from it."""
        now_ms = self._clock()
        due_ms: int | None = None
        outcome: Outcome = "delivered"
        if not answer.succeeded:
            due_ms = self._schedule.next_attempt(delivery.attempts, delivery.window_start_ms, now_ms)
            outcome = "failed" if due_ms is not None else "given-up"
        metrics.ATTEMPTS.labels(outcome, answer.error_class).inc()
        metrics.ATTEMPT_SECONDS.observe(answer.duration_ms / 1000)
        row = _row_entry(delivery.attempt(callback_ts, started_ms, answer, outcome), delivery)
        if delivery.partition.closed:
            # Whoever has the partition now decides about the callback; that a request was made stays true.
            await self._journal.write(row)
        elif due_ms is not None:
            delivery.due_ms = due_ms
            await self._move(delivery, row)
            if not delivery.partition.closed:
                self._timers.add(delivery)
        elif outcome == "given-up":
            await self._journal.write(row, _dead_letter_entry(delivery, now_ms, answer.error_class))
            await self._finish(delivery)
        else:
            metrics.DELIVERED_SECONDS.observe(max(0, now_ms - delivery.accepted_ms) / 1000)
            await self._journal.write(row)
            await self._finish(delivery)

    async def _move(self, delivery: Delivery, *before: Entry) -> None:
        """Let the retry lane have a callback as it is now, and its event's offset go."""
        while delivery.moving is not None:
            await delivery.moving
        partition = delivery.partition
        ours = delivery.moving = asyncio.get_running_loop().create_future()
        try:
            await self._journal.write(*before, _lane_entry(delivery, msgspec.json.encode(delivery.to_record())))
        finally:
            ours.set_result(None)
            delivery.moving = None
        if delivery.partition.closed:
            return
        if not delivery.in_lane:
            delivery.in_lane = True
            partition.lane[delivery.delivery_id] = delivery
            self._complete(partition, delivery.offset)

    async def _finish(self, delivery: Delivery) -> None:
        """Forget a callback that is done with; Kafka has everything that is to be kept of it."""
        while delivery.moving is not None:
            await delivery.moving
        if delivery.partition.closed:
            return
        if delivery.in_lane:
            await self._journal.write(_lane_entry(delivery, None))
            delivery.partition.lane.pop(delivery.delivery_id, None)
        else:
            self._complete(delivery.partition, delivery.offset)

    def _complete(self, partition: Partition, offset: int) -> None:
        partition.complete(offset)
        self._on_progress()


def _row_entry(attempt: DeliveryAttempt, delivery: Delivery) -> Entry:
    return Entry(DELIVERIES.name, delivery.delivery_id.encode(), msgspec.json.encode(attempt))


def _lane_entry(delivery: Delivery, value: bytes | None) -> Entry:
    return Entry(RETRIES.name, delivery.delivery_id.encode(), value, delivery.partition.lane_number)


def _dead_letter_entry(delivery: Delivery, now_ms: int, reason: str) -> Entry:
    event = delivery.event
    key = event_key(event.sdk_app_id, event.room_id, event.task_id)
    return Entry(DEAD_LETTERS.name, key, msgspec.json.encode(delivery.to_dead_letter(now_ms, reason)))
