"""Usage by the clock: rows of every five minutes of which a stay, a report or a task interval is new."""

# ruff: noqa: S608 -- put together from constants of this module alone
from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

import msgspec

from schemas.tasks import Robot, TaskInput, TaskInterval, TaskOutput
from services.processor.jobs import Progress, since_of
from services.processor.store import external
from services.processor.usage.slots import SLOT_MS, TaskUsage

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from services.processor.store import Store
    from services.processor.tables import Row

_KEY = "SdkAppId, SlotTime, RoomId, RoomIdType, UserId"
_SINCE = "{since:DateTime64(6, 'UTC')}"
_NOW = "{now:DateTime64(3, 'UTC')}"
_SLOTS = "arrayMap(number -> HourTime + INTERVAL 5 * number MINUTE, range(12))"

_USER = "SdkAppId, RoomId, RoomIdType, UserId"
_BEFORE = "arrayMap(number -> FirstTime - INTERVAL 10 * number SECOND, range(1, 11))"
_AROUND = """arrayMap(at -> toDateTime(at, 'UTC'), range(
    toUnixTimestamp(toStartOfFiveMinutes(FirstTime - INTERVAL 100 SECOND)),
    toUnixTimestamp(LastTime + INTERVAL 100 SECOND), 300))"""

# Users who reported: from when to when.
_HEARD = f"""
SELECT {_USER}, min(BucketTime) AS FirstTime, max(BucketTime) AS LastTime FROM user_10s
WHERE ComputedTime >= {_SINCE} AND ReportedMs > 0 GROUP BY {_USER}
"""

# Those of them who had been silent before: an open stay of theirs may have been over for long, or without an end.
_SILENT_BEFORE = f"""
SELECT {_USER} FROM heard WHERE ({_USER}) NOT IN (
    SELECT {_USER} FROM (SELECT {_USER}, arrayJoin({_BEFORE}) AS BucketTime FROM heard)
    WHERE (BucketTime, {_USER}) IN (
        SELECT BucketTime, {_USER} FROM user_10s
        WHERE ReportedMs > 0 AND (SdkAppId, BucketTime) IN (SELECT SdkAppId, arrayJoin({_BEFORE}) FROM heard)))
"""

# Which (room, user, five minutes) may have changed: something was computed, an open stay went on, or what was reported
# moved the end of an open stay.
_CHANGED = f"""
SELECT SdkAppId, toStartOfFiveMinutes(BucketTime) AS SlotTime, RoomId, RoomIdType, UserId FROM user_10s
WHERE ComputedTime >= {_SINCE}
UNION DISTINCT
SELECT SdkAppId, arrayJoin({_SLOTS}) AS SlotTime, RoomId, RoomIdType, UserId FROM presence
WHERE SlotTime < {_NOW} AND (ComputedTime >= {_SINCE} OR ExitTime IS NULL AND (
    HourTime >= toStartOfHour({_SINCE}) AND SlotTime >= toStartOfFiveMinutes({_SINCE})
    OR ({_USER}) IN ({_SILENT_BEFORE})))
UNION DISTINCT
SELECT SdkAppId, arrayJoin({_AROUND}) AS SlotTime, RoomId, RoomIdType, UserId FROM heard
"""

# Nothing is computed anew from facts that are gone.
_KNOWN = """
SELECT * FROM changed AS c
LEFT JOIN (SELECT SdkAppId, max(e.Before) AS Before FROM expired AS e WHERE Kind = 'details' GROUP BY SdkAppId) AS gone
    USING (SdkAppId)
WHERE toDate(SlotTime) >= gone.Before
"""

# The end of a stay as of now: who reported and has been silent for 90 seconds has vanished then. Where only reports
# tell of a stay, it ends with the last.
_STAYS = f"""
SELECT stay.SdkAppId AS SdkAppId, HourTime, stay.RoomId AS RoomId, stay.RoomIdType AS RoomIdType,
    stay.UserId AS UserId, EnterTime,
    multiIf(ExitTime IS NOT NULL, ExitTime, stay.SessionId != '', reported.LastTime, SeenTime < EnterTime, {_NOW},
        least({_NOW}, SeenTime + INTERVAL 90 SECOND)) AS EndTime
FROM (SELECT * FROM presence FINAL WHERE NOT Removed
    AND (SdkAppId, HourTime) IN (SELECT SdkAppId, toStartOfHour(SlotTime) FROM dirty)) AS stay
LEFT JOIN (
    SELECT * FROM last_seen
    WHERE (SdkAppId, RoomId, RoomIdType, UserId) IN (
        SELECT SdkAppId, RoomId, RoomIdType, UserId FROM presence WHERE ExitTime IS NULL
            AND (SdkAppId, HourTime) IN (SELECT SdkAppId, toStartOfHour(SlotTime) FROM dirty))
) AS seen ON stay.SdkAppId = seen.SdkAppId AND stay.RoomId = seen.RoomId AND stay.RoomIdType = seen.RoomIdType
    AND stay.UserId = seen.UserId
LEFT JOIN (
    SELECT * FROM session_spans
    WHERE (SdkAppId, RoomId, RoomIdType, UserId, SessionId) IN (
        SELECT SdkAppId, RoomId, RoomIdType, UserId, SessionId FROM presence WHERE SessionId != ''
            AND (SdkAppId, HourTime) IN (SELECT SdkAppId, toStartOfHour(SlotTime) FROM dirty))
) AS reported ON stay.SdkAppId = reported.SdkAppId AND stay.RoomId = reported.RoomId
    AND stay.RoomIdType = reported.RoomIdType AND stay.UserId = reported.UserId AND stay.SessionId = reported.SessionId
"""

AV_USAGE = f"""
INSERT INTO av_usage_5m ({_KEY}, AudioMs, HdMs, FhdMs, TwoKMs, TwoKPlusMs, UnreportedMs, ComputedTime)
WITH heard AS ({_HEARD}), changed AS ({_CHANGED}), dirty AS ({_KNOWN})
SELECT {_KEY}, greatest(0, sum(StayMs) - sum(Hd + Fhd + TwoK + TwoKPlus)), sum(Hd), sum(Fhd), sum(TwoK),
    sum(TwoKPlus), greatest(0, sum(StayMs) - sum(Reported)), now64(6, 'UTC')
FROM (
    SELECT SdkAppId, arrayJoin({_SLOTS}) AS SlotTime, RoomId, RoomIdType, UserId,
        greatest(0, toUnixTimestamp64Milli(least(EndTime, toDateTime64(SlotTime + INTERVAL 5 MINUTE, 3, 'UTC')))
            - toUnixTimestamp64Milli(greatest(EnterTime, toDateTime64(SlotTime, 3, 'UTC')))) AS StayMs,
        0 AS Hd, 0 AS Fhd, 0 AS TwoK, 0 AS TwoKPlus, 0 AS Reported, 0 AS Known
    FROM ({_STAYS})
    UNION ALL
    SELECT SdkAppId, toStartOfFiveMinutes(BucketTime) AS SlotTime, RoomId, RoomIdType, UserId, 0, HdMs, FhdMs, TwoKMs,
        TwoKPlusMs, ReportedMs, 0
    FROM user_10s FINAL
    WHERE (SdkAppId, toStartOfFiveMinutes(BucketTime)) IN (SELECT SdkAppId, SlotTime FROM dirty)
    UNION ALL
    SELECT {_KEY}, 0, 0, 0, 0, 0, 0, 1 FROM av_usage_5m FINAL
    WHERE (SdkAppId, SlotTime) IN (SELECT SdkAppId, SlotTime FROM dirty)
)
WHERE ({_KEY}) IN (SELECT {_KEY} FROM dirty)
GROUP BY {_KEY}
HAVING sum(StayMs + Hd + Fhd + TwoK + TwoKPlus + Known) > 0
"""

_CHANGED_TASKS = f"""
SELECT SdkAppId, TaskId, toUnixTimestamp64Milli(min(StartTime)) FROM task_intervals
WHERE InsertedTime >= {_SINCE} GROUP BY SdkAppId, TaskId
"""
_STRUCTURE = "SdkAppId UInt32, TaskId String, SinceMs Int64"
_INTERVALS = """
SELECT SdkAppId, TaskId, toUnixTimestamp64Milli(StartTime), toUnixTimestamp64Milli(EndTime), TaskType, RecordMode,
    RoomId, RoomIdType, Robots, Inputs, Outputs
FROM task_intervals FINAL INNER JOIN touched USING (SdkAppId, TaskId)
WHERE (SdkAppId, TaskId) IN (SELECT SdkAppId, TaskId FROM touched)
    AND EndTime >= fromUnixTimestamp64Milli(SinceMs, 'UTC')
"""
_KNOWN_SLOTS = """
SELECT SdkAppId, TaskId, toUnixTimestamp(SlotTime), Kind, Free, RoomId, RoomIdType, UserId
FROM task_usage_5m FINAL INNER JOIN touched USING (SdkAppId, TaskId)
WHERE SlotTime >= toDateTime(intDiv(SinceMs, 1000), 'UTC')
    AND (SdkAppId, TaskId) IN (SELECT SdkAppId, TaskId FROM touched)
"""
_KNOWN_RELAYS = """
SELECT SdkAppId, TaskId, toUnixTimestamp(BucketTime), Free
FROM relay_usage_10s FINAL INNER JOIN touched USING (SdkAppId, TaskId)
WHERE BucketTime >= toDateTime(intDiv(SinceMs, 1000), 'UTC')
    AND (SdkAppId, TaskId) IN (SELECT SdkAppId, TaskId FROM touched)
"""
_TASKS_AT_ONCE = 1_000


class AvUsage:
    """Keeps table `av_usage_5m` up to date."""

    name = "usage of users"
    every_s = 60.0

    def __init__(self) -> None:
        self._progress = Progress(self.name)

    async def run(self, store: Store) -> None:
        """Compute what may have changed since the last time."""
        until_us, now_us = await self._progress.begin(store)
        await store.execute(self.name, AV_USAGE, {"since": since_of(until_us), "now": f"{now_us / 1e6:.3f}"})
        await self._progress.done(store, now_us)


class TasksUsage:
    """Keeps tables `task_usage_5m` and `relay_usage_10s` up to date."""

    name = "usage of tasks"
    every_s = 30.0

    def __init__(self) -> None:
        self._progress = Progress(self.name)

    async def run(self, store: Store) -> None:
        """Compute the tasks of which an interval is new, from the five minutes on in which the earliest begins."""
        until_us, now_us = await self._progress.begin(store)
        changed = await store.query(self.name, _CHANGED_TASKS, {"since": since_of(until_us)})
        asked = [(app, task, start - start % SLOT_MS) for app, task, start in changed]
        for first in range(0, len(asked), _TASKS_AT_ONCE):
            await self._compute(store, asked[first : first + _TASKS_AT_ONCE], now_us)
        await self._progress.done(store, now_us)

    async def _compute(self, store: Store, asked: Sequence[tuple[int, str, int]], now_us: int) -> None:
        intervals: defaultdict[tuple[int, str], list[TaskInterval]] = defaultdict(list)
        touched = external(_STRUCTURE, asked)
        for app, task, *columns in await store.rows("task intervals", _INTERVALS, touched):
            intervals[app, task].append(_interval(task, *columns))
        since = {(app, task): since_ms for app, task, since_ms in asked}
        slots, relays = rows_of(intervals, since, now_us)
        known_slots = await store.rows("known task usage", _KNOWN_SLOTS, touched)
        known_relays = await store.rows("known relays", _KNOWN_RELAYS, touched)
        right_slots = {row[:8] for row in slots}
        right_relays = {row[:4] for row in relays}
        gone = [(app, slot, task, *rest) for app, task, slot, *rest in known_slots]
        slots += [(*key, "", 0, 0, 0, 0, 0, 0, now_us) for key in gone if tuple(key) not in right_slots]
        gone = [(app, bucket, task, free) for app, task, bucket, free in known_relays]
        relays += [(*key, 0, 0, now_us) for key in gone if tuple(key) not in right_relays]
        await store.insert("task_usage_5m", slots)
        await store.insert("relay_usage_10s", relays)


def rows_of(
    intervals: Mapping[tuple[int, str], Iterable[TaskInterval]], since: Mapping[tuple[int, str], int], now_us: int
) -> tuple[list[Row], list[Row]]:
    """Rows of `task_usage_5m` and `relay_usage_10s`, for each task from a time on, which is a multiple of 5 minutes."""
    slots: list[Row] = []
    relays: list[Row] = []
    for (app, task), found in intervals.items():
        usage = TaskUsage(found)
        for key, used in usage.slots.items():
            if key.slot_ms >= since[app, task]:
                slots.append(
                    (
                        *(app, key.slot_ms // 1000, task, key.kind, key.free),
                        *(key.room_id, key.room_id_type, key.user_id, used.record_mode),
                        *used.tier_ms,
                        *(used.bits // 8000, now_us),
                    )
                )
        for (bucket, free), (bits, milliseconds) in usage.relays.items():
            if bucket >= since[app, task]:
                relays.append((app, bucket // 1000, task, free, bits // 1000, milliseconds, now_us))
    return slots, relays


def _interval(task_id: str, start: int, end: int, task_type: Any, mode: Any, *rest: Any) -> TaskInterval:
    room_id, room_id_type, robots, inputs, outputs = rest
    return TaskInterval(
        task_id=task_id,
        task_type=task_type,
        start_ms=start,
        end_ms=end,
        record_mode=mode or None,
        room_id=None if room_id_type is None else room_id,
        room_id_type=room_id_type,
        robots=msgspec.json.decode(robots, type=list[Robot]),
        inputs=msgspec.json.decode(inputs, type=list[TaskInput]),
        outputs=msgspec.json.decode(outputs, type=list[TaskOutput]),
    )
