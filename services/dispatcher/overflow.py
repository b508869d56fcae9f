"""Callbacks for which memory has no room: they wait in the retry lane, and only their offsets in it are known."""

from __future__ import annotations

import time
from array import array
from bisect import bisect_left, bisect_right, insort
from collections import deque
from typing import TYPE_CHECKING, Self

from aiokafka import AIOKafkaConsumer, TopicPartition

from schemas.topics import RETRIES
from services.runtime.closing import close_soon

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from services.runtime.settings import Settings

LOAD_AT_MOST = 2_000
"""Callbacks that are fetched at once."""
LOAD_BYTES = 4 << 20
_MARKS_OF_A_SPAN = 60
_READ_AT_MOST_S = 5.0
_MAX_RECORDS = 500
_LEAP = 2_000
"""So many records that nobody asked for are read rather than leapt over, which costs a request of its own."""


class Backlog:
    """Callbacks of one endpoint that only the lane holds, in the order in which it got them: eight bytes each."""

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
        # Writes end in the order of their offsets, unless one had to be repeated.
        if self._offsets and offset < self._offsets[-1]:
            insort(self._offsets, offset)
        else:
            self._offsets.append(offset)

    def first(self, count: int) -> list[int]:
        """The oldest ones; they stay."""
        return self._offsets[:count].tolist()

    def up_to(self, offset: int) -> list[int]:
        """Those that the lane has at an offset or before; they stay."""
        return self._offsets[: bisect_right(self._offsets, offset)].tolist()

    def drop(self, count: int) -> None:
        """Forget the oldest ones."""
        del self._offsets[:count]


class Marks:
    """How far the lane had been written at which time, as finely as a span of time needs it."""

    def __init__(self, span_ms: int) -> None:
        self._step_ms = span_ms // _MARKS_OF_A_SPAN
        self._newest = -1
        self._marks: deque[tuple[int, int]] = deque(maxlen=2 * _MARKS_OF_A_SPAN)

    def note(self, offset: int) -> None:
        """The lane has a record at an offset."""
        self._newest = max(self._newest, offset)

    def tick(self, now_ms: int) -> None:
        """Set a mark where it is time for one and there is something new."""
        at_ms, offset = self._marks[-1] if self._marks else (now_ms - self._step_ms, -1)
        if self._newest > offset and now_ms - at_ms >= self._step_ms:
            self._marks.append((now_ms, self._newest))

    def before(self, moment_ms: int) -> int:
        """An offset so that it and those below had been written at a moment; -1 where none is known."""
        count = bisect_right(self._marks, moment_ms, key=lambda mark: mark[0])
        return self._marks[count - 1][1] if count else -1


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

    async def read(self, partition: int, offsets: list[int]) -> tuple[list[tuple[int, bytes]], int]:
        """Offsets and values of the records at some of these ascending offsets, and of how many, from the first on.

        It stops where it becomes too much at once. Raises `KafkaError`, and `LookupError` where one is missing.
        """
        tp = TopicPartition(RETRIES.name, partition)
        wanted = set(offsets)
        deadline = time.monotonic() + _READ_AT_MOST_S
        found: list[tuple[int, bytes]] = []
        size = 0
        self._consumer.assign([tp])
        self._consumer.seek(tp, offsets[0])
        try:
            position = offsets[0]
            while position <= offsets[-1] and size < LOAD_BYTES and time.monotonic() < deadline:
                for records in (await self._consumer.getmany(tp, timeout_ms=100, max_records=_MAX_RECORDS)).values():
                    for record in records:
                        if record.offset in wanted and record.value:
                            found.append((record.offset, record.value))
                            size += len(record.value)
                position = await self._consumer.position(tp)
                following = bisect_left(offsets, position)
                if following < len(offsets) and offsets[following] - position > _LEAP:
                    position = offsets[following]
                    self._consumer.seek(tp, position)
        finally:
            self._consumer.unsubscribe()
        covered = bisect_left(offsets, position)
        if len(found) != covered:
            raise LookupError(f"{covered - len(found)} callbacks are not where the retry lane had them")
        return found, covered
