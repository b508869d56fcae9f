"""The console's questions to ClickHouse: SQL with server-side parameters, nothing is sent from here.

Times go in and come out as Unix milliseconds. A rate is a ratio of sums in per cent, NULL where nobody played.
"""

from __future__ import annotations

from typing import NamedTuple

from msgspec import Struct, structs

Parameter = int | str | list[str]


class Query(NamedTuple):
    """SQL and the values of its `{name:Type}` parameters."""

    sql: str
    parameters: dict[str, Parameter]


class Narrowed(Struct, frozen=True, kw_only=True):
    """Which attempts to deliver callbacks are meant; what is empty narrows nothing down."""

    outcome: str = ""
    search: str = ""
    """A part of the room id."""
    room: str = ""
    event_group_id: int = 0
    event_type: int = 0
    status: int | None = None
    """HTTP status, 0 for none."""
    error_class: str = ""
    url: str = ""
    """How the URL begins."""
    ids: tuple[str, ...] = ()
    """Ids of deliveries."""


ANY = Narrowed()


_POINTS = """
SELECT
    toUnixTimestamp64Milli(BucketTime) AS BucketTime,
    OnlineUsers,
    AbnormalUsers,
    OnlineRooms,
    VideoStutterMs / nullIf(VideoPlayMs, 0) * 100 AS VideoStutterRate,
    AudioStutterMs / nullIf(AudioPlayMs, 0) * 100 AS AudioStutterRate
FROM app_10s FINAL
WHERE SdkAppId = {sdk_app_id:UInt32}
    AND app_10s.BucketTime >= fromUnixTimestamp64Milli({first_ms:Int64}, 'UTC')
    AND app_10s.BucketTime <= fromUnixTimestamp64Milli({last_ms:Int64}, 'UTC')
ORDER BY BucketTime
"""

_ROOMS_OF_BUCKET = """
FROM room_10s
WHERE SdkAppId = {sdk_app_id:UInt32}
    AND BucketTime = fromUnixTimestamp64Milli({bucket_ms:Int64}, 'UTC')
    AND OnlineUsers > 0
    AND ({search:String} = '' OR positionCaseInsensitiveUTF8(RoomId, {search:String}) > 0)
"""

_ROOMS = f"""
SELECT
    RoomId,
    RoomIdType,
    OnlineUsers,
    AbnormalUsers,
    VideoStutterMs / nullIf(VideoPlayMs, 0) * 100 AS VideoStutterRate,
    AudioStutterMs / nullIf(AudioPlayMs, 0) * 100 AS AudioStutterRate
{_ROOMS_OF_BUCKET}
ORDER BY OnlineUsers DESC, RoomId, RoomIdType
LIMIT {{size:UInt32}} OFFSET {{offset:UInt64}}
"""

_ROOM_COUNT = f"SELECT count() AS Total {_ROOMS_OF_BUCKET}"

_ATTEMPTS = """
SELECT
    DeliveryId,
    Attempt,
    RequestId,
    EventId,
    EventGroupId,
    EventType,
    toUnixTimestamp64Milli(EventTime) AS EventTime,
    toUnixTimestamp64Milli(AcceptedTime) AS AcceptedTime,
    RoomId,
    RoomIdType,
    UserId,
    TaskId,
    Url,
    toUnixTimestamp64Milli(CallbackTime) AS CallbackTime,
    toUnixTimestamp64Milli(StartedTime) AS StartedTime,
    DurationMs,
    Status,
    Outcome,
    ErrorClass,
    Error,
    Response
FROM deliveries
WHERE SdkAppId = {sdk_app_id:UInt32}
    AND deliveries.StartedTime >= fromUnixTimestamp64Milli({since_ms:Int64}, 'UTC')
    AND deliveries.StartedTime < fromUnixTimestamp64Milli({until_ms:Int64}, 'UTC')
    AND (empty({ids:Array(String)}) OR DeliveryId IN {ids:Array(String)})
    AND ({outcome:String} = '' OR Outcome = {outcome:String})
    AND ({search:String} = '' OR positionCaseInsensitiveUTF8(RoomId, {search:String}) > 0)
    AND ({room:String} = '' OR RoomId = {room:String})
    AND ({event_group_id:UInt8} = 0 OR EventGroupId = {event_group_id:UInt8})
    AND ({event_type:UInt16} = 0 OR EventType = {event_type:UInt16})
    AND ({status:Int32} < 0 OR Status = {status:Int32})
    AND ({error_class:String} = '' OR ErrorClass = {error_class:String})
    AND startsWith(Url, {url:String})
ORDER BY deliveries.StartedTime DESC, DeliveryId, Attempt DESC
LIMIT 1 BY RequestId
LIMIT {limit:UInt32}
"""

_EVENT = """
SELECT
    EventId,
    EventGroupId,
    EventType,
    toUnixTimestamp64Milli(EventTime) AS EventTime,
    toUnixTimestamp64Milli(ArrivalTime) AS ArrivalTime,
    RoomId,
    RoomIdType,
    UserId,
    TaskId,
    EventInfo,
    Extra
FROM events FINAL
WHERE SdkAppId = {sdk_app_id:UInt32}
    AND ({any_room:Bool} OR RoomId = {room:String})
    AND EventId = {event_id:String}
LIMIT 1
"""


def points(sdk_app_id: int, first_bucket_ms: int, last_bucket_ms: int) -> Query:
    """The buckets of an application from the first to the last, both included, in order of time."""
    return Query(_POINTS, {"sdk_app_id": sdk_app_id, "first_ms": first_bucket_ms, "last_ms": last_bucket_ms})


def rooms(sdk_app_id: int, bucket_ms: int, *, offset: int, size: int, search: str) -> Query:
    """Rooms with users in one bucket whose id holds the text of `search`, the fullest first."""
    where: dict[str, Parameter] = {"sdk_app_id": sdk_app_id, "bucket_ms": bucket_ms, "search": search}
    return Query(_ROOMS, where | {"offset": offset, "size": size})


def room_count(sdk_app_id: int, bucket_ms: int, *, search: str) -> Query:
    """How many such rooms there are."""
    return Query(_ROOM_COUNT, {"sdk_app_id": sdk_app_id, "bucket_ms": bucket_ms, "search": search})


def attempts(sdk_app_id: int, *, since_ms: int, until_ms: int, limit: int, narrowed: Narrowed) -> Query:
    """Attempts to deliver callbacks that started in [since, until), the newest first."""
    status = -1 if narrowed.status is None else narrowed.status
    span: dict[str, Parameter] = {"sdk_app_id": sdk_app_id, "since_ms": since_ms, "until_ms": until_ms, "limit": limit}
    return Query(_ATTEMPTS, span | structs.asdict(narrowed) | {"ids": list(narrowed.ids), "status": status})


def event(sdk_app_id: int, event_id: str, *, room: str | None) -> Query:
    """One event as it was posted; quicker where its room is known."""
    where: dict[str, Parameter] = {"sdk_app_id": sdk_app_id, "event_id": event_id}
    return Query(_EVENT, where | {"any_room": room is None, "room": room or ""})
