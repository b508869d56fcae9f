"""The dispatcher's share of topic `events`: joining the group, taking records, committing what is done, letting go."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Self

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError
from aiokafka.structs import OffsetAndMetadata

from schemas.topics import EVENTS
from services.dispatcher import metrics
from services.dispatcher.appetite import Appetite
from services.dispatcher.partition import Partition
from services.dispatcher.recovery import recover
from services.runtime.closing import CLOSE_WITHIN_S, close_soon

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from aiokafka import ConsumerRecord

    from services.runtime.clock import Clock
    from services.runtime.settings import Settings

log = structlog.get_logger(__name__)

GROUP = "dispatcher"
COMMIT_PAUSE_S = 0.001
"""Between two commits. What is completed in between is committed together."""
DRAIN_S = 2.0
"""How long attempts under way are waited for when a partition goes to another dispatcher."""
_MAX_RECORDS = 50
"""That are taken in one turn of the event loop."""
_TELL_S = 0.1


class EventConsumer(ConsumerRebalanceListener):
    """Partitions come and go; what was completed in them is committed a few milliseconds later.

    A partition that comes is read only after what its earlier owner left has been recovered. One that goes is drained
    within a bound, committed, and whatever ends later is ignored.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        lanes: int,
        instance: str,
        clock: Clock,
        on_adopt: Callable[[Partition], None],
        on_records: Callable[[Partition, list[ConsumerRecord[bytes, bytes]]], None],
        on_release: Callable[[list[Partition]], None],
        on_failure: Callable[[BaseException], None],
    ) -> None:
        """`on_adopt` is called with a partition whose lane has been read, `on_records` with what it brings.

        `on_release` is called with partitions that go, `on_failure` with an error that nobody expected.
        """
        self._settings = settings
        self._lanes = lanes
        self._clock = clock
        self._on_adopt = on_adopt
        self._on_records = on_records
        self._on_release = on_release
        self._on_failure = on_failure
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=settings.kafka_bootstrap,
            group_id=GROUP,
            group_instance_id=instance,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            session_timeout_ms=10_000,
            heartbeat_interval_ms=2_000,
            fetch_max_wait_ms=100,
            max_partition_fetch_bytes=1 << 20,
        )
        self._appetite = Appetite()
        self._taken = 0
        self._told_at = 0.0
        self._partitions: dict[int, Partition] = {}
        self._joined = False
        self._recoveries: set[asyncio.Task[None]] = set()
        self._progress = asyncio.Event()
        self._commit_lock = asyncio.Lock()

    async def __aenter__(self) -> Self:
        try:
            await self._consumer.start()
        except BaseException:
            await self._consumer.stop()
            raise
        self._consumer.subscribe([EVENTS.name], listener=self)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._let_go()
        await close_soon(self._consumer.stop())

    @property
    def partitions(self) -> list[Partition]:
        """The partitions of this dispatcher that are being worked on."""
        return [partition for partition in self._partitions.values() if partition.ready]

    @property
    def ready(self) -> bool:
        """Whether the group was joined and every partition of this dispatcher is recovered."""
        return self._joined and all(partition.ready for partition in self._partitions.values())

    def progress(self) -> None:
        """Note that offsets were completed."""
        self._progress.set()

    async def consume(self) -> None:
        """Take records for ever, as many as there is room for."""
        while True:
            weight = sum(partition.pending_weight for partition in self._partitions.values())
            pending = sum(len(partition.pending) for partition in self._partitions.values())
            room = self._appetite.limit(self._taken - pending) - weight
            self._tell(pending)
            if room <= 0:
                await asyncio.sleep(0.01)
                continue
            self._hold_full_partitions()
            batches = await self._consumer.getmany(timeout_ms=100, max_records=min(_MAX_RECORDS, room))
            for tp, records in batches.items():
                partition = self._partitions.get(tp.partition)
                # Until it is recovered, nothing counts: it is read again from where it has to be.
                if partition is not None and partition.ready:
                    self._taken += len(records)
                    self._on_records(partition, records)
            # What has been fetched is handed out without a pause, and others have to have their turn.
            await asyncio.sleep(0)

    async def commit(self) -> None:
        """Commit for ever what is completed."""
        while True:
            await self._progress.wait()
            self._progress.clear()
            try:
                await self._commit()
            except (CommitFailedError, IllegalStateError) as error:
                # The group is being shared out anew. What this dispatcher keeps is committed after that.
                log.info("commit not possible now", reason=str(error))
                await asyncio.sleep(0.2)
                self._progress.set()
            await asyncio.sleep(COMMIT_PAUSE_S)

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Let go of everything: the group shares all partitions out anew."""
        await self._let_go()

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Recover what was assigned, beside: the group's heart must go on beating."""
        self._joined = True
        partitions = [Partition(tp.partition, tp.partition % self._lanes) for tp in assigned]
        if partitions:
            self._consumer.pause(*(_tp(partition) for partition in partitions))
            self._partitions = {partition.number: partition for partition in partitions}
            task = asyncio.create_task(self._recover(partitions))
            self._recoveries.add(task)
            task.add_done_callback(self._recovered)

    def _recovered(self, task: asyncio.Task[None]) -> None:
        self._recoveries.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._on_failure(error)

    async def _recover(self, partitions: list[Partition]) -> None:
        while True:
            try:
                starts = await recover(self._settings, GROUP, partitions, self._clock)
                break
            except (KafkaError, OSError) as error:
                log.warning("partitions cannot be recovered yet, trying again", error=str(error))
                await asyncio.sleep(1)
        for partition in partitions:
            if not partition.closed:
                self._consumer.seek(_tp(partition), starts[partition.number])
                self._consumer.resume(_tp(partition))
                partition.ready = True
                self._on_adopt(partition)
        log.info("partitions recovered", partitions=sorted(starts), waiting=_waiting(partitions))

    async def _let_go(self) -> None:
        for task in self._recoveries:
            task.cancel()
        await asyncio.gather(*self._recoveries, return_exceptions=True)
        partitions = list(self._partitions.values())
        under_way = {task for partition in partitions for task in partition.tasks}
        for partition in partitions:
            partition.draining = True
        if under_way:
            await asyncio.wait(under_way, timeout=DRAIN_S)
        with contextlib.suppress(KafkaError, TimeoutError):
            await asyncio.wait_for(self._commit(), CLOSE_WITHIN_S)
        self._partitions = {}
        self._on_release(partitions)

    async def _commit(self) -> None:
        async with self._commit_lock:
            dirty = [partition for partition in self._partitions.values() if partition.ready and partition.dirty]
            offsets = {}
            for partition in dirty:
                partition.dirty = False
                offsets[_tp(partition)] = OffsetAndMetadata(partition.tracker.watermark, partition.tracker.metadata)
            if not offsets:
                return
            try:
                await self._consumer.commit(offsets)
            except BaseException:
                for partition in dirty:
                    partition.dirty = True
                raise

    def _tell(self, pending: int) -> None:
        if (now := time.monotonic()) - self._told_at >= _TELL_S:
            self._told_at = now
            metrics.PENDING.set(pending)
            metrics.WAITING.set(_waiting(self._partitions.values()))
            metrics.LAG.set(self._lag())

    def _hold_full_partitions(self) -> None:
        paused = self._consumer.paused()
        for partition in self._partitions.values():
            tp = _tp(partition)
            if not partition.ready:
                continue
            if partition.tracker.full:
                if tp not in paused:
                    self._consumer.pause(tp)
            elif tp in paused:
                self._consumer.resume(tp)

    def _lag(self) -> int:
        lag = 0
        for partition in self._partitions.values():
            end = self._consumer.highwater(_tp(partition))
            if end is not None and partition.ready:
                lag += max(0, end - partition.tracker.next_offset)
        return lag


def _tp(partition: Partition) -> TopicPartition:
    return TopicPartition(EVENTS.name, partition.number)


def _waiting(partitions: Iterable[Partition]) -> int:
    return sum(
        len(partition.lane) + len(partition.dormant) + sum(map(len, partition.overflow.values()))
        for partition in partitions
    )
