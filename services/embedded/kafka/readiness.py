"""When the broker is ready: for some seconds after its port opens, coordinators and replicas still answer errors."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, UnknownTopicOrPartitionError

if TYPE_CHECKING:
    from collections.abc import Iterator

_TOPIC = "roompulse-readiness"
_RECORD = b"ready?"


async def wait_ready(bootstrap: str, within_s: float) -> None:
    """Return when a record was produced and read by a member of a group. Raises `TimeoutError`."""
    with _quiet():
        async with asyncio.timeout(within_s):
            while True:
                try:
                    async with asyncio.timeout(15):
                        await _try_everything(bootstrap)
                        return
                except (KafkaError, OSError, TimeoutError):
                    await asyncio.sleep(0.1)


async def _try_everything(bootstrap: str) -> None:
    async with contextlib.AsyncExitStack() as stack:
        admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap, request_timeout_ms=5000)
        stack.push_async_callback(admin.close)
        await admin.start()
        with contextlib.suppress(TopicAlreadyExistsError):
            await admin.create_topics([NewTopic(_TOPIC, num_partitions=1, replication_factor=1)])
        consumer = AIOKafkaConsumer(
            _TOPIC, bootstrap_servers=bootstrap, group_id=_TOPIC, auto_offset_reset="earliest", enable_auto_commit=False
        )
        stack.push_async_callback(consumer.stop)
        producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", enable_idempotence=True)
        stack.push_async_callback(producer.stop)
        await producer.start()
        await producer.send_and_wait(_TOPIC, _RECORD)
        await consumer.start()
        await consumer.getone()
        await consumer.stop()
        with contextlib.suppress(UnknownTopicOrPartitionError):
            await admin.delete_topics([_TOPIC])


@contextmanager
def _quiet() -> Iterator[None]:
    """The client logs every failed attempt as an error; here they are expected."""
    logger = logging.getLogger("aiokafka")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
