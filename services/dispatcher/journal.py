"""Writing to Kafka what must not be lost: a write returns when Kafka has it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple, Self

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

if TYPE_CHECKING:
    from services.runtime.settings import Settings

log = structlog.get_logger(__name__)
_PAUSE_S = 1.0
_CLOSE_WITHIN_S = 0.7


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

    async def __aenter__(self) -> Self:
        try:
            await self._producer.start()
        except BaseException:
            await self._producer.stop()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        # What is not acknowledged by now nobody waits for any more, and Kafka may be away.
        await asyncio.wait([asyncio.create_task(self._producer.stop())], timeout=_CLOSE_WITHIN_S)

    async def partitions(self, topic: str) -> int:
        """How many partitions a topic has."""
        return len(await self._producer.partitions_for(topic))

    async def write(self, *entries: Entry) -> None:
        """Write records in order and return when Kafka has them all.

        Raises `KafkaError` only for what would fail again and again.
        """
        waiting = list(entries)
        while waiting:
            missing = []
            for entry, sent in [(entry, await self._send(entry)) for entry in waiting]:
                try:
                    if sent is not None:
                        await sent
                        continue
                except KafkaError as error:
                    if not error.retriable:
                        raise
                    log.warning("Kafka did not take a record, trying again", topic=entry.topic, error=str(error))
                missing.append(entry)
            waiting = missing
            if waiting:
                await asyncio.sleep(_PAUSE_S)

    async def _send(self, entry: Entry) -> asyncio.Future[object] | None:
        try:
            sent: asyncio.Future[object] = await self._producer.send(
                entry.topic, entry.value, key=entry.key, partition=entry.partition
            )
        except KafkaError as error:
            if not error.retriable:
                raise
            log.warning("Kafka did not take a record, trying again", topic=entry.topic, error=str(error))
            return None
        return sent
