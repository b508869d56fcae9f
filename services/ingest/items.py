"""Events and task intervals: from a posted object or list to the records that go to Kafka."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import msgspec
from msgspec import Raw

from schemas.answers import Rejection
from schemas.events import InvalidEvent, read_event
from schemas.keys import event_key
from schemas.tasks import read_task
from schemas.topics import EVENTS, TASKS
from services.ingest.bodies import shape_problem
from services.ingest.decoding import InvalidItem, check_time, decode_whole, reason_of, repaired
from services.ingest.refusals import Refusal

if TYPE_CHECKING:
    from services.ingest.bodies import Limits

ReadItem = Callable[[int, Raw, int], "Record"]
"""Turns one item of an application into a record, at its arrival. Raises `InvalidItem`."""
_encoder = msgspec.json.Encoder()
_lists = msgspec.json.Decoder(list[Raw])


class Record(NamedTuple):
    """One record on its way to Kafka."""

    topic: str
    value: bytes
    key: bytes | None = None
    partition: int | None = None


def read_items(
    body: bytes, read: ReadItem, sdk_app_id: int, arrival_ms: int, limits: Limits
) -> tuple[list[Record], list[Rejection]]:
    """The records of the good items and what is wrong with the others.

    Raises `Refusal` where the body as a whole cannot be used.
    """
    body = repaired(body)
    items = decode_whole(body, _lists) if body.lstrip()[:1] == b"[" else [Raw(body)]
    if not items:
        raise Refusal(422, "NoItems", "the list is empty")
    if len(items) > limits.items:
        raise Refusal(413, "TooManyItems", f"{len(items)} items, at most {limits.items} are allowed (ingest_max_items)")
    suspicious = shape_problem(body, limits) is not None
    records, rejected = [], []
    for index, item in enumerate(items):
        try:
            problem = shape_problem(item, limits) if suspicious else None
            if problem is not None:
                raise InvalidItem("", *problem)
            record = read(sdk_app_id, item, arrival_ms)
            if len(record.value) > limits.record_bytes:
                reason = f"larger than {limits.record_bytes} bytes (ingest_max_record_bytes)"
                raise InvalidItem("", "ItemTooLarge", reason)
        except InvalidItem as error:
            rejected.append(Rejection(index=index, field=error.field, code=error.code, reason=error.reason))
        else:
            records.append(record)
    return records, rejected


def event_of(sdk_app_id: int, item: Raw, arrival_ms: int) -> Record:
    """The record of a posted event."""
    try:
        event = read_event(sdk_app_id, item, arrival_ms)
    except InvalidEvent as error:
        raise InvalidItem(error.field, error.code, error.reason) from error
    _check_names(item)
    check_time(event.event_ms_ts, arrival_ms, "EventInfo.EventMsTs")
    return Record(EVENTS.name, _encoder.encode(event), event_key(sdk_app_id, event.room_id, event.task_id))


def task_of(sdk_app_id: int, item: Raw, arrival_ms: int) -> Record:
    """The record of a posted task interval."""
    try:
        task = read_task(sdk_app_id, item, arrival_ms)
    except InvalidEvent as error:
        raise InvalidItem(error.field, error.code, error.reason) from error
    _check_names(item)
    interval = task.interval
    check_time(interval.end_ms, arrival_ms, "EndMs")
    check_time(interval.start_ms, arrival_ms, "StartMs")
    room_text = None if interval.room_id is None else str(interval.room_id)
    return Record(TASKS.name, _encoder.encode(task), event_key(sdk_app_id, room_text, interval.task_id))


def _check_names(item: Raw) -> None:
    """A name that is there twice would be read in one way here and in another by the customer."""
    try:
        _names.decode(bytes(item).decode())
    except ValueError as error:  # in a field that nothing else looks at
        raise InvalidItem("", "InvalidJson", reason_of(error)) from error


def _object(pairs: list[tuple[str, object]]) -> None:
    if len({name for name, _ in pairs}) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for place, name in enumerate(names) if name in names[:place])
        raise InvalidItem(twice, "InvalidParameter", f"the field {twice} is there twice")


_names = json.JSONDecoder(object_pairs_hook=_object)
