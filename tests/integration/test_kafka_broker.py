"""The embedded Kafka is a real broker that survives being killed, and says in one line what hinders it."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import uuid
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import MessageSizeTooLargeError

from services.embedded.kafka import prepare
from services.embedded.kafka.configuration import MESSAGE_MAX_BYTES
from services.runtime.settings import Settings
from tests.support.clickhouse import free_port
from tests.support.kafka import KafkaBroker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

NO_NETWORK = {"ROOMPULSE_MAVEN_REPOSITORY": "http://127.0.0.1:1", "HTTPS_PROXY": "http://127.0.0.1:1"}


@pytest.fixture(name="sturdy", scope="module")
def _sturdy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaBroker]:
    """A broker that tests kill and stop, in a folder with all that could be misread in a name."""
    broker = KafkaBroker(tmp_path_factory.mktemp("kafka") / "Räume & Gäste 100%d ${sys:x}")
    yield broker
    broker.stop()


@pytest.fixture(name="own_broker")
def _own_broker(sturdy: KafkaBroker) -> KafkaBroker:
    """That broker, running."""
    return sturdy if sturdy.process else sturdy.start()


@pytest.fixture(name="admin")
async def _admin(kafka: KafkaBroker) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    yield admin
    await admin.close()


async def test_waiting_for_readiness_leaves_nothing_behind(admin: AIOKafkaAdminClient) -> None:
    assert {topic for topic in await admin.list_topics() if not topic.startswith("__")} == set()
    assert await admin.list_consumer_groups() == []


async def test_a_group_shares_partitions_and_goes_on_after_its_commit(kafka: KafkaBroker) -> None:
    await make_topic(kafka, "shared", partitions=4)
    async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, acks="all", enable_idempotence=True) as producer:
        await asyncio.gather(*[await producer.send("shared", b"%d" % n, partition=n % 4) for n in range(1000)])

    def member() -> AIOKafkaConsumer:
        return AIOKafkaConsumer(
            "shared",
            bootstrap_servers=kafka.bootstrap,
            group_id="sharers",
            auto_offset_reset="earliest",
            enable_auto_commit=False,
        )

    async with member() as one, member() as other:
        while len(one.assignment()) != 2 or len(other.assignment()) != 2:
            await asyncio.sleep(0.1)
        ones, others = await asyncio.gather(read(one, 500), read(other, 500))
        assert Counter([*ones, *others]) == Counter({b"%d" % n: 1 for n in range(1000)})
        await one.commit()
        await other.commit()
    async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, acks="all") as producer:
        await producer.send_and_wait("shared", b"later", partition=3)
    async with member() as again:
        assert await read(again, 1) == [b"later"]


async def test_transactions_commit_records_with_offsets_and_abort_both(kafka: KafkaBroker) -> None:
    await make_topic(kafka, "transacted")
    source = TopicPartition("transacted-source", 0)
    await make_topic(kafka, source.topic)
    async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, transactional_id="mover") as producer:
        async with producer.transaction():
            await producer.send_and_wait("transacted", b"kept")
            await producer.send_offsets_to_transaction({source: 7}, "movers")
        await producer.begin_transaction()
        await producer.send_and_wait("transacted", b"dropped")
        await producer.send_offsets_to_transaction({source: 8}, "movers")
        await producer.abort_transaction()
        async with producer.transaction():
            await producer.send_and_wait("transacted", b"kept too")
    async with AIOKafkaConsumer(
        "transacted",
        bootstrap_servers=kafka.bootstrap,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
    ) as consumer:
        assert await read(consumer, 2) == [b"kept", b"kept too"]
    assert await committed(kafka, "movers", source) == 7


async def test_records_up_to_the_limit_pass(kafka: KafkaBroker) -> None:
    await make_topic(kafka, "large")
    async with AIOKafkaProducer(
        bootstrap_servers=kafka.bootstrap, acks="all", max_request_size=4 * MESSAGE_MAX_BYTES
    ) as producer:
        largest = os.urandom(MESSAGE_MAX_BYTES - 1024)
        await producer.send_and_wait("large", largest)
        with pytest.raises(MessageSizeTooLargeError):
            await producer.send_and_wait("large", bytes(MESSAGE_MAX_BYTES + 1))
    async with AIOKafkaConsumer("large", bootstrap_servers=kafka.bootstrap, auto_offset_reset="earliest") as consumer:
        assert await read(consumer, 1) == [largest]


@pytest.mark.parametrize("codec", ["gzip", "lz4", "snappy", "zstd"])
async def test_compressed_records_pass(kafka: KafkaBroker, codec: str) -> None:
    # The broker unpacks what it takes for a compacted topic, with libraries of machine code.
    if codec == "snappy":
        pytest.importorskip("cramjam", reason="no client of ours uses this codec")
    await make_topic(kafka, f"codec-{codec}", config={"cleanup.policy": "compact"})
    async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, compression_type=codec) as producer:
        await producer.send_and_wait(f"codec-{codec}", codec.encode() * 1000, key=b"k")
    async with AIOKafkaConsumer(
        f"codec-{codec}", bootstrap_servers=kafka.bootstrap, auto_offset_reset="earliest"
    ) as consumer:
        assert await read(consumer, 1) == [codec.encode() * 1000]


async def test_more_large_requests_at_once_than_it_has_memory_for_are_all_taken(kafka: KafkaBroker) -> None:
    await make_topic(kafka, "flood", partitions=4)
    assert kafka.process is not None
    process = psutil.Process(kafka.process.pid)
    record = os.urandom(MESSAGE_MAX_BYTES - 1024)

    async def send_two(partition: int) -> None:
        async with AIOKafkaProducer(
            bootstrap_servers=kafka.bootstrap, acks="all", max_request_size=2 * MESSAGE_MAX_BYTES
        ) as producer:
            for _ in range(2):
                await producer.send_and_wait("flood", record, partition=partition % 4)

    await asyncio.gather(*[send_two(number) for number in range(20)])
    assert process.memory_info().rss < 600 << 20


async def test_topics_are_not_made_by_asking_for_them(kafka: KafkaBroker, admin: AIOKafkaAdminClient) -> None:
    await admin.describe_topics(["asked-for"])
    assert "asked-for" not in await admin.list_topics()


async def test_killing_it_loses_nothing_and_doubles_nothing(own_broker: KafkaBroker) -> None:
    await make_topic(own_broker, "numbers", partitions=4)
    sender = Sender(own_broker, "numbers", partitions=4)
    async with sender.producer:
        for _ in range(2):
            sending = asyncio.create_task(sender.send_until_acknowledged(5_000))
            await sender.some_acknowledged(1_000)
            assert sender.outstanding
            assert not sending.done()
            own_broker.kill9()
            own_broker.start()
            await sending
    assert not sender.outstanding
    async with AIOKafkaConsumer(
        "numbers", bootstrap_servers=own_broker.bootstrap, auto_offset_reset="earliest"
    ) as consumer:
        partitions = [TopicPartition("numbers", n) for n in range(4)]
        ends = await consumer.end_offsets(partitions)
        there = Counter(await read(consumer, sum(ends.values())))
    assert len(sender.acknowledged) >= 10_000
    assert sender.acknowledged - there.keys() == set()
    assert [number for number, times in there.items() if times > 1] == []


async def test_killing_it_keeps_offsets_and_committed_transactions(own_broker: KafkaBroker) -> None:
    await make_topic(own_broker, "money")
    partition = TopicPartition("money", 0)
    async with AIOKafkaProducer(bootstrap_servers=own_broker.bootstrap, transactional_id="cashier") as producer:
        async with producer.transaction():
            await producer.send_and_wait("money", b"paid")
            await producer.send_offsets_to_transaction({partition: 41}, "cashiers")
        await producer.begin_transaction()
        await producer.send_and_wait("money", b"not yet")
        own_broker.kill9()
        own_broker.start()
        await producer.abort_transaction()
    assert await committed(own_broker, "cashiers", partition) == 41
    async with (
        AIOKafkaProducer(bootstrap_servers=own_broker.bootstrap, transactional_id="cashier") as producer,
        producer.transaction(),
    ):
        await producer.send_and_wait("money", b"paid again")
    async with AIOKafkaConsumer(
        "money",
        bootstrap_servers=own_broker.bootstrap,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
    ) as consumer:
        assert await read(consumer, 2) == [b"paid", b"paid again"]


async def test_stopping_is_clean_and_a_second_start_formats_nothing_and_needs_no_network(
    own_broker: KafkaBroker,
) -> None:
    await make_topic(own_broker, "kept")
    async with AIOKafkaProducer(bootstrap_servers=own_broker.bootstrap) as producer:
        await producer.send_and_wait("kept", b"here")
    log = own_broker.data / "kafka/kafka.log"
    said_before = len(log.read_text())
    identity = (own_broker.data / "kafka/log/meta.properties").read_text()
    # 128 and the number of SIGTERM: Java ran its shutdown hooks.
    assert own_broker.stop() == 128 + signal.SIGTERM
    with KafkaBroker(own_broker.data, own_broker.port, environment=NO_NETWORK):
        assert (own_broker.data / "kafka/log/meta.properties").read_text() == identity
        async with AIOKafkaConsumer(
            "kept", bootstrap_servers=own_broker.bootstrap, auto_offset_reset="earliest"
        ) as consumer:
            assert await read(consumer, 1) == [b"here"]
    said = log.read_text()[said_before:]
    assert "since clean shutdown file was found" in said
    assert [line for line in said.splitlines() if " INFO " not in line] == []
    assert len(said.splitlines()) < 20


def test_a_cluster_id_may_begin_with_a_hyphen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uuid, "uuid4", lambda: uuid.UUID(bytes=b"\xf8" * 16))
    prepare(Settings(data=tmp_path, kafka_bootstrap=f"127.0.0.1:{free_port()}"))
    (written,) = tmp_path.rglob("meta.properties")
    assert "cluster.id=-Pj4" in written.read_text()


def test_a_port_in_use_is_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert refusal(KafkaBroker(tmp_path, port)) == (
            f"kafka: Kafka cannot listen on 127.0.0.1:{port}: Address already in use. "
            "Stop what uses the port, or choose another with ROOMPULSE_KAFKA_BOOTSTRAP\n"
        )


def test_a_data_folder_in_use_is_one_line(kafka: KafkaBroker) -> None:
    before = (kafka.data / "kafka/server.properties").read_text()
    assert refusal(KafkaBroker(kafka.data)) == f"kafka: another Kafka runs on the data folder {kafka.data / 'kafka'}\n"
    assert (kafka.data / "kafka/server.properties").read_text() == before


def test_what_ends_java_is_one_line_too(tmp_path: Path) -> None:
    broker = KafkaBroker(tmp_path)
    prepare(Settings(data=tmp_path, kafka_bootstrap=broker.bootstrap))
    (tmp_path / "kafka/log/meta.properties").write_text("version=1\nnode.id=7\ncluster.id=another\n")
    line = refusal(broker)
    assert line.count("\n") == 1
    assert "Stored node id 7 doesn't match previous node id 1" in line
    assert str(tmp_path / "kafka/kafka.log") in line


def test_waiting_for_a_broker_that_ends_is_over_at_once(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        broker = KafkaBroker(tmp_path, other.getsockname()[1])
        with pytest.raises(RuntimeError, match="ended with status 1"):
            broker.start()


class Sender:
    """Sends numbers to the partitions of a topic in turn, and knows which of them the broker has acknowledged."""

    def __init__(self, broker: KafkaBroker, topic: str, partitions: int) -> None:
        self.producer = AIOKafkaProducer(
            bootstrap_servers=broker.bootstrap,
            acks="all",
            enable_idempotence=True,
            linger_ms=1,
            request_timeout_ms=120_000,
        )
        self.acknowledged: set[bytes] = set()
        self.outstanding = 0
        self._topic = topic
        self._partitions = partitions
        self._count = 0

    async def send_until_acknowledged(self, more: int) -> None:
        """Send until so many more are acknowledged, and wait for those that were sent meanwhile."""
        enough = len(self.acknowledged) + more
        while len(self.acknowledged) < enough:
            number = b"%d" % self._count
            future = await self.producer.send(self._topic, number, partition=self._count % self._partitions)
            self.outstanding += 1
            self._count += 1
            future.add_done_callback(partial(self._settle, number))
            if self._count % 50 == 0:
                await asyncio.sleep(0)
        await self.producer.flush()

    async def some_acknowledged(self, more: int) -> None:
        """Return in the middle of the sending."""
        enough = len(self.acknowledged) + more
        while len(self.acknowledged) < enough:
            await asyncio.sleep(0.001)

    def _settle(self, number: bytes, future: asyncio.Future[object]) -> None:
        self.outstanding -= 1
        if not future.cancelled() and future.exception() is None:
            self.acknowledged.add(number)


def refusal(broker: KafkaBroker) -> str:
    """What a broker that cannot start says."""
    process = broker.launch(stderr=subprocess.PIPE)
    try:
        _, said = process.communicate(timeout=60)
    finally:
        broker.kill9()
    assert process.returncode == 1
    return said.decode()


async def make_topic(
    broker: KafkaBroker, name: str, *, partitions: int = 1, config: dict[str, str] | None = None
) -> None:
    """Create a topic."""
    admin = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap)
    await admin.start()
    try:
        answer: Any = await admin.create_topics(
            [NewTopic(name, num_partitions=partitions, replication_factor=1, topic_configs=config)]
        )
        assert [error[1] for error in answer.topic_errors] == [0]
    finally:
        await admin.close()


async def read(consumer: AIOKafkaConsumer, count: int) -> list[bytes]:
    """The next records' values, exactly as many."""
    return [(await asyncio.wait_for(consumer.getone(), 60)).value or b"" for _ in range(count)]


async def committed(broker: KafkaBroker, group: str, partition: TopicPartition) -> int | None:
    """A group's offset."""
    async with AIOKafkaConsumer(bootstrap_servers=broker.bootstrap, group_id=group) as consumer:
        consumer.assign([partition])
        offset: int | None = await consumer.committed(partition)
        return offset
