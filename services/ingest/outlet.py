"""The way to Kafka: one idempotent producer, made anew when it is broken, and a bound on what waits for it."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError, ProducerClosed

from schemas.topics import QUALITY
from services.ingest import metrics
from services.ingest.refusals import unavailable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.ingest.items import Record
    from services.runtime.settings import Settings

log = structlog.get_logger(__name__)
_PAUSE_S = 0.5
_LOOK_EVERY_S = 1.0
_STUCK_AFTER_S = 30.0
_REQUEST_TIMEOUT_MS = 10_000
_CLOSE_WITHIN_S = 0.5


class Budget:
    """Bytes that may wait for Kafka, whoever waits for them."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.used = 0
        metrics.WAITING_BYTES.set_function(lambda: self.used)

    def take(self, size: int) -> None:
        """Raises `Refusal` (503) where there is no room."""
        if self.used + size > self._limit:
            raise unavailable("Kafka does not keep up, too much waits for it already (ingest_waiting_bytes)")
        self.used += size

    def give(self, size: int) -> None:
        """Bytes that do not wait any more."""
        self.used -= size


class Outlet:
    """Sends records in order. What a broken producer held fails with `KafkaError` and may be sent again."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._producer: AIOKafkaProducer | None = None
        self._broken = asyncio.Event()
        self._reachable = False
        self._outstanding = 0
        self._progress_at = 0.0
        self._acknowledged_at = 0.0
        self._task: asyncio.Task[None] | None = None
        self._deliveries: set[asyncio.Task[None]] = set()
        self.quality_partitions = 0

    @property
    def ready(self) -> bool:
        """Whether Kafka answered lately."""
        return self._producer is not None and self._reachable

    def start(self) -> None:
        """Begin to look for Kafka."""
        self._task = asyncio.create_task(self._keep_a_producer(), name="Kafka producer")

    async def drain(self, within_s: float) -> None:
        """Wait until Kafka has what was sent, but not for ever."""
        if self._deliveries:
            await asyncio.wait(self._deliveries, timeout=within_s)

    async def stop(self) -> None:
        """Give up what is not acknowledged by now, and let Kafka go."""
        for delivery in self._deliveries:
            delivery.cancel()
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def send(self, records: Sequence[Record]) -> asyncio.Task[None]:
        """Begin to send records of one origin in their order; the task ends when Kafka has all of them.

        Cancelling the task does not take back what is under way. Raises `Refusal` (503) where no producer is there.
        """
        producer = self._producer
        if producer is None:
            raise unavailable("Kafka is out of reach")
        task = asyncio.create_task(self._deliver(producer, records))
        self._deliveries.add(task)
        task.add_done_callback(self._delivered)
        return task

    async def _deliver(self, producer: AIOKafkaProducer, records: Sequence[Record]) -> None:
        if not self._outstanding:
            self._progress_at = asyncio.get_running_loop().time()
        self._outstanding += 1
        try:
            sent = [
                await producer.send(record.topic, record.value, key=record.key, partition=record.partition)
                for record in records
            ]
            failure: BaseException | None = None
            for record, future in zip(records, sent, strict=True):
                try:
                    await future
                except KafkaError as error:
                    failure = error
                    metrics.FAILED_RECORDS.labels(record.topic).inc()
                else:
                    self._progress_at = self._acknowledged_at = asyncio.get_running_loop().time()
                    if producer is self._producer:
                        self._found(reachable=True)
                    metrics.RECORDS.labels(record.topic).inc()
                    metrics.RECORD_BYTES.labels(record.topic).inc(len(record.value))
            if failure is not None:
                raise failure
        except Exception as error:
            self._judge(producer, error)
            raise
        finally:
            self._outstanding -= 1

    def _judge(self, producer: AIOKafkaProducer, error: Exception) -> None:
        """An idempotent producer whose record failed for good has a hole in its sequence and never recovers."""
        passing = isinstance(error, KafkaError) and (error.retriable or isinstance(error, MessageSizeTooLargeError))
        if producer is self._producer and not passing:
            log.warning("the Kafka producer broke, making another", error=repr(error))
            self._producer = None
            self._broken.set()

    def _delivered(self, task: asyncio.Task[None]) -> None:
        self._deliveries.discard(task)
        if not task.cancelled():
            task.exception()

    async def _keep_a_producer(self) -> None:
        while True:
            self._broken.clear()
            producer = self._make()
            try:
                await producer.start()
                self.quality_partitions = len(await producer.partitions_for(QUALITY.name))
                metrics.PRODUCERS.inc()
                self._producer, self._reachable = producer, True
                self._progress_at = asyncio.get_running_loop().time()
                log.info("connected to Kafka", bootstrap=self._settings.kafka_bootstrap)
                await self._watch(producer)
            except (KafkaError, OSError) as error:
                log.warning("waiting for Kafka", bootstrap=self._settings.kafka_bootstrap, error=str(error))
            except Exception:
                log.exception("the Kafka producer failed, making another")
            finally:
                self._producer, self._reachable = None, False
                await _close(producer)
            await asyncio.sleep(_PAUSE_S)

    async def _watch(self, producer: AIOKafkaProducer) -> None:
        """Return when the producer is of no use any more."""
        loop = asyncio.get_running_loop()
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._broken.wait(), _LOOK_EVERY_S)
                return
            began = loop.time()
            answered = await self._look(producer)
            # What Kafka acknowledged meanwhile says more than a question that it was asked before.
            self._found(reachable=answered or self._acknowledged_at > began)
            stuck_s = loop.time() - self._progress_at
            if self._reachable and self._outstanding and stuck_s > _STUCK_AFTER_S:
                log.warning("Kafka acknowledges nothing, making another producer", seconds=round(stuck_s))
                return

    def _found(self, *, reachable: bool) -> None:
        if reachable is not self._reachable:
            log.warning("Kafka is back" if reachable else "Kafka is out of reach")
            self._reachable = reachable

    async def _look(self, producer: AIOKafkaProducer) -> bool:
        try:
            found = await asyncio.wait_for(producer.client.force_metadata_update(), _LOOK_EVERY_S * 2)
            if found:
                self.quality_partitions = len(await producer.partitions_for(QUALITY.name))
        except (KafkaError, OSError, TimeoutError):
            return False
        return bool(found)

    def _make(self) -> AIOKafkaProducer:
        return AIOKafkaProducer(
            bootstrap_servers=self._settings.kafka_bootstrap,
            acks="all",
            enable_idempotence=True,
            compression_type="lz4",
            max_batch_size=512 * 1024,
            max_request_size=2 * self._settings.ingest_max_record_bytes + self._settings.ingest_batch_bytes,
            request_timeout_ms=_REQUEST_TIMEOUT_MS,
        )


async def _close(producer: AIOKafkaProducer) -> None:
    """Let a producer go, with what it still holds when Kafka does not take it at once."""
    closing = asyncio.ensure_future(producer.stop())
    done, _ = await asyncio.wait([closing], timeout=_CLOSE_WITHIN_S)
    if not done:
        # An idempotent producer tries for ever; nothing public ends it.
        producer._message_accumulator.fail_all(ProducerClosed())
        sender = producer._sender.sender_task
        if sender is not None:
            sender.cancel()
        done, _ = await asyncio.wait([closing], timeout=_CLOSE_WITHIN_S)
        if not done:
            closing.cancel()
            await producer.client.close()
    with contextlib.suppress(asyncio.CancelledError, Exception):
        await closing
