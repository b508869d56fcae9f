"""What the media server tells of a call: events of groups 1 and 2."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from schemas.words import Role
from services.simulator.traffic.seeds import identifier

if TYPE_CHECKING:
    from collections.abc import Iterator

    from schemas.words import StreamType
    from services.simulator.traffic.items import Event
    from services.simulator.traffic.plan import Call, Stay, Stream

STARTS: dict[StreamType, int] = {"big": 201, "audio": 203, "sub": 205}
STOPS: dict[StreamType, int] = {"big": 202, "audio": 204, "sub": 206}
CREATED_BEFORE_ENTRY_MS = 5


def room_events(call: Call) -> list[Event]:
    """All events of groups 1 and 2 of one call, in order of time."""
    events = [_created(call)]
    for stay in call.stays:
        events += _stay_events(call, stay)
    for stream in call.streams:
        events += _stream_events(call, stream)
    if call.tells_end:
        events.append(_closed(call))
    events.sort(key=event_time)
    return events


def event_time(event: Event) -> int:
    """When an event happened, Unix milliseconds."""
    at_ms: int = event["EventInfo"]["EventMsTs"]
    return at_ms


def event(call: Call, event_type: int, at_ms: int, **info: Any) -> Event:
    """An event of the call's room. Media servers that name their events give it an id that it keeps for ever."""
    made: Event = {
        "EventGroupId": event_type // 100,
        "EventType": event_type,
        "EventInfo": {"RoomId": call.room.room_id, "EventTs": at_ms // 1000, "EventMsTs": at_ms, **info},
    }
    if call.room.names_events:
        who = info.get("TaskId") or info.get("UserId", "")
        what = info.get("Payload", "")
        made["EventId"] = identifier(call.run, call.room.index, event_type, at_ms, who, what)
    return made


def _created(call: Call) -> Event:
    creator = call.stays[0]
    scene = {"RoomScene": "live"} if call.room.scene == "live" else {}
    return event(call, 101, creator.join_ms - CREATED_BEFORE_ENTRY_MS, UserId=creator.user_id, **scene)


def _closed(call: Call) -> Event:
    closed = event(call, 102, call.closed_ms)
    if isinstance(call.room.room_id, int) and call.number % 2:
        # Some media servers write the number as text here, and only here.
        closed["EventInfo"]["RoomId"] = str(call.room.room_id)
        if call.room.names_type:
            closed["RoomIdType"] = 0
    return closed


def _stay_events(call: Call, stay: Stay) -> Iterator[Event]:
    scene = {"RoomScene": call.room.scene} if call.room.scene == "live" else {}
    yield event(
        call,
        103,
        stay.join_ms,
        UserId=stay.user_id,
        Role=int(stay.role),
        TerminalType=stay.profile.terminal_type,
        UserType=stay.profile.user_type,
        Reason=int(stay.enter_reason),
        **scene,
    )
    role = stay.role
    for at_ms, role in stay.role_changes:
        yield event(call, 105, at_ms, UserId=stay.user_id, Role=int(role))
    yield event(call, 104, stay.removed_ms, UserId=stay.user_id, Role=int(Role(role)), Reason=int(stay.exit_reason))


def _stream_events(call: Call, stream: Stream) -> Iterator[Event]:
    """Leaving ends all streams without a word; only a stop inside the room is told."""
    if stream.type not in STARTS:
        return
    yield event(call, STARTS[stream.type], stream.start_ms, UserId=stream.user_id)
    if stream.stopped:
        yield event(call, STOPS[stream.type], stream.end_ms, UserId=stream.user_id, Reason=0)
