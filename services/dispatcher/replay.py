"""Dead letters: finding those that are wanted, and sending them once more.

A replay puts the event onto its topic again, marked so that the memory of recent events lets it pass. It is then a
callback like any other: a new `CallbackTs`, attempts by the application's schedule, the same `webhook-id`.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from msgspec import Struct

from schemas.keys import event_key
from schemas.retries import DeadLetter
from schemas.topics import DEAD_LETTERS, EVENTS

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable

    from services.runtime.settings import Settings

REPLAY_HEADER = "replay"
"""Header of events that are called back although they have been here before."""

_letters = msgspec.json.Decoder(DeadLetter)


class Wanted(Struct, frozen=True, kw_only=True):
    """Which dead letters are meant; what is empty narrows nothing down."""

    sdk_app_id: int
    delivery_ids: frozenset[str] = frozenset()
    since_ms: int = 0
    until_ms: int = 0
    """Given up in [since, until)."""
    reasons: frozenset[str] = frozenset()
    groups: frozenset[int] = frozenset()
    event_types: frozenset[int] = frozenset()
    rooms: frozenset[str] = frozenset()
    url: str = ""
    """How the URL began to which they were sent."""

    @property
    def everything(self) -> bool:
        """Whether nothing narrows the application's dead letters down."""
        return self == Wanted(sdk_app_id=self.sdk_app_id)

    def takes(self, letter: DeadLetter) -> bool:
        """Whether a dead letter is among them."""
        event = letter.callback.event
        return (
            event.sdk_app_id == self.sdk_app_id
            and (not self.delivery_ids or letter.callback.delivery_id in self.delivery_ids)
            and letter.given_up_ms >= self.since_ms
            and (not self.until_ms or letter.given_up_ms < self.until_ms)
            and (not self.reasons or letter.reason in self.reasons)
            and (not self.groups or event.event_group_id in self.groups)
            and (not self.event_types or event.event_type in self.event_types)
            and (not self.rooms or event.room_id in self.rooms)
            and letter.url.startswith(self.url)
        )


class Found(NamedTuple):
    """The first of the dead letters that are wanted, and how many there are in all."""

    letters: list[DeadLetter]
    total: int


async def find(settings: Settings, wanted: Wanted, *, limit: int) -> Found:
    """The dead letters that are wanted and were given up first. Raises `KafkaError`."""
    kept: list[DeadLetter] = []
    total = 0
    async with aclosing(_scan(settings, wanted)) as letters:
        async for letter in letters:
            total += 1
            kept.append(letter)
            if len(kept) > 2 * limit:
                kept = sorted(kept, key=_given_up)[:limit]
    return Found(sorted(kept, key=_given_up)[:limit], total)


def _given_up(letter: DeadLetter) -> tuple[int, int, int]:
    return letter.given_up_ms, letter.callback.accepted_ms, letter.callback.source_offset


async def _scan(settings: Settings, wanted: Wanted) -> AsyncGenerator[DeadLetter, None]:
    """The dead letters that are wanted as Kafka has them, a room's in the order in which they were given up.

    There may be millions: of those that were told of, only their ids are remembered, so that none comes twice.
    """
    partitions = await _partitions(settings)
    if not partitions:
        return
    told: set[bytes] = set()
    consumer = AIOKafkaConsumer(
        bootstrap_servers=settings.kafka_bootstrap, enable_auto_commit=False, isolation_level="read_committed"
    )
    try:
        await consumer.start()
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        starts = await consumer.offsets_for_times(dict.fromkeys(partitions, wanted.since_ms))
        for tp, start in starts.items():
            consumer.seek(tp, ends[tp] if start is None else start.offset)
        while behind := [tp for tp in partitions if await consumer.position(tp) < ends[tp]]:
            batch = await consumer.getmany(*behind, timeout_ms=200, max_records=1000)
            letters = [_letters.decode(record.value or b"") for records in batch.values() for record in records]
            for letter in sorted(filter(wanted.takes, letters), key=_given_up):
                name = letter.callback.delivery_id.encode()
                if name not in told:
                    told.add(name)
                    yield letter
    finally:
        await consumer.stop()


async def _partitions(settings: Settings) -> list[TopicPartition]:
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap)
    try:
        await admin.start()
        [topic] = await admin.describe_topics([DEAD_LETTERS.name])
    finally:
        await admin.close()
    return [TopicPartition(DEAD_LETTERS.name, partition["partition"]) for partition in topic["partitions"]]


async def replay(
    settings: Settings, wanted: Wanted, *, rate: float, on_sent: Callable[[DeadLetter], None] = lambda _: None
) -> int:
    """Send the callbacks that are wanted once more, at most `rate` of them a second; how many.

    Those that are given up while this goes on are not among them. Raises `KafkaError`.
    """
    producer = AIOKafkaProducer(bootstrap_servers=settings.kafka_bootstrap, acks="all", enable_idempotence=True)
    sent = 0
    try:
        await producer.start()
        async with aclosing(_scan(settings, wanted)) as letters:
            due = time.monotonic()
            async for letter in letters:
                await asyncio.sleep(due - time.monotonic())
                # What could not be sent in time is not made up for: nobody gets more than the rate.
                due = max(due, time.monotonic()) + 1 / rate
                event = letter.callback.event
                await producer.send_and_wait(
                    EVENTS.name,
                    key=event_key(event.sdk_app_id, event.room_id, event.task_id),
                    value=msgspec.json.encode(event),
                    headers=[(REPLAY_HEADER, b"")],
                )
                sent += 1
                on_sent(letter)
    finally:
        await producer.stop()
    return sent


def describe(letter: DeadLetter) -> dict[str, Any]:
    """A dead letter for programs."""
    event = letter.callback.event
    return {
        "DeliveryId": letter.callback.delivery_id,
        "GivenUpTime": letter.given_up_ms,
        "Reason": letter.reason,
        "Attempts": letter.callback.attempts,
        "Url": letter.url,
        "EventGroupId": event.event_group_id,
        "EventType": event.event_type,
        "EventMsTs": event.event_ms_ts,
        "RoomId": event.room_id or "",
        "UserId": event.user_id or "",
        "TaskId": event.task_id or "",
    }


def is_replay(headers: Iterable[tuple[str, bytes]]) -> bool:
    """Whether an event was put onto its topic again in order to be called back again."""
    return any(name == REPLAY_HEADER for name, _ in headers)
