"""The console's questions to ClickHouse: SQL with server-side parameters, nothing is sent from here.

Times go in and come out as Unix milliseconds. A rate is a ratio of sums in per cent, NULL where nobody played.
"""

from __future__ import annotations

from typing import NamedTuple


class Query(NamedTuple):
    """SQL and the values of its `{name:Type}` parameters."""

    sql: str
    parameters: dict[str, int | str]


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
    RoomId,
    RoomIdType,
    UserId,
    TaskId,
    Url,
    toUnixTimestamp64Milli(StartedTime) AS StartedTime,
    DurationMs,
    Status,
    Outcome,
    ErrorClass,
    Error,
    Response
FROM deliveries FINAL
WHERE SdkAppId = {sdk_app_id:UInt32}
    AND deliveries.StartedTime >= fromUnixTimestamp64Milli({since_ms:Int64}, 'UTC')
    AND deliveries.StartedTime < fromUnixTimestamp64Milli({until_ms:Int64}, 'UTC')
    AND ({outcome:String} = '' OR Outcome = {outcome:String})
    AND ({search:String} = '' OR positionCaseInsensitiveUTF8(RoomId, {search:String}) > 0)
ORDER BY deliveries.StartedTime DESC, DeliveryId, Attempt DESC
LIMIT {limit:UInt32}
"""


def points(sdk_app_id: int, first_bucket_ms: int, last_bucket_ms: int) -> Query:
    """The buckets of an application from the first to the last, both included, in order of time."""
    return Query(_POINTS, {"sdk_app_id": sdk_app_id, "first_ms": first_bucket_ms, "last_ms": last_bucket_ms})


def rooms(sdk_app_id: int, bucket_ms: int, *, offset: int, size: int, search: str) -> Query:
    """Rooms with users in one bucket whose id holds the text of `search`, the fullest first."""
    where: dict[str, int | str] = {"sdk_app_id": sdk_app_id, "bucket_ms": bucket_ms, "search": search}
    return Query(_ROOMS, where | {"offset": offset, "size": size})


def room_count(sdk_app_id: int, bucket_ms: int, *, search: str) -> Query:
    """How many such rooms there are."""
    return Query(_ROOM_COUNT, {"sdk_app_id": sdk_app_id, "bucket_ms": bucket_ms, "search": search})


def attempts(sdk_app_id: int, *, since_ms: int, until_ms: int, limit: int, outcome: str, search: str) -> Query:
    """Attempts to deliver callbacks that started in [since, until), the newest first.

    Empty texts do not narrow them down.
    """
    span: dict[str, int | str] = {"sdk_app_id": sdk_app_id, "since_ms": since_ms, "until_ms": until_ms}
    return Query(_ATTEMPTS, span | {"limit": limit, "outcome": outcome, "search": search})
