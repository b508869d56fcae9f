"""A hundred million stream samples: a simulated day, copied inside ClickHouse under other names and at other times.

Most copies are calls of one evening, so that thousands of users are online at a time; the rest are days before. One
call of five hours with 20 users is made of numbers. Rollups come from the processor's own jobs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from services.processor import rollups
from services.processor.jobs import CoarserRollups
from services.processor.rollups import DAYS, HOURS, MINUTES
from services.processor.store import external
from services.processor.usage.jobs import AvUsage
from tests.bench.day import APP, DAY_MS
from tests.bench.storage import rows_of

if TYPE_CHECKING:
    from services.processor.jobs import Job
    from services.processor.store import Store
    from tests.support.clickhouse import ClickHouseServer

COPIED = (
    *("samples", "streams", "stutters", "user_10s", "clients", "client_events", "events"),
    *("call_rows", "stay_rows", "presence"),
)
EVENING_MS = 18 * 3_600_000
"""When the evening begins, of the day."""
EVENING_BUCKETS = 390
"""Ten seconds in which calls of the evening begin."""
EVENING_SHARE = 0.8
LONG_ROOM = "4000000001"
LONG_USERS = 20
LONG_MS = 5 * 3_600_000
_HOUR_MS = 3_600_000
BUCKETS_AT_ONCE = 2_000


class Call(NamedTuple):
    """The call of five hours."""

    first_ms: int
    user_id: str
    """Who receives from all others."""


async def fill(clickhouse: ClickHouseServer, store: Store, database: str, first_ms: int, streams: int) -> None:
    """Copy the day that begins at `first_ms` until there are so many stream samples; add the call of five hours."""
    each = int(clickhouse.query(f"SELECT count() FROM {database}.streams"))
    long = long_call(first_ms)
    copies = max(1, round((streams - LONG_USERS * LONG_USERS * 2 * LONG_MS // 2_000) / each) - 1)
    evening = max(1, round(copies * EVENING_SHARE))
    jobs: list[Job] = [CoarserRollups(MINUTES, 1), CoarserRollups(HOURS, 1), CoarserRollups(DAYS, 1), AvUsage()]
    _set_apart(clickhouse, database)
    for copy in range(1, copies + 1):
        if copy <= evening:
            begins = f"{first_ms + EVENING_MS} + sipHash64({copy}, o.RoomId) % {EVENING_BUCKETS} * 10000"
            move = f"{begins} - intDiv(o.StartMs, 10000) * 10000"
        else:
            move = f"-{DAY_MS} * {copy - evening}"
        for table in COPIED:
            _copy(clickhouse, database, table, copy, move)
        if copy % 8 == 0:
            for job in jobs:
                await job.run(store)
    _add_long_call(clickhouse, database, long)
    for job in jobs:
        await job.run(store)
    buckets = rows_of(clickhouse, f"SELECT DISTINCT toUnixTimestamp(BucketTime) AS Bucket FROM {database}.user_10s")
    for first in range(0, len(buckets), BUCKETS_AT_ONCE):
        asked = [(APP, bucket["Bucket"]) for bucket in buckets[first : first + BUCKETS_AT_ONCE]]
        touched = external(rollups.APPLICATION_STRUCTURE, asked)
        await store.recompute("applications", rollups.APPLICATIONS, touched)
    for job in jobs:
        await job.run(store)
    clickhouse.query("DROP DATABASE originals")


def long_call(first_ms: int) -> Call:
    """The call of five hours of the day that begins at `first_ms`: it goes on while the evening begins."""
    return Call(first_ms + EVENING_MS - LONG_MS + 90 * 60_000, _long_user(0))


def _set_apart(clickhouse: ClickHouseServer, database: str) -> None:
    """The day as it is, where copies do not have to be looked through for it."""
    clickhouse.query("CREATE DATABASE IF NOT EXISTS originals")
    for table in COPIED:
        clickhouse.query(
            f"CREATE TABLE originals.{table} ENGINE = MergeTree ORDER BY tuple() "
            f"AS SELECT * FROM {database}.{table} FINAL",
            timeout=900,
        )


def _copy(clickhouse: ClickHouseServer, database: str, table: str, copy: int, move: str) -> None:
    columns = rows_of(
        clickhouse,
        f"SELECT name, type FROM system.columns WHERE database = '{database}' AND table = '{table}' ORDER BY position",
    )
    values = []
    for column in columns:
        name, kind = f"t.{column['name']}", column["type"]
        if column["name"] in ("UserId", "PeerId", "CreatorId"):
            values.append(_other_user(name, copy))
        elif column["name"] == "UserShard":
            values.append(f"toUInt8(CRC32({_other_user('t.UserId', copy)}) % 16)")
        elif column["name"] == "SessionId":
            values.append(f"if({name} = '', '', toString(reinterpretAsUUID(sipHash128({copy}, {name}))))")
        elif column["name"] == "RoomId":
            number = f"toString(sipHash64({copy}, {name}) % 2147483647)"
            values.append(f"if(t.RoomIdType = 0, {number}, 'room-' || lower(hex(sipHash64({copy}, {name}))))")
        elif column["name"] in ("EventId", "CommId") and "String" in kind:
            values.append(f"lower(hex(sipHash128({copy}, {name})))")
        elif column["name"] == "HourTime":
            values.append(f"toStartOfHour({name} + toIntervalSecond(intDiv({move}, 1000)))")
        elif column["name"] == "ComputedTime":
            values.append("now64(6, 'UTC')")
        elif "DateTime64(3" in kind and not kind.startswith("Array"):
            values.append(f"{name} + toIntervalMillisecond({move})")
        elif kind.startswith("DateTime("):
            values.append(f"{name} + toIntervalSecond(intDiv({move}, 1000))")
        else:
            values.append(name)
    names = ", ".join(column["name"] for column in columns)
    clickhouse.query(
        f"INSERT INTO {database}.{table} ({names}) SELECT {', '.join(values)} "
        f"FROM originals.{table} AS t INNER JOIN (SELECT RoomId, toUnixTimestamp64Milli(StartTime) AS StartMs "
        "FROM originals.call_rows) AS o ON t.RoomId = o.RoomId",
        timeout=900,
    )


def _other_user(name: str, copy: int) -> str:
    """A name of the same length."""
    return f"if({name} = '', '', substring(lower(hex(sipHash128({copy}, {name}))), 1, length({name})))"


def _long_user(number: int) -> str:
    return f"long-call-user-{number:02}"


def _add_long_call(clickhouse: ClickHouseServer, database: str, call: Call) -> None:
    """Twenty users, each of whom sends sound and picture and receives those of all others."""
    who = f"""{APP} AS SdkAppId, '{LONG_ROOM}' AS RoomId, 0 AS RoomIdType,
        'long-call-user-' || leftPad(toString(n % {LONG_USERS}), 2, '0') AS UserId,
        'b5b1f9e0-0000-4000-8000-0000000000' || leftPad(toString(n % {LONG_USERS}), 2, '0') AS SessionId,
        toUInt8(CRC32(UserId) % 16) AS UserShard"""
    for first_ms in range(call.first_ms, call.first_ms + LONG_MS, _HOUR_MS):
        cells = _HOUR_MS // 2_000
        start = f"fromUnixTimestamp64Milli({first_ms} + intDiv(n, {LONG_USERS * LONG_USERS * 2}) * 2000, 'UTC')"
        other = f"intDiv(n, {LONG_USERS}) % {LONG_USERS}"
        kind = f"if(intDiv(n, {LONG_USERS * LONG_USERS}) % 2 = 0, 'audio', 'big')"
        clickhouse.query(
            f"""INSERT INTO {database}.streams (SdkAppId, RoomId, RoomIdType, UserId, SessionId, UserShard, PeerId,
                Stream, StartTime, DurMs, Bitrate, Loss, Width, Height, CapFps, EncFps, SendFps, RecFps, DecFps,
                JitterMs, DelayMs, Volume, PlayMs, Muted, ArrivalTime)
            SELECT {who}, if(Sent, '', 'long-call-user-' || leftPad(toString({other}), 2, '0')), {kind}, {start}, 2000,
                if(Sound, 24000 + Chance % 9000, 600000 + Chance % 90000), if(Chance % 5 = 0, Chance % 300 / 100, 0),
                if(Sound, NULL, 640), if(Sound, NULL, 360), if(Sent AND NOT Sound, Fps, NULL),
                if(Sent AND NOT Sound, Fps, NULL), if(Sent AND NOT Sound, Fps, NULL),
                if(Sent OR Sound, NULL, Fps), if(Sent OR Sound, NULL, Fps), if(Sent, NULL, 2 + Chance % 20),
                if(Sent, NULL, 80 + Chance % 90), if(Sound, 40 + Chance % 400 / 10, NULL), if(Sent, NULL, 2000), false,
                toStartOfInterval({start}, INTERVAL 10 SECOND) + toIntervalMillisecond(10000 + Chance % 200)
            FROM (
                SELECT number AS n, cityHash64(number, {first_ms}) AS Chance, n % {LONG_USERS} = {other} AS Sent,
                    {kind} = 'audio' AS Sound, 14.9 + Chance % 20 / 100 AS Fps
                FROM numbers({cells * LONG_USERS * LONG_USERS * 2})
            )""",
            timeout=900,
        )
        start = f"fromUnixTimestamp64Milli({first_ms} + intDiv(n, {LONG_USERS}) * 2000, 'UTC')"
        clickhouse.query(
            f"""INSERT INTO {database}.samples (SdkAppId, RoomId, RoomIdType, UserId, SessionId, UserShard, StartTime,
                DurMs, AppCpu, SysCpu, Rtt, ArrivalTime)
            SELECT {who}, {start}, 2000, 10 + n % 17, 20 + n % 31, 30 + n % 23, {start} + toIntervalSecond(8)
            FROM (SELECT number AS n FROM numbers({cells * LONG_USERS}))""",
            timeout=900,
        )
        bucket = f"fromUnixTimestamp64Milli({first_ms} + intDiv(n, {LONG_USERS}) * 10000, 'UTC')"
        clickhouse.query(
            f"""INSERT INTO {database}.user_10s (SdkAppId, RoomId, RoomIdType, UserId, SessionId, UserShard, BucketTime,
                ReportedMs, TwoKPlusMs, VideoPlayMs, AudioPlayMs, Version)
            SELECT {who}, {bucket}, 10000, 10000, 190000, 190000, 1
            FROM (SELECT number AS n FROM numbers({cells // 5 * LONG_USERS}))""",
            timeout=900,
        )
    enters = f"fromUnixTimestamp64Milli({call.first_ms}, 'UTC')"
    leaves = f"fromUnixTimestamp64Milli({call.first_ms + LONG_MS}, 'UTC')"
    users = f"FROM (SELECT number AS n FROM numbers({LONG_USERS}))"
    clickhouse.query(
        f"""INSERT INTO {database}.call_rows (SdkAppId, RoomId, RoomIdType, StartTime, CommId, CreatorId, RoomScene,
            FirstEntryTime, LastExitTime, CloseTime, JoinedUsers, FromReports, Removed, ComputedTime)
        SELECT {APP}, '{LONG_ROOM}', 0, {enters}, '{APP}_{LONG_ROOM}_{call.first_ms // 1000}', '{_long_user(0)}',
            'call', {enters}, {leaves}, {leaves}, {LONG_USERS}, false, false, now64(6)"""
    )
    clickhouse.query(
        f"""INSERT INTO {database}.stay_rows (SdkAppId, RoomId, RoomIdType, CallTime, UserId, EnterTime, ExitTime, Role,
            TerminalType, UserType, EnterReason, ExitReason, ComputedTime)
        SELECT SdkAppId, RoomId, RoomIdType, {enters}, UserId, {enters}, {leaves}, 20, 2, 3, 1, 1, now64(6)
        FROM (SELECT {who} {users})"""
    )
    clickhouse.query(
        f"""INSERT INTO {database}.clients (SdkAppId, RoomId, RoomIdType, UserId, SessionId, Seq, SentTime, Role,
            SdkType, SdkVersion, DeviceModel, Os, NetworkType, JoinTime, JoinCostMs, JoinResult, Region, Isp,
            ArrivalTime)
        SELECT SdkAppId, RoomId, RoomIdType, UserId, SessionId, 1, {enters}, 20, 'native', '12.3.4', 'Pixel 8 Pro',
            'Android 15', 'wifi', {enters}, 300, 0, 'Europe', 'Example Telecom', {enters}
        FROM (SELECT {who} {users})"""
    )
