"""Events: from what a media server posts to what topic `events` carries and a callback says."""

from __future__ import annotations

from hashlib import sha256
from typing import Annotated, Any, cast

import msgspec
from msgspec import Meta, Raw, Struct

from schemas.keys import room_key
from schemas.payloads import PAYLOAD_OF_TYPE, info_type
from schemas.words import (
    NUMERIC_ROOM,
    STRING_ROOM,
    RoomIdType,
    RoomScene,
    SdkAppId,
    UnixMs,
)

EventId = Annotated[str, Meta(min_length=1, max_length=64)]
OWN_FIELDS = frozenset({"EventId", "RoomIdType", "CallbackTs", "CallbackMsTs", "SdkAppId"})
"""Fields beside EventInfo that are ours, or that are written anew with every callback."""


class InvalidEvent(Exception):
    """An event that does not fit the contract."""

    def __init__(self, field: str, reason: str, code: str = "InvalidParameter") -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason
        self.code = code


class EventHead(Struct, rename="pascal"):
    """What is read of an event before its kind is known."""

    event_group_id: Annotated[int, Meta(ge=1, le=99)]
    event_type: Annotated[int, Meta(ge=100, le=9999)]
    event_info: dict[str, Any]
    event_id: EventId | None = None
    room_id_type: RoomIdType | None = None
    callback_ts: UnixMs | None = None
    callback_ms_ts: UnixMs | None = None


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

    Raises `InvalidEvent` with the path of the field that is wrong. Spellings that the vendor's own pages mix up
    (`EventTsMs`, times as text, `LeaveCode` of 305, numeric `TaskId`) are accepted and written in one way.
    """
    head = _convert(_parse(item), EventHead)
    if head.event_type // 100 != head.event_group_id:
        raise InvalidEvent("EventType", f"{head.event_type} is not of EventGroupId {head.event_group_id}")
    info = _normalised(head.event_type, head.event_info)
    known = cast("Any", _convert(info, info_type(head.event_group_id, head.event_type), "EventInfo"))
    payload_type = PAYLOAD_OF_TYPE.get(head.event_type)
    if payload_type is not None and isinstance(info.get("Payload"), dict):
        _convert(info["Payload"], payload_type, "EventInfo.Payload")

    room_scene = info.pop("RoomScene", None) if head.event_group_id == 1 else None
    room_text, room_id_type = _room(head, info, known)
    extra = msgspec.json.decode(item, type=dict[str, Raw])
    for name in ("EventGroupId", "EventType", "EventInfo", *OWN_FIELDS):
        extra.pop(name, None)
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
        event_info=Raw(msgspec.json.encode(info)),
        extra=extra,
    )


def derive_event_id(
    sdk_app_id: int,
    event_type: int,
    room_text: str | None,
    user_id: str | None,
    task_id: str | None,
    info: dict[str, Any],
) -> str:
    """The idempotency key of an event that brings none: equal for equal events, whatever their white space.

    The room counts by its text alone, so that 123 and "123" in two spellings of one event stay one event.
    """
    rest = {name: value for name, value in info.items() if name not in ("RoomId", "RoomType", "RoomIdType")}
    identity = [sdk_app_id, event_type, room_text, user_id, task_id, rest]
    return sha256(msgspec.json.encode(identity, order="sorted")).hexdigest()[:40]


def _parse(item: bytes | Raw) -> dict[str, Any]:
    try:
        return msgspec.json.decode(item, type=dict[str, Any])
    except msgspec.ValidationError as error:
        raise InvalidEvent("", str(error)) from error
    except RecursionError as error:
        raise InvalidEvent("", "nested too deeply", "TooDeep") from error


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


def _normalised(event_type: int, info: dict[str, Any]) -> dict[str, Any]:
    """`EventInfo` with one spelling where the vendor has several."""
    info = dict(info)
    if "EventMsTs" not in info and "EventTsMs" in info:
        info["EventMsTs"] = info.pop("EventTsMs")
    for name in ("EventMsTs", "EventTs"):
        value = info.get(name)
        if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 16:
            info[name] = int(value)
    if "EventMsTs" not in info and type(info.get("EventTs")) is int:
        info["EventMsTs"] = info["EventTs"] * 1000
    # Groups 1 to 3 list both times; some receivers look at one of them only.
    if event_type < 400 and "EventTs" not in info and type(info.get("EventMsTs")) is int:
        info["EventTs"] = info["EventMsTs"] // 1000
    if type(info.get("TaskId")) is int:
        info["TaskId"] = str(info["TaskId"])
    payload = info.get("Payload")
    if event_type == 305 and isinstance(payload, dict) and "Status" not in payload and "LeaveCode" in payload:
        renamed = {("Status" if name == "LeaveCode" else name): value for name, value in payload.items()}
        info["Payload"] = renamed
    return info


def _room(head: EventHead, info: dict[str, Any], known: Any) -> tuple[str | None, RoomIdType | None]:
    room = getattr(known, "room_id", None)
    if room is None:
        return None, None
    text, by_json_type = room_key(room)
    stated = head.room_id_type
    if stated is None:
        stated = getattr(known, "room_type", None)
    if stated is None:
        stated = getattr(known, "room_id_type", None)
    if by_json_type == NUMERIC_ROOM:
        if stated == STRING_ROOM:
            raise InvalidEvent("RoomIdType", "says a string room, but EventInfo.RoomId is a number")
        return text, NUMERIC_ROOM
    if stated == NUMERIC_ROOM and not (text.isascii() and text.isdigit()):
        raise InvalidEvent("RoomIdType", "says a numeric room, but EventInfo.RoomId is not a number")
    if stated is not None:
        return text, stated
    # Recorders and 102 write numeric rooms as text: such a text alone settles nothing.
    ambiguous = text.isascii() and text.isdigit() and (head.event_group_id == 3 or head.event_type == 102)
    return text, None if ambiguous else STRING_ROOM
