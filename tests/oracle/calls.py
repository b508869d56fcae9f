"""Calls, stays and who is online, computed slowly and plainly from posted room events and reports.

Shares no code with the processor: JSON in, dictionaries out, one rule after the other.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from zlib import crc32

if TYPE_CHECKING:
    from collections.abc import Iterable

BUCKET_MS = 10_000
SILENCE_MS = 90_000
FOREVER = 10**15

Room = tuple[str, int]
"""The room's text, 0 for a number or 1 for a text."""
Span = tuple[str, str, int, int]
"""User, session, start of the first sample, end of the last."""


@dataclass
class Stay:
    """A user from an entry to an exit."""

    user: str
    enter: int
    role: int | None = None
    reason: int | None = None
    exit: int | None = None
    exit_reason: int | None = None
    changes: list[tuple[int, int]] = field(default_factory=list)
    session: str = ""
    """Where only reports tell of it."""


@dataclass
class Call:
    """A room from its creation to its closing."""

    start: int
    creator: str = ""
    created: bool = False
    scene: str = "call"
    close: int | None = None
    stays: list[Stay] = field(default_factory=list)
    by_reports: bool = False


def rooms_of(events: Iterable[dict[str, Any]], reports: Iterable[dict[str, Any]]) -> dict[Room, list[Call]]:
    """The calls of every room, as they are long after."""
    spans = spans_of(reports)
    told: dict[Room, list[dict[str, Any]]] = defaultdict(list)
    untold: list[dict[str, Any]] = []
    once = {event["EventId"]: event for event in events}
    for event in once.values():
        kind = _type_of(event)
        if kind is None:
            untold.append(event)
        else:
            told[str(event["EventInfo"]["RoomId"]), kind].append(event)
    before = {room: [event["EventInfo"]["EventMsTs"] for event in mine] for room, mine in told.items()}
    known = set(before) | set(spans)
    for event in untold:
        text, at = event["EventInfo"]["RoomId"], event["EventInfo"]["EventMsTs"]
        kinds = [kind for kind in (0, 1) if (text, kind) in known]
        if not kinds:
            kinds = [1]
        if len(kinds) == 2:
            last = [max((time for time in before.get((text, kind), []) if time <= at), default=-1) for kind in kinds]
            kinds = [1] if last[1] > last[0] else [0]
        told[text, kinds[0]].append(event)
    return {
        room: _with_reports(_by_events(told.get(room, [])), spans.get(room, [])) for room in told.keys() | spans.keys()
    }


def spans_of(reports: Iterable[dict[str, Any]]) -> dict[Room, list[Span]]:
    """From when to when sessions reported."""
    ends: dict[tuple[Room, str, str], list[int]] = defaultdict(list)
    for report in reports:
        room = str(report["RoomId"]), int(isinstance(report["RoomId"], str))
        for sample in report["Samples"]:
            ends[room, report["UserId"], report["SessionId"]] += [
                sample["StartMs"],
                sample["StartMs"] + sample["DurMs"],
            ]
    spans: dict[Room, list[Span]] = defaultdict(list)
    for (room, user, session), times in ends.items():
        spans[room].append((user, session, min(times), max(times)))
    return spans


def shown_end(call_stay: Stay, spans: Iterable[Span]) -> int | None:
    """The exit of a stay once everybody who is silent has vanished."""
    if call_stay.exit is not None:
        return call_stay.exit
    seen = max((last for user, _, _, last in spans if user == call_stay.user), default=None)
    return None if seen is None or seen < call_stay.enter else seen + SILENCE_MS


def shown_call(call: Call, spans: list[Span]) -> tuple[int | None, int | None, int | None]:
    """First entry, last exit and closing."""
    ends = [shown_end(stay, spans) for stay in call.stays]
    entry = min((stay.enter for stay in call.stays), default=None)
    last = None if None in ends else max((end for end in ends if end is not None), default=None)
    return entry, last, last if call.close is None else call.close


def name_of(app: int, room: Room, call: Call) -> str:
    """The CommId."""
    text, kind = room
    return f"{app}_{crc32(text.encode()) if kind else text}_{call.start // 1000}"


def online(
    rooms: dict[Room, list[Call]], reports: list[dict[str, Any]], until: int
) -> dict[int, set[tuple[Room, str]]]:
    """Start of ten seconds to those who reported or were in a room by their stay, up to a time."""
    found: dict[int, set[tuple[Room, str]]] = defaultdict(set)
    for report in reports:
        room = str(report["RoomId"]), int(isinstance(report["RoomId"], str))
        for sample in report["Samples"]:
            found[sample["StartMs"] // BUCKET_MS * BUCKET_MS].add((room, report["UserId"]))
    spans = spans_of(reports)
    for room, calls in rooms.items():
        for stay in (stay for call in calls for stay in call.stays if not stay.session):
            end = shown_end(stay, spans.get(room, []))
            bucket = stay.enter // BUCKET_MS * BUCKET_MS
            while bucket < until and bucket < (FOREVER if end is None else end):
                found[bucket].add((room, stay.user))
                bucket += BUCKET_MS
    return {bucket: users for bucket, users in found.items() if bucket < until}


def _type_of(event: dict[str, Any]) -> int | None:
    room = event["EventInfo"]["RoomId"]
    if isinstance(room, int):
        return 0
    if "RoomIdType" in event:
        return int(event["RoomIdType"])
    return None if event["EventType"] == 102 and room.isdecimal() else 1


def _by_events(events: list[dict[str, Any]]) -> list[Call]:
    calls: list[Call] = []
    call: Call | None = None
    inside: dict[str, Stay] = {}

    def end_all(at: int) -> None:
        nonlocal call
        assert call is not None
        for stay in inside.values():
            stay.exit = at
        inside.clear()
        call.close = at
        call = None

    def leave(at: int, info: dict[str, Any]) -> None:
        assert call is not None
        stay = inside.pop(info["UserId"])
        stay.exit, stay.exit_reason = at, info.get("Reason")
        stay.role = info.get("Role", stay.role)
        if not inside:
            call.close = at + 600_000 if call.scene == "live" and stay.role == 21 else at

    for at in sorted({event["EventInfo"]["EventMsTs"] for event in events}):
        now = sorted((event for event in events if event["EventInfo"]["EventMsTs"] == at), key=_order)
        if call is not None and call.close is not None and call.close < at:
            call = None
        for info in _infos(now, 101):
            if call is not None and (call.created or at > call.start + 5_000):
                end_all(at)
            if call is None:
                call = Call(at)
                calls.append(call)
            call.created, call.creator = True, info["UserId"]
            call.scene = info.get("RoomScene", call.scene)
        exits = _infos(now, 104)
        waiting = []
        for info in exits:
            if info["UserId"] in inside:
                leave(at, info)
            else:
                waiting.append(info)
        for info in _infos(now, 103):
            if call is None:
                call = Call(at)
                calls.append(call)
            call.scene = info.get("RoomScene", call.scene)
            call.close = None
            if info["UserId"] in inside:
                inside.pop(info["UserId"]).exit = at
            stay = Stay(info["UserId"], at, info.get("Role"), info.get("Reason"))
            call.stays.append(stay)
            inside[info["UserId"]] = stay
        for info in _infos(now, 105):
            if info["UserId"] in inside:
                inside[info["UserId"]].role = info["Role"]
                inside[info["UserId"]].changes.append((at, info["Role"]))
        for info in waiting:
            if info["UserId"] in inside:
                leave(at, info)
        if _infos(now, 102) and call is not None:
            end_all(at)
    return calls


def _order(event: dict[str, Any]) -> str:
    name: str = event["EventId"]
    return name


def _infos(events: list[dict[str, Any]], kind: int) -> list[dict[str, Any]]:
    return [event["EventInfo"] for event in events if event["EventType"] == kind]


def _with_reports(calls: list[Call], spans: list[Span]) -> list[Call]:
    told = [stay for call in calls for stay in call.stays]
    alone: list[Stay] = []
    homes: list[tuple[Call, Stay]] = []
    for user, session, first, last in sorted(spans, key=lambda span: span[2]):
        if any(stay.user == user and _meet(stay.enter, stay.exit, first, last) for stay in told):
            continue
        stay = Stay(user, first, exit=last, session=session)
        for call in calls:
            if _meet(call.start, call.close, first, last):
                homes.append((call, stay))
                break
        else:
            alone.append(stay)
    for call, stay in homes:
        call.stays.append(stay)
    made: list[Call] = []
    for stay in alone:
        mine = made[-1] if made else None
        if (
            mine is None
            or stay.enter > max(other.exit or 0 for other in mine.stays) + SILENCE_MS
            or any(mine.start < call.start <= stay.enter for call in calls)
        ):
            mine = Call(stay.enter, by_reports=True)
            made.append(mine)
        mine.stays.append(stay)
    return sorted(calls + made, key=lambda call: call.start)


def _meet(start: int, end: int | None, first: int, last: int) -> bool:
    """Whether the two have a millisecond in common; what begins has its first one, however soon it ends."""
    if start < first:
        return end is None or end > first
    return start < last
