"""Writing to Kafka what must not be lost: a write returns when Kafka has it."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, NamedTuple, Self

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from services.dispatcher.closing import close_soon

if TYPE_CHECKING:
    from aiokafka.structs import RecordMetadata

    from services.runtime.settings import Settings

log = structlog.get_logger(__name__)
_PAUSE_S = 1.0


class Entry(NamedTuple):
    """One record to write; a value of None is a tombstone."""

    topic: str
    key: bytes
    value: bytes | None
    partition: int | None = None


class Journal:
    """An idempotent producer that tries again for as long as Kafka is away."""

    def __init__(self, settings: Settings) -> None:
        self._producer = AIOKafkaProducer(
            bootstrap_servers=settings.kafka_bootstrap,
            acks="all",
            enable_idempotence=True,
            linger_ms=2,
            max_batch_size=256 * 1024,
            max_request_size=2 << 20,
        )
        self._warned = 0.0

    async def __aenter__(self) -> Self:
        try:
            await self._producer.start()
        except BaseException:
            await self._producer.stop()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await close_soon(self._producer.stop())

    async def partitions(self, topic: str) -> int:
        """How many partitions a topic has."""
        return len(await self._producer.partitions_for(topic))

    async def write(self, *entries: Entry) -> list[int]:
        """Write records in order and return their offsets when Kafka has them all.

        Raises `KafkaError` only for what would fail again and again.
        """
        offsets = [-1] * len(entries)
        missing = list(range(len(entries)))
        while missing:
            sent = [(index, await self._send(entries[index])) for index in missing]
            missing = []
            for index, future in sent:
                try:
                    if future is not None:
                        offsets[index] = (await future).offset
                        continue
                except KafkaError as error:
                    self._refused(entries[index], error)
                missing.append(index)
            if missing:
                await asyncio.sleep(_PAUSE_S)
        return offsets

    async def _send(self, entry: Entry) -> asyncio.Future[RecordMetadata] | None:
        try:
            sent: asyncio.Future[RecordMetadata] = await self._producer.send(
                entry.topic, entry.value, key=entry.key, partition=entry.partition
            )
        except KafkaError as error:
            self._refused(entry, error)
            return None
        return sent

    def _refused(self, entry: Entry, error: KafkaError) -> None:
        if not error.retriable:
            raise error
        # With Kafka away there may be thousands of them.
        if (now := time.monotonic()) - self._warned > _PAUSE_S:
            self._warned = now
            log.warning("Kafka did not take a record, trying again", topic=entry.topic, error=str(error))
