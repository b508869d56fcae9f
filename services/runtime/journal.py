"""Writing to Kafka what must not be lost: a write returns when Kafka has it."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from copy import copy
from itertools import count
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError

from services.runtime.closing import close_soon

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from aiokafka.structs import RecordMetadata

    from schemas.topics import Topic
    from services.runtime.settings import Settings

log = structlog.get_logger(__name__)
_PAUSE_S = 1.0
_BATCH_BYTES = 256 * 1024
_USUAL_LIMIT = 1 << 20
"""Where Kafka does not tell."""
_OVERHEAD_BYTES = 512
"""What Kafka adds to a record's key and value, and more."""


ANYWHERE = -1
"""The partition of a record whose place does not matter."""


class Entry(NamedTuple):
    """One record to write; a value of None is a tombstone. No partition: the key decides."""

    topic: str
    key: bytes
    value: bytes | None
    partition: int | None = None


class _Queue(deque[tuple[Entry, "asyncio.Future[int]"]]):
    """Records for one partition, or for any of a topic, that are not on their way yet."""

    task: asyncio.Task[None] | None = None


class Journal:
    """An idempotent producer that tries again for as long as Kafka is away.

    While a batch of a partition is on its way, the next one fills: the busier it is, the less a record costs.
    """

    def __init__(self, settings: Settings, *, largest: int) -> None:
        """`largest`: see `largest_record`."""
        self._largest = largest
        self._producer = AIOKafkaProducer(
            bootstrap_servers=settings.kafka_bootstrap,
            acks="all",
            enable_idempotence=True,
            linger_ms=2,
            max_batch_size=min(_BATCH_BYTES, largest),
            max_request_size=largest + _OVERHEAD_BYTES,
        )
        self._warned = 0.0
        self._queues: dict[tuple[str, int], _Queue] = {}
        self._turn = count()

    async def __aenter__(self) -> Self:
        try:
            await self._producer.start()
        except BaseException:
            await self._producer.stop()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await close_soon(self._producer.stop())
        for queue in self._queues.values():
            if queue.task is not None:
                queue.task.cancel()

    async def partitions(self, topic: str) -> int:
        """How many partitions a topic has."""
        return len(await self._producer.partitions_for(topic))

    async def write(self, *entries: Entry) -> list[int]:
        """Write records in order and return their offsets when Kafka has them all.

        A record that is larger than Kafka allows is left out, its offset -1. Raises `KafkaError` only for what would
        fail again and again.
        """
        offsets = [-1] * len(entries)
        missing = list(range(len(entries)))
        while missing:
            sent = [(index, await self._send(entries[index])) for index in missing if self._fits(entries[index])]
            missing = []
            for index, future in sent:
                try:
                    if future is not None:
                        offsets[index] = await future
                        continue
                except KafkaError as error:
                    self._refused(error)
                missing.append(index)
            if missing:
                await asyncio.sleep(_PAUSE_S)
        return offsets

    def _fits(self, entry: Entry) -> bool:
        # Kafka must not be asked: after a refusal it would take nothing more of this producer.
        size = len(entry.key) + len(entry.value or b"")
        if size <= self._largest:
            return True
        log.error("a record is larger than Kafka allows", topic=entry.topic, bytes=size)
        return False

    async def _send(self, entry: Entry) -> Awaitable[int] | None:
        if entry.partition is not None:
            return self._queue(entry, entry.partition)
        try:
            sent = await self._producer.send(entry.topic, entry.value, key=entry.key)
        except KafkaError as error:
            self._refused(error)
            return None
        return _offset(sent)

    def _queue(self, entry: Entry, partition: int) -> asyncio.Future[int]:
        place = (entry.topic, partition)
        queue = self._queues.get(place)
        if queue is None:
            queue = self._queues[place] = _Queue()
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        queue.append((entry, future))
        if queue.task is None:
            queue.task = asyncio.create_task(self._empty(queue, *place))
        return future

    async def _empty(self, queue: _Queue, topic: str, partition: int) -> None:
        """Send batch after batch until nothing waits any more."""
        while queue:
            batch = self._producer.create_batch()
            waiting = []
            while queue:
                entry, future = queue[0]
                if batch.append(key=entry.key, value=entry.value, timestamp=None) is None:
                    break
                waiting.append(future)
                queue.popleft()
            # It is not to wait for more.
            batch.close()
            try:
                chosen = partition
                if partition == ANYWHERE:
                    chosen = next(self._turn) % await self.partitions(topic)
                sent = await self._producer.send_batch(batch, topic, partition=chosen)
                offset = (await sent).offset
            except Exception as error:
                for future in waiting:
                    if not future.done():
                        future.set_exception(copy(error))
            else:
                for number, future in enumerate(waiting, offset):
                    if not future.done():
                        future.set_result(number)
        queue.task = None

    def _refused(self, error: KafkaError) -> None:
        if not error.retriable:
            raise error
        # With Kafka away there may be thousands of them.
        if (now := time.monotonic()) - self._warned > _PAUSE_S:
            self._warned = now
            log.warning("Kafka does not take records, trying again", error=str(error))


async def _offset(sent: asyncio.Future[RecordMetadata]) -> int:
    return (await sent).offset


async def largest_record(settings: Settings, *topics: Topic) -> int:
    """How many bytes key and value of a record may have in all of these topics. Raises `KafkaError`."""
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap)
    try:
        await admin.start()
        responses: list[Any] = await admin.describe_configs(
            [ConfigResource(ConfigResourceType.TOPIC, topic.name) for topic in topics]
        )
    finally:
        await admin.close()
    limits = [
        int(entry[1])
        for response in responses
        for resource in response.resources
        for entry in resource[4]
        if entry[0] == "max.message.bytes"
    ]
    return min(limits, default=_USUAL_LIMIT) - _OVERHEAD_BYTES
