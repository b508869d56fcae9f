"""The statements that compute rollups inside ClickHouse, from rows of `user_10s`. Nothing is sent from here.

Those of ten seconds read an external table `touched` with the rows that are to be computed anew; coarser ones look for
what changed since a time. A statement that runs later has seen more, and its rows count.
"""

# ruff: noqa: S608 -- put together from constants of this module alone
from __future__ import annotations

from typing import NamedTuple

APPLICATION_STRUCTURE = "SdkAppId UInt32, BucketTime DateTime('UTC')"
"""Columns of `touched`."""

_TOUCHED = "(SdkAppId, BucketTime) IN (SELECT SdkAppId, toDateTime64(BucketTime, 3, 'UTC') FROM touched)"
_KEY = "SdkAppId, BucketTime, RoomId, RoomIdType, UserShard, UserId"

PRESENT = f"""
INSERT INTO user_10s ({_KEY}, SessionId, Present, Version)
SELECT {_KEY}, '', max(Here) = 1 AND max(Reported) = 0 AS Now, toUnixTimestamp64Micro(now64(6))
FROM (
    SELECT asked.SdkAppId AS SdkAppId, toDateTime64(asked.BucketTime, 3, 'UTC') AS BucketTime, stay.RoomId AS RoomId,
        stay.RoomIdType AS RoomIdType, toUInt8(CRC32(stay.UserId) % 16) AS UserShard, stay.UserId AS UserId,
        1 AS Here, 0 AS Before, 0 AS Reported
    FROM (SELECT SdkAppId, BucketTime, toStartOfHour(BucketTime) AS HourTime FROM touched) AS asked
    INNER JOIN (
        SELECT SdkAppId, HourTime, RoomId, RoomIdType, UserId, EnterTime, ExitTime FROM presence FINAL
        WHERE NOT Removed AND SessionId = ''
            AND (SdkAppId, HourTime) IN (SELECT SdkAppId, toStartOfHour(BucketTime) FROM touched)
    ) AS stay ON asked.SdkAppId = stay.SdkAppId AND asked.HourTime = stay.HourTime
    LEFT JOIN (
        SELECT SdkAppId, RoomId, RoomIdType, UserId, max(s.LastTime) AS SeenTime FROM sessions AS s
        WHERE (SdkAppId, RoomId, RoomIdType, UserId) IN (
            SELECT SdkAppId, RoomId, RoomIdType, UserId FROM presence
            WHERE (SdkAppId, HourTime) IN (SELECT SdkAppId, toStartOfHour(BucketTime) FROM touched)
                AND ExitTime IS NULL)
        GROUP BY SdkAppId, RoomId, RoomIdType, UserId
    ) AS seen ON stay.SdkAppId = seen.SdkAppId AND stay.RoomId = seen.RoomId
        AND stay.RoomIdType = seen.RoomIdType AND stay.UserId = seen.UserId
    WHERE stay.EnterTime < asked.BucketTime + INTERVAL 10 SECOND AND asked.BucketTime <= now()
        AND if(stay.ExitTime IS NULL,
            seen.SeenTime < stay.EnterTime OR seen.SeenTime + INTERVAL 90 SECOND > asked.BucketTime,
            stay.ExitTime > asked.BucketTime)
    UNION ALL
    SELECT {_KEY}, 0 AS Here, Present AS Before, ReportedMs > 0 AS Reported
    FROM user_10s FINAL
    WHERE {_TOUCHED}
)
GROUP BY {_KEY}
HAVING Now != max(Before)
"""
"""Rows of users who are in a room by their stay and do not report; those that are no longer right are taken back.

Who has reported and been silent for 90 seconds has vanished; who never reported stays until an event tells.
"""

APPLICATIONS = f"""
INSERT INTO app_10s (SdkAppId, BucketTime, OnlineUsers, ReportingUsers, OnlineRooms, AbnormalUsers,
    VideoStutterMs, VideoPlayMs, AudioStutterMs, AudioPlayMs, ComputedTime)
SELECT SdkAppId, BucketTime,
    uniqExactIf((RoomId, RoomIdType, UserId), Present OR ReportedMs > 0),
    uniqExactIf((RoomId, RoomIdType, UserId), ReportedMs > 0),
    uniqExactIf((RoomId, RoomIdType), Present OR ReportedMs > 0), uniqExactIf(UserId, notEmpty(Exceptions)),
    sum(VideoStutterMs), sum(VideoPlayMs), sum(AudioStutterMs), sum(AudioPlayMs), now64(6, 'UTC')
FROM user_10s FINAL
WHERE {_TOUCHED}
GROUP BY SdkAppId, BucketTime
"""
"""Rows of `app_10s`."""


class Coarser(NamedTuple):
    """How one length of buckets is made from the next finer one."""

    finer: str
    suffix: str
    start: str
    """ClickHouse's function for the start of a bucket."""

    @property
    def users(self) -> str:
        """Rows of sessions for buckets of which something was computed since `{since:DateTime64(6)}`."""
        abnormal = "10000 * countIf(notEmpty(Exceptions))" if self.finer == "10s" else "sum(AbnormalMs)"
        bucket = f"toDateTime64({self.start}(BucketTime), 3, 'UTC')"
        session = "SdkAppId, RoomId, RoomIdType, UserShard, UserId, SessionId"
        return f"""
INSERT INTO user_{self.suffix} (SdkAppId, BucketTime, RoomId, RoomIdType, UserShard, UserId, SessionId, Present,
    ReportedMs, HdMs, FhdMs, TwoKMs, TwoKPlusMs, VideoStutterMs, VideoPlayMs, AudioStutterMs, AudioPlayMs, AbnormalMs,
    ComputedTime)
SELECT SdkAppId, {bucket} AS Bucket, RoomId, RoomIdType, UserShard, UserId, SessionId, max(Present), sum(ReportedMs),
    sum(HdMs), sum(FhdMs), sum(TwoKMs), sum(TwoKPlusMs), sum(VideoStutterMs), sum(VideoPlayMs), sum(AudioStutterMs),
    sum(AudioPlayMs), {abnormal}, now64(6, 'UTC')
FROM user_{self.finer} FINAL
WHERE (SdkAppId, {self.start}(BucketTime)) IN (
        SELECT SdkAppId, {self.start}(BucketTime) FROM user_{self.finer}
        WHERE ComputedTime >= {{since:DateTime64(6, 'UTC')}})
    AND ({session}, {self.start}(BucketTime)) IN (
        SELECT {session}, {self.start}(BucketTime) FROM user_{self.finer}
        WHERE ComputedTime >= {{since:DateTime64(6, 'UTC')}})
GROUP BY SdkAppId, Bucket, RoomId, RoomIdType, UserShard, UserId, SessionId
"""

    @property
    def applications(self) -> str:
        """Rows of applications for buckets of which something was computed since `{since:DateTime64(6)}`."""
        peak = "" if self.finer == "10s" else "Peak"
        bucket = f"toDateTime64({self.start}(BucketTime), 3, 'UTC')"
        return f"""
INSERT INTO app_{self.suffix} (SdkAppId, BucketTime, OnlineUsers, ReportingUsers, OnlineRooms, AbnormalUsers,
    PeakOnlineUsers, PeakOnlineRooms, VideoStutterMs, VideoPlayMs, AudioStutterMs, AudioPlayMs, ComputedTime)
SELECT SdkAppId, Bucket, sum(Users), sum(Reporting), sum(Rooms), sum(Abnormal), max(MostUsers), max(MostRooms),
    sum(VideoStutter), sum(VideoPlay), sum(AudioStutter), sum(AudioPlay), now64(6, 'UTC')
FROM (
    SELECT SdkAppId, BucketTime AS Bucket,
        uniqExactIf((RoomId, RoomIdType, UserId), Present OR ReportedMs > 0) AS Users,
        uniqExactIf((RoomId, RoomIdType, UserId), ReportedMs > 0) AS Reporting,
        uniqExactIf((RoomId, RoomIdType), Present OR ReportedMs > 0) AS Rooms,
        uniqExactIf(UserId, AbnormalMs > 0) AS Abnormal, 0 AS MostUsers, 0 AS MostRooms,
        0 AS VideoStutter, 0 AS VideoPlay, 0 AS AudioStutter, 0 AS AudioPlay
    FROM user_{self.suffix} FINAL
    WHERE (SdkAppId, BucketTime) IN (
        SELECT SdkAppId, {bucket} FROM app_{self.finer} WHERE ComputedTime >= {{since:DateTime64(6, 'UTC')}})
    GROUP BY SdkAppId, Bucket
    UNION ALL
    SELECT SdkAppId, {bucket} AS Bucket, 0, 0, 0, 0, max({peak}OnlineUsers), max({peak}OnlineRooms),
        sum(VideoStutterMs), sum(VideoPlayMs), sum(AudioStutterMs), sum(AudioPlayMs)
    FROM app_{self.finer} FINAL
    WHERE (SdkAppId, {bucket}) IN (
        SELECT SdkAppId, {bucket} FROM app_{self.finer} WHERE ComputedTime >= {{since:DateTime64(6, 'UTC')}})
    GROUP BY SdkAppId, Bucket
)
GROUP BY SdkAppId, Bucket
"""


MINUTES = Coarser("10s", "1m", "toStartOfMinute")
HOURS = Coarser("1m", "1h", "toStartOfHour")
DAYS = Coarser("1h", "1d", "toStartOfDay")
