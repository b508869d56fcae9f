"""How far a consumer group is behind."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

if TYPE_CHECKING:
    from collections.abc import Iterable


async def group_lag(bootstrap: str, group: str, topics: Iterable[str]) -> dict[str, int]:
    """By topic, the records that the group has not committed. The offsets are read before the ends of the topics."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap)
    await admin.start()
    await consumer.start()
    try:
        committed = await admin.list_consumer_group_offsets(group)
        lag = {}
        for described in await admin.describe_topics(list(topics)):
            topic = described["topic"]
            partitions = [TopicPartition(topic, entry["partition"]) for entry in described["partitions"]]
            ends = await consumer.end_offsets(partitions)
            done = {partition: committed[partition].offset for partition in partitions if partition in committed}
            lag[topic] = sum(end - max(0, done.get(partition, 0)) for partition, end in ends.items())
        return lag
    finally:
        await consumer.stop()
        await admin.close()


async def drained(bootstrap: str, group: str, topics: Iterable[str], *, within_s: float = 60.0) -> None:
    """Return when the group has committed everything. Raises `TimeoutError` with what is left."""
    names = list(topics)
    left: dict[str, int] = {}
    try:
        async with asyncio.timeout(within_s):
            while any((left := await group_lag(bootstrap, group, names)).values()):
                await asyncio.sleep(0.2)
    except TimeoutError as error:
        raise TimeoutError(f"group {group} is behind after {within_s} s: {left}") from error
