"""The way of a callback: from an event taken off Kafka to its endpoint, and on when endpoints change."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec
import structlog
from aiokafka.errors import KafkaError

from schemas.events import EventRecord
from services.dispatcher import metrics
from services.dispatcher.circuit import Circuits
from services.dispatcher.courier import Courier
from services.dispatcher.delivery import Delivery, weight_of
from services.dispatcher.dormant import packed
from services.dispatcher.lane import RetryLane
from services.dispatcher.occupancy import MAX_HELD, Occupancy
from services.dispatcher.overflow import LOAD_AT_MOST, Backlog
from services.dispatcher.pace import Paces
from services.dispatcher.patience import Patience
from services.dispatcher.recovery import event_number
from services.dispatcher.replay import is_replay
from services.dispatcher.scheduler import Scheduler
from services.dispatcher.timers import Alarm, RetryTimers
from services.dispatcher.waker import FAR_MS, Waker

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from aiokafka import ConsumerRecord

    from schemas.applications import Application
    from services.dispatcher.disabled import DisabledEndpoints
    from services.dispatcher.monitor import Monitor
    from services.dispatcher.overflow import LaneReader
    from services.dispatcher.partition import Partition
    from services.dispatcher.queues import Endpoint
    from services.dispatcher.scheduler import EndpointKey
    from services.dispatcher.sender import HttpSender
    from services.runtime.applications import ApplicationTable
    from services.runtime.clock import Clock
    from services.runtime.journal import Journal
    from services.runtime.settings import Settings

log = structlog.get_logger(__name__)

UNKNOWN_APPLICATION_WAIT_MS = 3_000
"""An event may be quicker than the record of its application: so long it waits for it."""
SPILL_AFTER_MS = 2_000
"""A callback that is not done by then goes to the retry lane, so that no slow endpoint holds up the watermark."""

_events = msgspec.json.Decoder(EventRecord)


class Dispatcher:
    """Takes events of its partitions and sees to it that their callbacks are sent and what becomes of them is kept.

    An event's offset is completed when Kafka has what follows from it: the row of its delivery, or the record of the
    retry lane with which the callback goes on. So a crash at any point repeats a little and loses nothing.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        applications: ApplicationTable,
        journal: Journal,
        lane_reader: LaneReader,
        sender: HttpSender,
        monitor: Monitor,
        disabled: DisabledEndpoints,
        clock: Clock,
        partitions: int,
        on_progress: Callable[[], None],
        on_failure: Callable[[BaseException], None],
    ) -> None:
        """`partitions` is the number of those of topic `events`, whoever has them.

        `on_progress` is called when offsets were completed, `on_failure` with an error that nobody expected.
        """
        self._applications = applications
        self._lane_reader = lane_reader
        self._clock = clock
        self._on_failure = on_failure
        self._lane = RetryLane(journal, on_progress)
        self._disabled = disabled
        self._all_partitions = partitions
        self._own_partitions = 0
        self._circuits = Circuits(
            clock,
            failures=settings.callback_park_failures,
            failing_ms=round(settings.callback_park_after_s * 1000),
            first_pause_ms=round(settings.callback_probe_first_s * 1000),
            longest_pause_ms=round(settings.callback_probe_longest_s * 1000),
            on_change=monitor.changed,
        )
        self._occupancy = Occupancy(MAX_HELD, self._circuits.closed)
        self._scheduler = Scheduler(
            self._start,
            in_flight=settings.callback_in_flight,
            in_flight_per_endpoint=settings.callback_in_flight_per_endpoint,
            circuits=self._circuits,
            paces=Paces(clock, self._rate_of),
            clock=clock,
            ordered=self._is_ordered,
            hold_ms=round(settings.callback_order_wait_s * 1000),
            on_later=lambda at_ms: self._alarm.set(at_ms),
            next_turn=lambda go_on: asyncio.get_running_loop().call_soon(go_on),
        )
        self._alarm = Alarm(clock, self._scheduler.pump)
        self._timers = RetryTimers(clock, self._retry)
        self._courier = Courier(
            settings,
            applications=applications,
            journal=journal,
            lane=self._lane,
            sender=sender,
            monitor=monitor,
            disabled=disabled,
            clock=clock,
            on_landed=self._scheduler.finished,
            on_wait=self._wait,
            on_done=self._done,
        )
        self._patience = Patience(
            circuits=self._circuits,
            scheduler=self._scheduler,
            courier=self._courier,
            occupancy=self._occupancy,
            lane_reader=lane_reader,
            clock=clock,
            run=self._run,
            on_surplus=self._make_way,
        )
        self._waker = Waker(lane_reader=lane_reader, occupancy=self._occupancy, clock=clock, on_awake=self._awake)
        self._unrouted: list[Delivery] = []
        """First attempts of applications that are not known yet, in the order of their events."""

    def adopt(self, partition: Partition) -> None:
        """Go on with the callbacks that an earlier owner left in the retry lane."""
        self._patience.adopt(partition)
        for (sdk_app_id, group), found in partition.found_again.items():
            partition.dormant.add_all((sdk_app_id, self._url_of(sdk_app_id, group)), found)
        for (sdk_app_id, group), offsets in partition.found.items():
            key = (sdk_app_id, self._url_of(sdk_app_id, group))
            partition.overflow[key] = Backlog(sorted([*partition.overflow.get(key, ()), *offsets]))
            self._note_written(partition, offsets[-1])
        partition.found.clear()
        partition.found_again.clear()
        for sdk_app_id, group, room, delivery_id, since_ms in partition.holders:
            if self._is_ordered(sdk_app_id):
                key = (sdk_app_id, self._url_of(sdk_app_id, group))
                self._scheduler.hold(key, room, delivery_id, partition, since_ms)
        partition.holders.clear()

    def take(self, partition: Partition, records: list[ConsumerRecord[bytes, bytes]]) -> None:
        """Begin with the events of some records of a partition."""
        now_ms = self._clock()
        unreadable = [record.offset for record in records if not self._take(partition, record, now_ms)]
        if unreadable:
            log.error("events cannot be read", partition=partition.number, events=len(unreadable), first=unreadable[0])
            metrics.EVENTS.labels("unreadable").inc(len(unreadable))
        self._scheduler.pump()

    def _take(self, partition: Partition, record: ConsumerRecord[bytes, bytes], now_ms: int) -> bool:
        """Whether the record could be read."""
        unfinished = partition.tracker.take(record.offset)
        event = _read(record.value)
        if event is None:
            self._lane.complete(partition, record.offset)
            return False
        delivery = Delivery(event, partition, record.offset, record.timestamp, now_ms)
        repeated = partition.recent.seen(event_number(delivery.delivery_id), record.timestamp)
        if not unfinished:
            return True
        if is_replay(record.headers):
            # What is still under way needs no repetition.
            repeated = any(other.delivery_id == delivery.delivery_id for other in partition.pending.values())
        if repeated or delivery.delivery_id in partition.lane:
            metrics.EVENTS.labels("repeated").inc()
            self._lane.complete(partition, record.offset)
            return True
        metrics.EVENTS.labels("taken").inc()
        delivery.weight = weight_of(record.value)
        partition.pend(delivery)
        self._submit(delivery)
        return True

    def _submit(self, delivery: Delivery) -> None:
        """Queue a first attempt."""
        event = delivery.event
        if self._applications.get(event.sdk_app_id) is None:
            self._unrouted.append(delivery)
            return
        partition = delivery.partition
        key = (event.sdk_app_id, self._url_of(event.sdk_app_id, event.event_group_id))
        if not key[1]:
            metrics.EVENTS.labels("no-url").inc()
            self._run(partition, self._forget(delivery))
        elif self._is_disabled(key):
            self._route(delivery)
            self._end_disabled(delivery)
        elif not delivery.in_lane and (key in partition.overflow or not self._occupancy.room(key)):
            backlog = partition.overflow.setdefault(key, Backlog())
            backlog.writing += 1
            self._run(partition, self._overflow(delivery, backlog))
        else:
            self._route(delivery)
            self._scheduler.submit(delivery)

    def _wait(self, delivery: Delivery) -> None:
        """Let a callback wait for its next attempt: in memory where that is soon, or where the lane lacks something."""
        partition = delivery.partition
        known = delivery.lane_offset >= 0 and delivery.moving is None and not (delivery.owed or delivery.our_faults)
        if not known or delivery.due_ms - self._clock() < FAR_MS:
            self._timers.add(delivery)
            return
        entry = packed(delivery.due_ms, delivery.lane_offset)
        partition.dormant.add((delivery.event.sdk_app_id, delivery.url), entry)
        delivery.done = True
        partition.lane.pop(delivery.delivery_id, None)
        self._leave(delivery)

    def _awake(self, delivery: Delivery) -> None:
        """Wait in memory for an attempt that is near."""
        delivery.partition.lane[delivery.delivery_id] = delivery
        self._route(delivery)
        self._timers.add(delivery)

    def _retry(self, delivery: Delivery) -> None:
        """Queue a further attempt."""
        routed = self._route(delivery)
        if routed and self._is_disabled((delivery.event.sdk_app_id, delivery.url)):
            self._end_disabled(delivery)
        elif routed:
            self._scheduler.submit_retry(delivery)
            self._scheduler.pump()
        else:
            self._run(delivery.partition, self._courier.give_up(delivery, "no-url", "no URL is set any more"))

    def _route(self, delivery: Delivery) -> bool:
        """Let a callback go to its application's URL of today; whether there is one."""
        event = delivery.event
        url = self._url_of(event.sdk_app_id, event.event_group_id)
        delivery.url = url or delivery.url
        key = (event.sdk_app_id, delivery.url)
        if key != delivery.held_as:
            self._leave(delivery)
            self._occupancy.enter(key, delivery.weight)
            delivery.held_as = key
        return bool(url)

    def _rate_of(self, sdk_app_id: int) -> float:
        """Attempts a second that each endpoint of an application may have of this dispatcher, 0 where any number.

        All dispatchers together keep to the rate, each by its part of the partitions.
        """
        application = self._applications.get(sdk_app_id)
        if application is None or not application.callback.rate:
            return 0
        return application.callback.rate * max(1, self._own_partitions) / self._all_partitions

    def _is_ordered(self, sdk_app_id: int) -> bool:
        application = self._applications.get(sdk_app_id)
        return application is not None and application.callback.ordered

    def _is_disabled(self, key: EndpointKey) -> bool:
        application = self._applications.get(key[0])
        return application is not None and self._disabled.covers(application, key[1])

    def _end_disabled(self, delivery: Delivery) -> None:
        self._run(delivery.partition, self._courier.give_up(delivery, "disabled", "the endpoint said that it is gone"))

    def endpoint_disabled(self, key: EndpointKey) -> None:
        """End what waits for an endpoint that is disabled now."""
        if self._is_disabled(key):
            for delivery in self._scheduler.withdraw(key, lambda _: True):
                if not delivery.partition.draining:
                    self._end_disabled(delivery)

    def _done(self, delivery: Delivery) -> None:
        """Nothing is left to do for a callback."""
        self._leave(delivery)
        if self._scheduler.ended(delivery):
            self._scheduler.pump()

    def _leave(self, delivery: Delivery) -> None:
        """Give back a callback's room in memory."""
        if delivery.held_as is not None:
            self._occupancy.leave(delivery.held_as, delivery.weight)
            delivery.held_as = None

    def _url_of(self, sdk_app_id: int, group: int) -> str:
        application = self._applications.get(sdk_app_id)
        return application.callback.url_of(group) if application else ""

    async def _forget(self, delivery: Delivery) -> None:
        await self._lane.finish(delivery)
        self._leave(delivery)

    def _make_way(self, delivery: Delivery, key: EndpointKey) -> None:
        """Leave what waits in memory to the lane alone."""
        backlog = delivery.partition.overflow.setdefault(key, Backlog())
        if delivery.in_lane and delivery.lane_offset >= 0 and delivery.moving is None:
            self._left(delivery, backlog, delivery.lane_offset)
        else:
            backlog.writing += 1
            self._run(delivery.partition, self._overflow(delivery, backlog))

    async def _overflow(self, delivery: Delivery, backlog: Backlog) -> None:
        """Leave a callback to the lane alone."""
        try:
            offset = await self._lane.write(delivery)
        finally:
            backlog.writing -= 1
        partition = delivery.partition
        if partition.draining:
            return
        if offset is None:
            # The lane does not take it, however often: it goes on as if there were room.
            self._route(delivery)
            if delivery.attempts:
                self._scheduler.submit_retry(delivery)
            else:
                self._scheduler.submit(delivery)
            self._scheduler.pump()
            return
        self._left(delivery, backlog, offset)

    def _left(self, delivery: Delivery, backlog: Backlog, offset: int) -> None:
        """Forget a callback that the lane has at an offset."""
        partition = delivery.partition
        backlog.add(offset)
        self._note_written(partition, offset)
        delivery.done = True
        partition.lane.pop(delivery.delivery_id, None)
        self._lane.complete(partition, delivery.offset)
        self._leave(delivery)

    @staticmethod
    def _note_written(partition: Partition, offset: int) -> None:
        for marks in partition.marks.values():
            marks.note(offset)

    async def load(self, partitions: list[Partition]) -> None:
        """Fetch from the lane what there is room for again, and what has waited there for too long."""
        for partition in partitions:
            try:
                await self._patience.give_up_in_lane(partition)
            except KafkaError as error:
                log.warning("the retry lane cannot be read, trying again", error=repr(error))
            await self._waker.wake(partition)
            for key, backlog in list(partition.overflow.items()):
                room = self._occupancy.room(key)
                if partition.draining:
                    break
                if backlog.over:
                    del partition.overflow[key]
                elif len(backlog) and room >= min(len(backlog), self._occupancy.share(key) // 2):
                    try:
                        await self._load(partition, key, backlog.first(min(room, LOAD_AT_MOST)))
                    except KafkaError as error:
                        log.warning("the retry lane cannot be read, trying again", error=repr(error))
        self._scheduler.pump()

    async def _load(self, partition: Partition, key: EndpointKey, offsets: list[int]) -> None:
        values, covered = await self._lane_reader.read(partition.lane_number, offsets)
        if partition.draining:
            return
        now_ms = self._clock()
        loaded = [Delivery.in_the_lane(offset, value, partition, now_ms) for offset, value in values]
        partition.overflow[key].drop(covered)
        for delivery in sorted(loaded, key=lambda delivery: delivery.offset):
            if delivery.attempts:
                self._awake(delivery)
            else:
                partition.lane[delivery.delivery_id] = delivery
                self._submit(delivery)

    def application_changed(self, application: Application) -> None:
        """Send what waits for an application to the URLs that it has now."""
        self._circuits.application_changed(application.sdk_app_id, urls_of(application))
        first_attempts, self._unrouted = self._unrouted, []
        further_attempts: list[Delivery] = []
        for endpoint in list(self._scheduler.endpoints.values()):
            if endpoint.key[0] == application.sdk_app_id:
                endpoint.be_ordered(ordered=application.callback.ordered)
                endpoint.drain(first_attempts, further_attempts)
                self._scheduler.hasten(endpoint)
        for delivery in first_attempts:
            if not delivery.partition.draining:
                self._submit(delivery)
        for delivery in further_attempts:
            if not delivery.partition.draining:
                self._retry(delivery)
        self._scheduler.pump()

    def sweep(self, partitions: list[Partition]) -> None:
        """Move what takes long out of the way of the watermark; give up waiting for applications."""
        now_ms = self._clock()
        self._own_partitions = len(partitions)
        for partition in partitions:
            for delivery in partition.pending.values():
                if now_ms - delivery.taken_ms < SPILL_AFTER_MS:
                    break
                if delivery.moving is None:
                    self._run(partition, self._lane.hold(delivery))
        waiting, self._unrouted = self._unrouted, []
        strangers: set[int] = set()
        for delivery in waiting:
            if delivery.partition.closed:
                continue
            if now_ms - delivery.taken_ms < UNKNOWN_APPLICATION_WAIT_MS:
                self._unrouted.append(delivery)
                continue
            strangers.add(delivery.event.sdk_app_id)
            metrics.EVENTS.labels("unknown-application").inc()
            self._run(delivery.partition, self._forget(delivery))
        if strangers:
            log.warning("events of applications that do not exist", sdk_app_ids=sorted(strangers)[:10])
        self._circuits.settle()
        self._patience.sweep()
        metrics.PARKED.set(len(self._circuits.parked))
        metrics.IN_FLIGHT.set(self._scheduler.in_flight)
        metrics.HELD.set(self._occupancy.total)

    def release(self, partitions: list[Partition]) -> None:
        """Forget partitions that go to another dispatcher."""
        for partition in partitions:
            for delivery in (*partition.pending.values(), *partition.lane.values()):
                self._leave(delivery)
            partition.close()
            for task in partition.tasks:
                task.cancel()
        self._scheduler.forget_closed()
        self._scheduler.pump()

    def close(self) -> None:
        """Start nothing any more."""
        self._timers.close()
        self._alarm.close()

    def _start(self, delivery: Delivery, endpoint: Endpoint, retry: bool) -> None:
        self._run(delivery.partition, self._courier.attempt(delivery, endpoint, retry=retry))

    def _run(self, partition: Partition, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        partition.tasks.add(task)

        def done(task: asyncio.Task[None]) -> None:
            partition.tasks.discard(task)
            if not task.cancelled() and (error := task.exception()) is not None:
                self._on_failure(error)

        task.add_done_callback(done)


def urls_of(application: Application) -> set[str]:
    """The URLs that callbacks of an application go to."""
    callback = application.callback
    urls = callback.room_url, callback.media_url, callback.recording_url, callback.relay_url
    return {*urls, *callback.group_urls.values()}


def _read(value: bytes | None) -> EventRecord | None:
    """The event of a record, None where it is none."""
    try:
        return _events.decode(value or b"")
    except (ValueError, RecursionError):
        return None
