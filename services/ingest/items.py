"""Events and task intervals: from a posted object or list to the records that go to Kafka."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import msgspec
from msgspec import Raw

from schemas.answers import Rejection
from schemas.events import InvalidEvent, read_event
from schemas.keys import event_key
from schemas.tasks import InvalidTask, read_task
from schemas.topics import EVENTS, TASKS
from services.ingest.decoding import check_json, decode_whole, time_problem
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


class InvalidItem(Exception):
    """One item that cannot be used."""

    def __init__(self, field: str, code: str, reason: str) -> None:
        super().__init__(reason)
        self.field = field
        self.code = code
        self.reason = reason


def read_items(
    body: bytes, read: ReadItem, sdk_app_id: int, arrival_ms: int, limits: Limits
) -> tuple[list[Record], list[Rejection]]:
    """The records of the good items and what is wrong with the others.

    Raises `Refusal` where the body as a whole cannot be used.
    """
    items = _split(body)
    if not items:
        raise Refusal(422, "NoItems", "the list is empty")
    if len(items) > limits.items:
        raise Refusal(413, "TooManyItems", f"{len(items)} items, at most {limits.items} are allowed (ingest_max_items)")
    records, rejected = [], []
    for index, item in enumerate(items):
        try:
            record = read(sdk_app_id, item, arrival_ms)
        except InvalidItem as error:
            rejected.append(Rejection(index=index, field=error.field, code=error.code, reason=error.reason))
            continue
        if len(record.value) > limits.record_bytes:
            reason = f"larger than {limits.record_bytes} bytes (ingest_max_record_bytes)"
            rejected.append(Rejection(index=index, field="", code="ItemTooLarge", reason=reason))
            continue
        records.append(record)
    return records, rejected


def event_of(sdk_app_id: int, item: Raw, arrival_ms: int) -> Record:
    """The record of a posted event."""
    try:
        event = read_event(sdk_app_id, item, arrival_ms)
    except InvalidEvent as error:
        raise InvalidItem(error.field, error.code, error.reason) from error
    problem = time_problem(event.event_ms_ts, arrival_ms)
    if problem is not None:
        raise InvalidItem("EventInfo.EventMsTs", *problem)
    key = event_key(sdk_app_id, event.room_id, event.task_id)
    return Record(EVENTS.name, _encoder.encode(event), key)


def task_of(sdk_app_id: int, item: Raw, arrival_ms: int) -> Record:
    """The record of a posted task interval."""
    try:
        task = read_task(sdk_app_id, item, arrival_ms)
    except InvalidTask as error:
        raise InvalidItem(error.field, error.code, error.reason) from error
    interval = task.interval
    for field, at_ms in (("EndMs", interval.end_ms), ("StartMs", interval.start_ms)):
        problem = time_problem(at_ms, arrival_ms)
        if problem is not None:
            raise InvalidItem(field, *problem)
    room_text = None if interval.room_id is None else str(interval.room_id)
    return Record(TASKS.name, _encoder.encode(task), event_key(sdk_app_id, room_text, interval.task_id))


def _split(body: bytes) -> list[Raw]:
    if body.lstrip()[:1] == b"[":
        return decode_whole(body, _lists)
    check_json(body)
    return [Raw(body)]
