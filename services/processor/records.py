"""Events, task intervals and deliveries to rows of their tables. Arithmetic alone, no input or output."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from schemas.keys import room_key

if TYPE_CHECKING:
    from schemas.deliveries import DeliveryAttempt
    from schemas.events import EventRecord
    from schemas.tasks import TaskRecord
    from services.processor.tables import Row

_HIGHEST = 2**64 - 1


class _Person(Struct, rename="pascal"):
    """What the tables have of a user in `EventInfo`; ingest has checked the types of groups 1 and 2."""

    role: int | None = None
    terminal_type: int | None = None
    user_type: int | None = None
    reason: int | None = None


_people = msgspec.json.Decoder(_Person)
_NOBODY = _Person()


def event_row(event: EventRecord, partition: int, offset: int) -> Row:
    """A row of table `events`. Of two records of one event the lower offset has the higher precedence."""
    person = _people.decode(event.event_info) if event.event_group_id in (1, 2) else _NOBODY
    return (
        event.sdk_app_id,
        event.room_id or "",
        event.event_id,
        event.room_id_type,
        event.event_group_id,
        event.event_type,
        event.event_ms_ts,
        event.user_id or "",
        event.task_id or "",
        person.role,
        person.terminal_type,
        person.user_type,
        person.reason,
        event.room_scene,
        event.unadmitted,
        bytes(event.event_info).decode(),
        msgspec.json.encode(event.extra).decode() if event.extra else "",
        event.arrival_ms,
        partition,
        offset,
        _HIGHEST - offset,
    )


def task_row(record: TaskRecord) -> Row:
    """A row of table `task_intervals`."""
    interval = record.interval
    room_id, room_id_type = ("", None) if interval.room_id is None else room_key(interval.room_id)
    return (
        record.sdk_app_id,
        interval.task_id,
        interval.start_ms,
        interval.end_ms,
        interval.task_type,
        interval.record_mode or "",
        room_id,
        room_id_type if interval.room_id_type is None else interval.room_id_type,
        interval.final,
        _json(interval.robots),
        _json(interval.inputs),
        _json(interval.outputs),
        record.arrival_ms,
    )


def delivery_row(attempt: DeliveryAttempt) -> Row:
    """A row of table `deliveries`."""
    return (
        attempt.sdk_app_id,
        attempt.started_ms,
        attempt.delivery_id,
        min(attempt.attempt, 65535),
        attempt.request_id,
        attempt.event_id,
        attempt.event_group_id,
        attempt.event_type,
        attempt.event_ms_ts,
        attempt.accepted_ms,
        attempt.room_id,
        attempt.room_id_type,
        attempt.user_id,
        attempt.task_id,
        attempt.url,
        attempt.callback_ts,
        attempt.duration_ms,
        attempt.status,
        attempt.outcome,
        attempt.gap,
        attempt.error_class,
        attempt.error,
        attempt.response,
    )


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
