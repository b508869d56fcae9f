"""Following a compacted topic of one partition: what it says is known whole, and kept in step."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

if TYPE_CHECKING:
    from collections.abc import Callable

    from schemas.topics import Topic
    from services.runtime.settings import Settings

log = structlog.get_logger(__name__)
_PAUSE_S = 1
_POLL_MS = 250


class TopicFollower:
    """Reads a topic from its first record on, and goes on with what comes. A broker that goes away is waited for.

    `ready` turns true when the topic has been read to the end that it had at the start; until then what is not found
    may simply not have been read yet. After an interruption records come again, the first ones too.
    """

    def __init__(
        self,
        settings: Settings,
        topic: Topic,
        apply: Callable[[bytes], None],
        *,
        on_ready: Callable[[], None] = lambda: None,
    ) -> None:
        """`apply` is called with the value of each record, tombstones excepted."""
        self._settings = settings
        self._topic = topic
        self._apply = apply
        self._on_ready = on_ready
        self._ready = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def ready(self) -> bool:
        """Whether the topic has been read to its end once."""
        return self._ready.is_set()

    async def wait_ready(self) -> None:
        """Return when `ready`."""
        await self._ready.wait()

    async def start(self) -> None:
        """Begin to follow the topic."""
        self._task = asyncio.create_task(self._follow_for_ever(), name=f"topic {self._topic.name}")

    async def stop(self) -> None:
        """Stop following."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def read(self) -> None:
        """Read the topic to the end that it has now, instead of following it. Raises `KafkaError`."""
        await self._follow(once=True)

    async def _follow_for_ever(self) -> None:
        while True:
            try:
                await self._follow()
            except (KafkaError, OSError) as error:
                log.warning("topic out of reach, trying again", topic=self._topic.name, error=str(error))
                await asyncio.sleep(_PAUSE_S)

    async def _follow(self, *, once: bool = False) -> None:
        partition = TopicPartition(self._topic.name, 0)
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._settings.kafka_bootstrap,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            fetch_max_wait_ms=_POLL_MS,
        )
        try:
            await consumer.start()
            consumer.assign([partition])
            await consumer.seek_to_beginning(partition)
            end = (await consumer.end_offsets([partition]))[partition]
            while True:
                if not self.ready and await consumer.position(partition) >= end:
                    self._ready.set()
                    if once:
                        return
                    self._on_ready()
                for records in (await consumer.getmany(timeout_ms=_POLL_MS)).values():
                    for record in records:
                        if record.value is not None:
                            self._apply(record.value)
        finally:
            await consumer.stop()
