"""What a write to Kafka promises: order, offsets, and that Kafka has the records when it returns."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from schemas.topics import DELIVERIES, RETRIES
from services.runtime.journal import ANYWHERE, Entry, Journal, largest_record

if TYPE_CHECKING:
    from services.runtime.settings import Settings
    from tests.support.kafka import KafkaBroker


async def records_of(settings: Settings, topic: str) -> dict[tuple[int, int], tuple[Any, Any]]:
    """Keys and values by partition and offset."""
    consumer = AIOKafkaConsumer(bootstrap_servers=settings.kafka_bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    try:
        partitions = [TopicPartition(topic, number) for number in range(settings.kafka_partitions)]
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        found = {}
        while any([await consumer.position(partition) < end for partition, end in ends.items()]):
            for partition, records in (await consumer.getmany(timeout_ms=100)).items():
                found.update({(partition.partition, record.offset): (record.key, record.value) for record in records})
        return found
    finally:
        await consumer.stop()


async def test_each_record_gets_its_offset_and_a_partition_its_order(settings: Settings) -> None:
    largest = await largest_record(settings, RETRIES)
    async with Journal(settings, largest=largest) as journal:

        async def write(number: int) -> tuple[int, list[int]]:
            partition = number % settings.kafka_partitions
            name = b"%d" % number
            large = b"x" * (largest if number % 500 == 0 else largest // 20 if number % 50 == 0 else 10)
            return partition, await journal.write(
                Entry(RETRIES.name, name, b"first", partition),
                Entry(RETRIES.name, name, large, partition),
                Entry(RETRIES.name, name, b"last", partition),
                Entry(DELIVERIES.name, name, b"anywhere", ANYWHERE),
                Entry(DELIVERIES.name, b"one key", name),
            )

        written = await asyncio.gather(*(write(number) for number in range(1_001)))
    lane, deliveries = await records_of(settings, RETRIES.name), await records_of(settings, DELIVERIES.name)
    for number, (partition, (first, large, last, _, _)) in enumerate(written):
        name = b"%d" % number
        assert lane[partition, first] == (name, b"first")
        assert lane[partition, last] == (name, b"last")
        if number % 500 == 0:
            # With its key it is larger than Kafka allows.
            assert large == -1
            assert first < last
        else:
            assert lane[partition, large][0] == name
            assert first < large < last
    anywhere = {key for key, value in deliveries.values() if value == b"anywhere"}
    assert anywhere == {b"%d" % number for number in range(1_001)}
    assert len({partition for (partition, _), (key, _) in deliveries.items() if key == b"one key"}) == 1
    offsets = [offsets[-1] for _, offsets in written]
    assert offsets == sorted(offsets)


async def test_killed_in_between_kafka_has_everything_in_order(settings: Settings, kafka: KafkaBroker) -> None:
    before = len(await records_of(settings, RETRIES.name))
    async with Journal(settings, largest=1 << 20) as journal:
        done = 0

        async def write(number: int) -> int:
            nonlocal done
            (offset,) = await journal.write(Entry(RETRIES.name, b"k", b"%d" % number, 1))
            done += 1
            return offset

        writes = []
        for number in range(2_000):
            writes.append(asyncio.create_task(write(number)))
            await asyncio.sleep(0.0005)
            if number == 1_000:
                # Whoever stops waiting takes nothing from the others of its batch.
                writes[-1].cancel()
                await asyncio.to_thread(kafka.kill9)
        assert done < len(writes) - 1
        await asyncio.to_thread(kafka.start)
        offsets = [await write for number, write in enumerate(writes) if number != 1_000]
    assert offsets == sorted(offsets)
    found = await records_of(settings, RETRIES.name)
    numbers = [int(found[1, offset][1]) for offset in offsets]
    assert numbers == [number for number in range(2_000) if number != 1_000]
    assert len(found) - before in (1_999, 2_000)
