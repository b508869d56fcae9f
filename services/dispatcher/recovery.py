"""What an earlier owner of partitions left in Kafka: committed offsets, waiting callbacks, recent events."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupLoadInProgressError
from msgspec import Struct

from schemas.deliveries import delivery_id
from schemas.topics import EVENTS, RETRIES
from services.dispatcher.dormant import packed
from services.dispatcher.recent import REMEMBERED_MS, RecentEvents
from services.dispatcher.tracker import OffsetTracker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from services.dispatcher.partition import Partition
    from services.runtime.clock import Clock
    from services.runtime.settings import Settings

log = structlog.get_logger(__name__)


class _Identity(Struct, rename="pascal"):
    """As much of an event as its memory needs."""

    sdk_app_id: int
    event_id: Annotated[str, msgspec.Meta(min_length=1)]


class _Event(Struct, rename="pascal"):
    sdk_app_id: int
    event_group_id: int
    room_id: str = ""
    task_id: str = ""


class _Waiting(Struct, rename="pascal"):
    """As much of a waiting callback as it takes to decide whether it comes into memory."""

    source_partition: int
    event: _Event
    attempts: int = 0
    first_attempt_ms: int = 0
    due_ms: int = 0


_identities = msgspec.json.Decoder(_Identity)
_waitings = msgspec.json.Decoder(_Waiting)


_ATTEMPTED = packed(1, 0)
_AT_A_TIME = 10_000
"""So many at a time, so that the group's heart goes on beating."""
_PLACE_BITS = 24
_PLACE_MASK = (1 << _PLACE_BITS) - 1


def event_number(delivery: str | bytes) -> int:
    """What stands for a delivery id in the memory of recent events."""
    return int(delivery[:16], 16)


async def recover(settings: Settings, group: str, partitions: Iterable[Partition], clock: Clock) -> dict[int, int]:
    """Fill the partitions' trackers, memories and lanes; the result is the offset from which each has to be read.

    Raises `KafkaError` when the broker is away.
    """
    by_number = {TopicPartition(EVENTS.name, partition.number): partition for partition in partitions}
    for partition in by_number.values():
        partition.recent = RecentEvents()
        partition.lane.clear()
        partition.found.clear()
        partition.found_again.clear()
        partition.holders.clear()
    commits = await committed(settings, group, list(by_number))
    reader = AIOKafkaConsumer(
        bootstrap_servers=settings.kafka_bootstrap,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        max_partition_fetch_bytes=4 << 20,
        fetch_max_wait_ms=100,
    )
    try:
        await reader.start()
        starts = await _starts(reader, by_number, commits)
        since = await _remember(reader, by_number, starts, clock)
        lately_ms = clock() - round(settings.callback_order_wait_s * 1000)
        await _read_lanes(reader, list(by_number.values()), since, lately_ms)
    finally:
        await reader.stop()
    return {partition.number: starts[tp] for tp, partition in by_number.items()}


async def committed(
    settings: Settings, group: str, partitions: list[TopicPartition]
) -> dict[TopicPartition, tuple[int, str]]:
    """Offset and metadata of the group's last commits. Raises `KafkaError` where they cannot be told at present."""
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap)
    try:
        await admin.start()
        offsets = await admin.list_consumer_group_offsets(group, partitions=partitions)
    finally:
        await admin.close()
    # A coordinator that is still loading answers with nothing at all, which must not be taken for a fresh group.
    if missing := set(partitions) - set(offsets):
        raise GroupLoadInProgressError(f"no answer for {len(missing)} partitions")
    return {tp: (entry.offset, entry.metadata or "") for tp, entry in offsets.items() if entry.offset >= 0}


async def _starts(
    reader: AIOKafkaConsumer,
    partitions: dict[TopicPartition, Partition],
    commits: dict[TopicPartition, tuple[int, str]],
) -> dict[TopicPartition, int]:
    beginnings = await reader.beginning_offsets(list(partitions))
    starts = {}
    for tp, partition in partitions.items():
        offset, metadata = commits.get(tp, (-1, ""))
        if offset < beginnings[tp]:
            if offset >= 0:
                log.error(
                    "events expired before they were called back", partition=tp.partition, lost=beginnings[tp] - offset
                )
            offset, metadata = beginnings[tp], ""
        partition.tracker = OffsetTracker(offset, metadata)
        starts[tp] = offset
    return starts


async def _remember(
    reader: AIOKafkaConsumer,
    partitions: dict[TopicPartition, Partition],
    starts: dict[TopicPartition, int],
    clock: Clock,
) -> int:
    """Read again what came within ten minutes before the first event that is to be called back.

    The result is the beginning of this time, in Unix milliseconds.
    """
    since = {}
    ends = await reader.end_offsets(list(partitions))
    for tp, start in starts.items():
        timestamp = clock()
        if start < ends[tp]:
            reader.assign([tp])
            reader.seek(tp, start)
            for records in (await reader.getmany(tp, timeout_ms=5000, max_records=1)).values():
                timestamp = records[0].timestamp
        since[tp] = max(0, timestamp - REMEMBERED_MS)
    reader.assign(list(partitions))
    found = await reader.offsets_for_times(since)
    targets = {}
    for tp, start in starts.items():
        entry = found.get(tp)
        first = start if entry is None else min(entry.offset, start)
        reader.seek(tp, first)
        targets[tp] = start

    def remember(tp: TopicPartition, record: Any) -> None:
        if record.offset < targets[tp]:
            try:
                identity = _identities.decode(record.value)
            except msgspec.DecodeError:
                return
            number = event_number(delivery_id(identity.sdk_app_id, identity.event_id))
            partitions[tp].recent.seen(number, record.timestamp)

    await _read_up_to(reader, targets, remember)
    return min(since.values())


async def _read_lanes(reader: AIOKafkaConsumer, partitions: list[Partition], since_ms: int, lately_ms: int) -> None:
    """Read the callbacks that wait. Of the records of one callback the last one counts.

    There may be a great many: only their offsets come into memory, with the due times of those that were attempted.
    """
    owners = {partition.number: partition for partition in partitions}
    lanes = [TopicPartition(RETRIES.name, number) for number in {partition.lane_number for partition in partitions}]
    reader.assign(lanes)
    await reader.seek_to_beginning(*lanes)
    targets = await reader.end_offsets(lanes)
    holders: dict[int, tuple[Partition, tuple[int, int, str, str, int]]] = {}
    waiting: dict[int, int] = {}
    """Due time (0 before the first attempt) and offset, together with an index into `places`."""
    places: dict[tuple[int, int, int], int] = {}

    def keep(_: TopicPartition, record: Any) -> None:
        name = int(record.key, 16)
        waiting.pop(name, None)
        holders.pop(name, None)
        if record.value is None:
            return
        found = _waitings.decode(record.value)
        owner = owners.get(found.source_partition)
        if owner is None:
            return
        # Its event may come once more, if the crash was before the commit.
        if record.timestamp >= since_ms:
            owner.recent.seen(event_number(record.key), record.timestamp)
        event = found.event
        place = places.setdefault((owner.number, event.sdk_app_id, event.event_group_id), len(places))
        due_ms = max(1, found.due_ms) if found.attempts else 0
        if found.attempts and found.first_attempt_ms > lately_ms:
            room = event.room_id or event.task_id
            delivery = record.key.decode()
            holders[name] = owner, (event.sdk_app_id, event.event_group_id, room, delivery, found.first_attempt_ms)
        waiting[name] = packed(due_ms, record.offset) << _PLACE_BITS | place

    await _read_up_to(reader, targets, keep)
    where = list(places)
    for number, entry in enumerate(waiting.values()):
        source, sdk_app_id, group = where[entry & _PLACE_MASK]
        found = entry >> _PLACE_BITS
        owner = owners[source]
        (owner.found if found < _ATTEMPTED else owner.found_again).setdefault((sdk_app_id, group), []).append(found)
        if number % _AT_A_TIME == 0:
            await asyncio.sleep(0)
    for owner, holder in holders.values():
        owner.holders.append(holder)
    for owner in partitions:
        for offsets in owner.found.values():
            offsets.sort()


async def _read_up_to(
    reader: AIOKafkaConsumer, targets: dict[TopicPartition, int], handle: Callable[[TopicPartition, Any], None]
) -> None:
    remaining = set(targets)
    while True:
        for tp in list(remaining):
            if await reader.position(tp) >= targets[tp]:
                remaining.discard(tp)
                reader.pause(tp)
        if not remaining:
            return
        for tp, records in (await reader.getmany(*remaining, timeout_ms=200, max_records=5000)).items():
            for record in records:
                handle(tp, record)
