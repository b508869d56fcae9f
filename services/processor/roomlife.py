"""Calls and stays of rooms whose events changed: read the events, settle the rooms' types, write what follows."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from schemas.words import NUMERIC_ROOM, STRING_ROOM
from services.processor.calls import Call, RoomEvent, calls_of, comm_id
from services.processor.presence import StayEnd, changed_buckets, presence_rows
from services.processor.reported import ReportedSession, with_reports
from services.processor.store import external

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from services.processor.presence import Stays
    from services.processor.store import Store
    from services.processor.tables import Row
    from services.processor.touching import Calls, Toucher

Text = tuple[int, str]
"""SdkAppId and a room's text, which a numeric and a string room may share."""
Room = tuple[int, str, int]

_STRUCTURE = "SdkAppId UInt32, RoomId String, SinceMs Int64"

# Events before the last call that began before the first new event cannot change anything after it: at the start of a
# call a room is empty. Where an event does not tell the room's type, any fact may settle it, so all of them are read;
# so they are where a numeric and a string room share the text, since one may be full when the other's call starts.
_SINCE = """
SELECT SdkAppId, RoomId,
    if(countIf(Source = 'untold') > 0 OR length(Types) > 1, 0, minIf(Since, Source = 'call')) AS Since,
    arraySort(groupUniqArrayIf(RoomIdType, Source = 'told')) AS Types,
    toUnixTimestamp64Micro(now64(6, 'UTC')) AS ComputedUs
FROM (
    SELECT SdkAppId, RoomId, 'call' AS Source, RoomIdType,
        maxIf(toUnixTimestamp64Milli(StartTime), toUnixTimestamp64Milli(StartTime) <= SinceMs) AS Since
    FROM call_rows FINAL INNER JOIN touched USING (SdkAppId, RoomId)
    WHERE NOT Removed
    GROUP BY SdkAppId, RoomId, RoomIdType
    UNION ALL
    SELECT DISTINCT SdkAppId, RoomId, if(RoomIdType IS NULL, 'untold', 'told'), ifNull(RoomIdType, 255), 0
    FROM events FINAL
    WHERE (SdkAppId, RoomId) IN (SELECT SdkAppId, RoomId FROM touched)
        AND (EventGroupId = 1 OR RoomIdType IS NOT NULL)
    UNION ALL
    SELECT DISTINCT SdkAppId, RoomId, 'told', RoomIdType, 0
    FROM sessions
    WHERE (SdkAppId, RoomId) IN (SELECT SdkAppId, RoomId FROM touched)
    UNION ALL
    SELECT DISTINCT SdkAppId, RoomId, 'told', RoomIdType, 0
    FROM clients
    WHERE (SdkAppId, RoomId) IN (SELECT SdkAppId, RoomId FROM touched)
    UNION ALL
    SELECT DISTINCT SdkAppId, RoomId, 'told', assumeNotNull(RoomIdType), 0
    FROM task_intervals
    WHERE (SdkAppId, RoomId) IN (SELECT SdkAppId, RoomId FROM touched) AND RoomIdType IS NOT NULL
)
GROUP BY SdkAppId, RoomId
"""

_EVENTS = """
SELECT SdkAppId, RoomId, RoomIdType, toUnixTimestamp64Milli(EventTime), EventType, EventId, UserId, Role, TerminalType,
    UserType, Reason, RoomScene
FROM events FINAL INNER JOIN touched USING (SdkAppId, RoomId)
WHERE (SdkAppId, RoomId) IN (SELECT SdkAppId, RoomId FROM touched)
    AND EventGroupId = 1 AND EventType BETWEEN 101 AND 105 AND EventTime >= fromUnixTimestamp64Milli(SinceMs, 'UTC')
"""

_KNOWN_CALLS = """
SELECT SdkAppId, RoomId, RoomIdType, toUnixTimestamp64Milli(StartTime)
FROM call_rows FINAL INNER JOIN touched USING (SdkAppId, RoomId)
WHERE NOT Removed AND StartTime >= fromUnixTimestamp64Milli(SinceMs, 'UTC')
"""

_KNOWN_STAYS = """
SELECT SdkAppId, RoomId, RoomIdType, toUnixTimestamp64Milli(CallTime), UserId, toUnixTimestamp64Milli(EnterTime),
    toUnixTimestamp64Milli(ExitTime), SessionId
FROM stay_rows FINAL INNER JOIN touched USING (SdkAppId, RoomId)
WHERE NOT Removed AND CallTime >= fromUnixTimestamp64Milli(SinceMs, 'UTC')
"""

_KNOWN_PRESENCE = """
SELECT SdkAppId, RoomId, RoomIdType, UserId, toUnixTimestamp64Milli(EnterTime), toUnixTimestamp(HourTime) * 1000,
    toUnixTimestamp64Milli(ExitTime), SessionId
FROM presence FINAL INNER JOIN touched USING (SdkAppId, RoomId)
WHERE (SdkAppId, RoomId) IN (SELECT SdkAppId, RoomId FROM touched) AND NOT Removed
    AND EnterTime >= fromUnixTimestamp64Milli(SinceMs, 'UTC')
    AND HourTime >= (SELECT toStartOfHour(fromUnixTimestamp64Milli(min(SinceMs), 'UTC')) FROM touched)
"""

_SESSIONS = """
SELECT SdkAppId, RoomId, RoomIdType, UserId, SessionId, toUnixTimestamp64Milli(min(s.FirstTime)),
    toUnixTimestamp64Milli(max(s.LastTime)) AS LastMs
FROM sessions AS s INNER JOIN touched USING (SdkAppId, RoomId)
WHERE (SdkAppId, RoomId) IN (SELECT SdkAppId, RoomId FROM touched)
GROUP BY SdkAppId, RoomId, RoomIdType, UserId, SessionId, SinceMs
HAVING LastMs >= SinceMs
"""


async def recompute_calls(store: Store, toucher: Toucher, touched: Calls) -> None:
    """Compute the calls of these rooms anew, from the earliest event of each that is new.

    Applications are touched in the ten seconds in which other users are in a room than before.
    """
    asked = [(app, room_id, since_ms) for (app, room_id), since_ms in touched.items()]
    scopes = await store.rows("calls since", _SINCE, external(_STRUCTURE, asked))
    if not scopes:
        return
    # The database's clock, before the events are read: who reads later, in whichever process, wins.
    computed_us: int = scopes[0][4]
    types = {(app, room_id): set(known) for app, room_id, _, known, _ in scopes}
    rooms = [(app, room_id, since_ms) for app, room_id, since_ms, _, _ in scopes]
    since = external(_STRUCTURE, rooms)
    reported = await store.rows("room sessions", _SESSIONS, since)
    if earlier := _begun_before(reported, rooms):
        rooms = [(app, room_id, 0 if (app, room_id) in earlier else since_ms) for app, room_id, since_ms in rooms]
        since = external(_STRUCTURE, rooms)
        reported = await store.rows("room sessions", _SESSIONS, since)
    events = await store.rows("room events", _EVENTS, since)
    known_calls = await store.rows("known calls", _KNOWN_CALLS, since)
    known_stays = await store.rows("known stays", _KNOWN_STAYS, since)

    sessions: defaultdict[Room, list[ReportedSession]] = defaultdict(list)
    for app, room_id, room_id_type, *session in reported:
        sessions[app, room_id, room_id_type].append(ReportedSession(*session))

    told = by_room(events, types)
    calls = {
        room: with_reports(calls_of(told.get(room, [])), sessions.get(room, []))
        for room in told.keys() | sessions.keys()
    }
    call_rows, stay_rows = rows_of(calls, computed_us)
    known_presence = await store.rows("known presence", _KNOWN_PRESENCE, since)
    present = {(tuple(row[:5]), row[5]): StayEnd(*row[6:]) for row in known_presence}
    before: Stays = {(*row[:3], *row[4:6]): StayEnd(*row[6:]) for row in known_stays}
    after: Stays = {(*row[:3], *row[4:6]): StayEnd(row[6], row[-3]) for row in stay_rows}
    now_ms = computed_us // 1000
    # Stays tell until the end what was before: whoever dies on the way leaves it to be done again.
    await store.insert("presence", [(*row, computed_us) for row in presence_rows(present, after, now_ms)])
    between: Stays = {key: end for (key, _), end in present.items()}
    seen: dict[tuple[int, str, int, str], int] = {}
    for app, room_id, room_id_type, user, _, _, last_ms in reported:
        key = app, room_id, room_id_type, user
        seen[key] = max(seen.get(key, last_ms), last_ms)
    changed = (changed_buckets(known, after, seen, now_ms) for known in (before, between))
    await toucher.applications(set().union(*changed))
    # Stays before calls: a reader who finds a call finds its stays.
    await store.insert("stay_rows", [*stay_rows, *_removed_stays(known_stays, stay_rows, computed_us)])
    await store.insert("call_rows", [*call_rows, *_removed_calls(known_calls, call_rows, computed_us)])


def by_room(events: Iterable[Sequence[Any]], types: Mapping[Text, set[int]]) -> dict[Room, list[RoomEvent]]:
    """Events by room. One that does not tell its room's type belongs to the room that other facts know.

    Where they know both, it belongs to the one with the latest earlier event; where none, to the string room.
    """
    rooms: defaultdict[Room, list[RoomEvent]] = defaultdict(list)
    untold: list[tuple[Text, RoomEvent]] = []
    for app, room_id, room_id_type, *rest in events:
        event = RoomEvent(*rest)
        if room_id_type is None:
            untold.append(((app, room_id), event))
        else:
            rooms[app, room_id, room_id_type].append(event)
    told = {room: [event.time_ms for event in found] for room, found in rooms.items()}
    for (app, room_id), event in untold:
        known = types.get((app, room_id), set()) & {NUMERIC_ROOM, STRING_ROOM}
        if len(known) == 1:
            (room_id_type,) = known
        elif not known:
            room_id_type = STRING_ROOM
        else:
            room_id_type = max(
                (NUMERIC_ROOM, STRING_ROOM),
                key=lambda kind: max(
                    (at for at in told.get((app, room_id, kind), []) if at <= event.time_ms), default=-1
                ),
            )
        rooms[app, room_id, room_id_type].append(event)
    return rooms


def rows_of(calls: Mapping[Room, Sequence[Call]], computed_us: int) -> tuple[list[Row], list[Row]]:
    """Rows of tables `call_rows` and `stay_rows`; `computed_us` is the Unix time in microseconds of the facts."""
    call_rows: list[Row] = []
    stay_rows: list[Row] = []
    for (app, room_id, room_id_type), found in calls.items():
        for call in found:
            call_rows.append(
                (
                    *(app, room_id, room_id_type, call.start_ms),
                    comm_id(app, room_id, room_id_type, call.start_ms),
                    *(call.creator_id, call.scene, call.first_entry_ms),
                    # When somebody of whom only reports tell has left is a matter of the time of day.
                    None if any(stay.session_id for stay in call.stays) else call.last_exit_ms,
                    call.close_ms,
                    *(call.joined_users, call.from_reports, False, computed_us),
                )
            )
            stay_rows += [
                (
                    *(app, room_id, room_id_type, call.start_ms),
                    # As above.
                    *(stay.user_id, stay.enter_ms, None if stay.session_id else stay.exit_ms, stay.role),
                    [at for at, _ in stay.roles],
                    [role for _, role in stay.roles],
                    *(stay.terminal_type, stay.user_type, stay.enter_reason, stay.exit_reason),
                    *(stay.session_id, False, computed_us),
                )
                for stay in call.stays
            ]
    return call_rows, stay_rows


def _begun_before(reported: Iterable[Sequence[Any]], since: Iterable[tuple[int, str, int]]) -> set[Text]:
    """Rooms with a session that began before the time from which on the events are read: they may tell of it."""
    times = {(app, room_id): since_ms for app, room_id, since_ms in since}
    return {(app, room_id) for app, room_id, _, _, _, first_ms, _ in reported if first_ms < times[app, room_id]}


def _removed_calls(known: Iterable[Sequence[Any]], now: Iterable[Row], computed_us: int) -> list[Row]:
    right = {row[:4] for row in now}
    return [
        (*row, "", "", "", None, None, None, 0, False, True, computed_us)
        for row in map(tuple, known)
        if row not in right
    ]


def _removed_stays(known: Iterable[Sequence[Any]], now: Iterable[Row], computed_us: int) -> list[Row]:
    right = {row[:6] for row in now}
    return [
        (*row[:6], None, None, [], [], None, None, None, None, "", True, computed_us)
        for row in known
        if tuple(row[:6]) not in right
    ]
