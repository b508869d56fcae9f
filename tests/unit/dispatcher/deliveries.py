"""Partitions and deliveries for the unit tests of the dispatcher."""

from __future__ import annotations

from itertools import count

from msgspec import Raw

from schemas.events import EventRecord
from services.dispatcher.delivery import Delivery
from services.dispatcher.partition import Partition

_numbers = count()


def partition_of(number: int = 0) -> Partition:
    """A partition that is being worked on."""
    partition = Partition(number, number)
    partition.ready = True
    return partition


def delivery_of(
    room: str = "1",
    *,
    partition: Partition | None = None,
    url: str = "http://a.example/",
    app: int = 1,
    accepted_ms: int = 1_000_000,
    now_ms: int | None = None,
) -> Delivery:
    """A delivery of an event of its own, its number in `offset`."""
    number = next(_numbers)
    event = EventRecord(
        sdk_app_id=app,
        event_id=f"event-{number}",
        arrival_ms=accepted_ms,
        event_group_id=1,
        event_type=103,
        event_ms_ts=accepted_ms,
        room_id=room,
        event_info=Raw(b'{"RoomId":"1"}'),
    )
    delivery = Delivery(
        event, partition or partition_of(), number, accepted_ms, accepted_ms if now_ms is None else now_ms
    )
    delivery.url = url
    return delivery
