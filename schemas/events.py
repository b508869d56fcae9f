"""Events: from what a media server posts to what topic `events` carries and a callback says."""

from __future__ import annotations

from hashlib import sha256
from typing import Annotated, Any, cast

import msgspec
from msgspec import Meta, Raw, Struct

from schemas.keys import may_be_numeric, room_key
from schemas.payloads import PAYLOAD_OF_TYPE, info_type
from schemas.surrogates import replace_lone_surrogates
from schemas.words import (
    NUMERIC_ROOM,
    STRING_ROOM,
    RoomIdType,
    RoomScene,
    SdkAppId,
    UnixMs,
)

EventId = Annotated[str, Meta(min_length=1, max_length=64)]
ENVELOPE_FIELDS = frozenset(
    {"EventGroupId", "EventType", "EventInfo", "EventId", "RoomIdType", "CallbackTs", "CallbackMsTs"}
)
"""Fields beside EventInfo that are ours, or that are written anew with every callback; others go to the customer."""
GROUPS_WITH_THE_CLIENTS_ROOM_TYPE = frozenset({1, 2, 4})
"""Groups whose RoomId has the JSON type that the client gave it, but for 102; the others write numbers as text."""
MAX_DEPTH = 32
"""Levels of objects and lists in an event: whoever decodes one later has the stack for it."""
MAX_TIME_DIGITS = 16


class InvalidEvent(Exception):
    """An event or task interval that does not fit the contract."""

    def __init__(self, field: str, reason: str, code: str = "InvalidParameter") -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason
        self.code = code


class EventHead(Struct, rename="pascal"):
    """What is read of an event before its kind is known."""

    event_group_id: Annotated[int, Meta(ge=1, le=99)]
    event_type: Annotated[int, Meta(ge=100, le=9999)]
    """The group's number and two digits."""
    event_info: dict[str, Any]
    event_id: EventId | None = None
    """Ours: of two events with one id there is one effect and one callback. Absent: derived from the event."""
    room_id_type: RoomIdType | None = None
    """Ours: 0 a numeric room, 1 a string room; needed where a numeric room is written as text."""
    callback_ts: UnixMs | None = None
    """Not looked at: a callback says when it was sent itself."""
    callback_ms_ts: UnixMs | None = None
    """The same, as group 7 spells it."""


class EventRecord(Struct, rename="pascal", omit_defaults=True, kw_only=True):
    """The value of one record of topic `events`."""

    sdk_app_id: SdkAppId
    event_id: EventId
    arrival_ms: UnixMs
    event_group_id: int
    event_type: int
    event_ms_ts: UnixMs
    room_id: str | None = None
    """The room's text, whatever its type; absent where the event is about no room."""
    room_id_type: RoomIdType | None = None
    """Absent where the event does not tell and the processor has to settle it."""
    user_id: str | None = None
    task_id: str | None = None
    room_scene: RoomScene | None = None
    unadmitted: bool = False
    event_info: Raw
    """As the customer gets it."""
    extra: dict[str, Raw] = {}
    """Fields beside EventInfo that this version does not know; the customer gets them too."""


def read_event(sdk_app_id: int, item: bytes | Raw, arrival_ms: int) -> EventRecord:
    """Turn one posted event into the record that goes to Kafka.

    Raises `InvalidEvent` with the path of the field that is wrong, and nothing else whatever the bytes are. Spellings
    that the vendor's own pages mix up (`EventTsMs`, times as text, `LeaveCode` of 305, numeric `TaskId`) are accepted
    and written in one way; all else of `EventInfo` keeps its bytes.
    """
    item, decoded = _parse(item)
    head = _convert(decoded, EventHead)
    if head.event_type // 100 != head.event_group_id:
        raise InvalidEvent("EventType", f"{head.event_type} is not of EventGroupId {head.event_group_id}")
    posted = decoded["EventInfo"]
    info = _normalised(head.event_type, posted)
    known = cast("Any", _convert(info, info_type(head.event_group_id, head.event_type), "EventInfo"))
    payload_type = PAYLOAD_OF_TYPE.get(head.event_type)
    if payload_type is not None and isinstance(info.get("Payload"), dict):
        _convert(info["Payload"], payload_type, "EventInfo.Payload")

    room_scene = info.pop("RoomScene", None) if head.event_group_id == 1 else None
    room_text, room_id_type = _room(head, known)
    fields = msgspec.json.decode(item, type=dict[str, Raw])
    user_id: str | None = getattr(known, "user_id", None)
    task_id: str | None = getattr(known, "task_id", None)
    return EventRecord(
        sdk_app_id=sdk_app_id,
        event_id=head.event_id or derive_event_id(sdk_app_id, head.event_type, room_text, user_id, task_id, info),
        arrival_ms=arrival_ms,
        event_group_id=head.event_group_id,
        event_type=head.event_type,
        event_ms_ts=known.event_ms_ts,
        room_id=room_text,
        room_id_type=room_id_type,
        user_id=user_id,
        task_id=task_id,
        room_scene=room_scene,
        event_info=_rewritten(fields["EventInfo"], posted, info),
        extra={name: value for name, value in fields.items() if name not in ENVELOPE_FIELDS},
    )


def derive_event_id(
    sdk_app_id: int,
    event_type: int,
    room_text: str | None,
    user_id: str | None,
    task_id: str | None,
    info: dict[str, Any],
) -> str:
    """The idempotency key of an event that brings none: equal for equal events, whatever their white space, the order
    of their fields or the time they were sent.

    The room counts by its text alone, so that 123 and "123" in two spellings of one event stay one event.
    """
    rest = {name: value for name, value in info.items() if name != "RoomId"}
    identity = [sdk_app_id, event_type, room_text, user_id, task_id, rest]
    return sha256(msgspec.json.encode(identity, order="sorted")).hexdigest()[:40]


def _parse(item: bytes | Raw) -> tuple[bytes | Raw, dict[str, Any]]:
    """An item and what is in it, to the last field: what comes out can be copied about as raw JSON."""
    try:
        decoded = _decoded(item)
    except RecursionError as error:
        raise InvalidEvent("", "nested too deeply", "TooDeep") from error
    except msgspec.ValidationError as error:
        raise InvalidEvent("", str(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        repaired = replace_lone_surrogates(bytes(item))
        if repaired == bytes(item):
            raise InvalidEvent("", str(error), "InvalidJson") from error
        return _parse(repaired)
    if _brackets(item) > MAX_DEPTH and _deeper_than(MAX_DEPTH, decoded):
        raise InvalidEvent("", f"nested deeper than {MAX_DEPTH} levels", "TooDeep")
    return item, decoded


def _decoded(item: bytes | Raw) -> dict[str, Any]:
    return msgspec.json.decode(item, type=dict[str, Any])


def _brackets(item: bytes | Raw) -> int:
    """Nothing is nested deeper than it has opening brackets, and few events have many."""
    text = bytes(item)
    return text.count(b"{") + text.count(b"[")


def _deeper_than(levels: int, value: Any) -> bool:
    level = [value]
    for _ in range(levels):
        level = [
            child
            for node in level
            for child in (node.values() if isinstance(node, dict) else node)
            if isinstance(child, dict | list)
        ]
        if not level:
            return False
    return True


def _convert(value: Any, into: type[Struct], prefix: str = "") -> Any:
    try:
        return msgspec.convert(value, into)
    except msgspec.ValidationError as error:
        reason, path = split_validation_error(error)
        field = ".".join(part for part in (prefix, path) if part)
        raise InvalidEvent(field, reason) from error


def split_validation_error(error: msgspec.ValidationError) -> tuple[str, str]:
    """The reason and the path of a `msgspec` error, e.g. ("Expected `int`, got `str`", "Local[0].Width").

    A missing field is named by the path too.
    """
    reason, _, path = str(error).partition(" - at `$")
    path = path.rstrip("`").removeprefix(".")
    if reason.startswith("Object missing required field `"):
        missing = reason.split("`")[1]
        path = f"{path}.{missing}" if path else missing
    return reason, path


def _normalised(event_type: int, posted: dict[str, Any]) -> dict[str, Any]:
    """`EventInfo` with one spelling where the vendor has several. What is as it was is the same object."""
    info = _renamed(posted, "EventTsMs", "EventMsTs")
    for name in ("EventMsTs", "EventTs"):
        value = info.get(name)
        if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= MAX_TIME_DIGITS:
            info[name] = int(value)
    if "EventMsTs" not in info and type(info.get("EventTs")) is int:
        info["EventMsTs"] = info["EventTs"] * 1000
    # Groups 1 to 3 list both times; some receivers look at one of them only.
    if event_type < 400 and info.get("EventTs") is None and type(info.get("EventMsTs")) is int:
        info["EventTs"] = info["EventMsTs"] // 1000
    task_id = info.get("TaskId") if event_type >= 300 else None
    if type(task_id) is int and 0 <= task_id < 2**64:
        info["TaskId"] = str(task_id)
    if event_type == 305 and isinstance(info.get("Payload"), dict):
        renamed = _renamed(info["Payload"], "LeaveCode", "Status")
        info["Payload"] = renamed if renamed != info["Payload"] else info["Payload"]
    return info


def _renamed(fields: dict[str, Any], old: str, new: str) -> dict[str, Any]:
    """A copy with a field under its other name, unless both are there."""
    if new in fields:
        return dict(fields)
    return {(new if name == old else name): value for name, value in fields.items()}


def _rewritten(raw: Raw, before: dict[str, Any], after: dict[str, Any]) -> Raw:
    """A JSON object, changed where `after` is another object than `before`; everything else keeps its bytes.

    Numbers in particular: 1.0 stays 1.0, and an integer of thirty digits keeps them all.
    """
    if before.keys() == after.keys() and all(before[name] is value for name, value in after.items()):
        return raw
    fields = msgspec.json.decode(raw, type=dict[str, Raw])
    rewritten: dict[str, Any] = {}
    for name, value in after.items():
        old = before.get(name)
        if isinstance(value, dict) and isinstance(old, dict):
            rewritten[name] = _rewritten(fields[name], old, value)
        else:
            rewritten[name] = fields[name] if name in before and old is value else value
    return Raw(msgspec.json.encode(rewritten))


def _room(head: EventHead, known: Any) -> tuple[str | None, RoomIdType | None]:
    room = getattr(known, "room_id", None)
    if room is None:
        return None, None
    text, by_json_type = room_key(room)
    stated, where = _stated_room_type(head, known)
    if by_json_type == NUMERIC_ROOM:
        if stated == STRING_ROOM:
            raise InvalidEvent(where, "says a string room, but EventInfo.RoomId is a number")
        return text, NUMERIC_ROOM
    if stated == NUMERIC_ROOM and not may_be_numeric(text):
        raise InvalidEvent(where, "says a numeric room, but EventInfo.RoomId is not the number of one")
    if stated is not None:
        return text, stated
    ambiguous = may_be_numeric(text) and not (
        head.event_group_id in GROUPS_WITH_THE_CLIENTS_ROOM_TYPE and head.event_type != 102
    )
    return text, None if ambiguous else STRING_ROOM


def _stated_room_type(head: EventHead, known: Any) -> tuple[RoomIdType | None, str]:
    """The room's type where a field says it, and the path of that field."""
    if head.room_id_type is not None:
        return head.room_id_type, "RoomIdType"
    room_type: RoomIdType | None = getattr(known, "room_type", None)
    if room_type is not None:
        return room_type, "EventInfo.RoomType"
    return getattr(known, "room_id_type", None), "EventInfo.RoomIdType"
