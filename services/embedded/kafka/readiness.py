"""When the broker is ready: for some seconds after its port opens, coordinators and replicas still answer errors."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from contextlib import AsyncExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.client import AIOKafkaClient, CoordinationType
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code
from aiokafka.protocol.admin import DeleteGroupsRequest

if TYPE_CHECKING:
    from collections.abc import Iterator

_NAME = "roompulse-readiness"
"""Of the topic and of the group, both of which are removed again."""
_ATTEMPT_S = 15.0


async def wait_ready(bootstrap: str, within_s: float) -> None:
    """Return when a record was produced and read by a member of a group. Raises `TimeoutError`."""
    with _quiet():
        async with asyncio.timeout(within_s):
            while True:
                with contextlib.suppress(KafkaError, OSError, TimeoutError):
                    async with asyncio.timeout(_ATTEMPT_S):
                        await _produce_and_consume(bootstrap)
                        await _remove_group(bootstrap)
                        return
                await asyncio.sleep(0.1)


async def _produce_and_consume(bootstrap: str) -> None:
    async with AsyncExitStack() as stack:
        admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap, request_timeout_ms=5000)
        stack.push_async_callback(admin.close)
        await admin.start()
        _check(await admin.create_topics([NewTopic(_NAME, num_partitions=1, replication_factor=1)]))
        producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", enable_idempotence=True)
        stack.push_async_callback(producer.stop)
        consumer = AIOKafkaConsumer(
            _NAME, bootstrap_servers=bootstrap, group_id=_NAME, auto_offset_reset="earliest", enable_auto_commit=False
        )
        stack.push_async_callback(consumer.stop)
        await producer.start()
        await producer.send_and_wait(_NAME, b"ready?")
        await consumer.start()
        await consumer.getone()
        await consumer.stop()
        _check(await admin.delete_topics([_NAME]))


async def _remove_group(bootstrap: str) -> None:
    client = AIOKafkaClient(bootstrap_servers=bootstrap)
    try:
        await client.bootstrap()
        node = await client.coordinator_lookup(CoordinationType.GROUP, _NAME)
        await client.ready(node)
        await client.send(node, DeleteGroupsRequest([_NAME]))
    finally:
        await client.close()


def _check(response: Any) -> None:
    """Raise what an answer about topics says, except that the topic of an earlier attempt is still there."""
    for _, code, *_ in getattr(response, "topic_errors", None) or response.topic_error_codes:
        error = for_code(code)
        if code and error is not TopicAlreadyExistsError:
            raise error


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
