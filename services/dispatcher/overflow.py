"""Callbacks for which memory has no room: they wait in the retry lane, and only their offsets in it are known."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Self

from aiokafka import AIOKafkaConsumer, TopicPartition

from schemas.topics import RETRIES
from services.dispatcher.closing import close_soon

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from services.runtime.settings import Settings

LOAD_AT_MOST = 2_000
"""Callbacks that are fetched at once."""


class Backlog:
    """First attempts of one endpoint that only the lane holds, in the order of their events: eight bytes each."""

    def __init__(self, offsets: Iterable[int] = ()) -> None:
        self._offsets = array("q", offsets)
        self.writing = 0
        """Callbacks on their way into the lane."""

    def __iter__(self) -> Iterator[int]:
        return iter(self._offsets)

    def __len__(self) -> int:
        return len(self._offsets)

    @property
    def over(self) -> bool:
        """Whether nothing is left, so that the endpoint's next event need not wait behind it."""
        return not self._offsets and not self.writing

    def add(self, offset: int) -> None:
        """The lane has another one."""
        self._offsets.append(offset)

    def first(self, count: int) -> list[int]:
        """The oldest ones; they stay."""
        return self._offsets[:count].tolist()

    def drop(self, count: int) -> None:
        """Forget the oldest ones."""
        del self._offsets[:count]


class LaneReader:
    """Fetches single records of the retry lane."""

    def __init__(self, settings: Settings) -> None:
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=settings.kafka_bootstrap,
            enable_auto_commit=False,
            auto_offset_reset="none",
            isolation_level="read_committed",
            fetch_max_wait_ms=100,
            max_partition_fetch_bytes=1 << 20,
        )

    async def __aenter__(self) -> Self:
        try:
            await self._consumer.start()
        except BaseException:
            await self._consumer.stop()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await close_soon(self._consumer.stop())

    async def read(self, partition: int, offsets: list[int]) -> list[bytes]:
        """The values of the records at these offsets, in the order of the lane; those that are gone are left out.

        Raises `KafkaError`.
        """
        tp = TopicPartition(RETRIES.name, partition)
        wanted = set(offsets)
        last = max(wanted)
        self._consumer.assign([tp])
        self._consumer.seek(tp, min(wanted))
        found: list[bytes] = []
        try:
            while await self._consumer.position(tp) <= last:
                for records in (await self._consumer.getmany(tp, timeout_ms=100, max_records=LOAD_AT_MOST)).values():
                    found += [record.value for record in records if record.offset in wanted and record.value]
        finally:
            self._consumer.unsubscribe()
        return found
