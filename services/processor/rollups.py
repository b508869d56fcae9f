"""The statements that recompute rollups from the facts, inside ClickHouse. Nothing is sent from here.

Each reads an external table `touched` with the rows that are to be computed anew. A statement that runs later has seen
more facts and wins by its `ComputedTime`.
"""

# ruff: noqa: S608 -- put together from constants of this module alone
from __future__ import annotations

ROOM_STRUCTURE = "SdkAppId UInt32, RoomId String, RoomIdType UInt8, BucketTime DateTime('UTC')"
"""Columns of `touched` for `ROOMS`."""
APPLICATION_STRUCTURE = "SdkAppId UInt32, BucketTime DateTime('UTC')"
"""Columns of `touched` for `APPLICATIONS`."""

_ROOM = "SdkAppId, RoomId, RoomIdType"
_USER = f"{_ROOM}, UserId, SessionId"
_BUCKET = "toDateTime(intDiv(toUnixTimestamp(StartTime), 10) * 10, 'UTC')"
# The facts of a bucket, and those of the ten seconds before it that exceptions are judged by.
_NEAR = f"""
    (SdkAppId, toStartOfMinute(StartTime), RoomId, RoomIdType) IN (
        SELECT SdkAppId, toStartOfMinute(arrayJoin([BucketTime, BucketTime - INTERVAL 10 SECOND])), RoomId, RoomIdType
        FROM touched)
    AND ({_ROOM}, {_BUCKET}) IN (
        SELECT {_ROOM}, arrayJoin([BucketTime, BucketTime - INTERVAL 10 SECOND]) FROM touched)
"""
_WITHIN_10_S = "RANGE BETWEEN 9999 PRECEDING AND CURRENT ROW"

# System CPU above 85 %, or where it is unknown an SDK task above 60 ms, in two samples in a row.
_SAMPLES = f"""
SELECT {_ROOM}, BucketTime, uniqExact(UserId) AS OnlineUsers,
    uniqExactStateIf(UserId, Busy AND BusyBefore AND StartMs - StartMsBefore <= 4000) AS AbnormalUserState,
    0 AS VideoStutterMs, 0 AS VideoPlayMs, 0 AS AudioStutterMs, 0 AS AudioPlayMs
FROM (
    SELECT {_ROOM}, UserId, {_BUCKET} AS BucketTime, toUnixTimestamp64Milli(StartTime) AS StartMs,
        ifNull(SysCpu > 85, ifNull(SdkTaskMs > 60, false)) AS Busy,
        lagInFrame(Busy) OVER (
            PARTITION BY {_USER} ORDER BY StartTime ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) AS BusyBefore,
        lagInFrame(StartMs) OVER (
            PARTITION BY {_USER} ORDER BY StartTime ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) AS StartMsBefore
    FROM samples FINAL
    WHERE {_NEAR}
)
GROUP BY {_ROOM}, BucketTime
"""

# Fewer than 10 frames a second (5 of a screen) or a swing of more than 5 within ten seconds, in two samples in a row;
# or ten seconds without mute and with volume 0. A picture that is not meant to play has no frame rate. Rounded, since
# 9.8 less 4.8 may be a little more than 5 to a computer.
_STREAMS = f"""
SELECT {_ROOM}, BucketTime, 0 AS OnlineUsers,
    uniqExactStateIf(UserId, (Jerky AND JerkyBefore AND StartMs - StartMsBefore <= 4000) OR SilentMs >= 10000)
        AS AbnormalUserState,
    0 AS VideoStutterMs, sumIf(Playing, Stream != 'audio') AS VideoPlayMs,
    0 AS AudioStutterMs, sumIf(Playing, Stream = 'audio') AS AudioPlayMs
FROM (
    SELECT *,
        lagInFrame(Jerky) OVER (
            PARTITION BY {_USER}, PeerId, Stream ORDER BY StartMs ROWS BETWEEN 1 PRECEDING AND CURRENT ROW
        ) AS JerkyBefore,
        lagInFrame(StartMs) OVER (
            PARTITION BY {_USER}, PeerId, Stream ORDER BY StartMs ROWS BETWEEN 1 PRECEDING AND CURRENT ROW
        ) AS StartMsBefore
    FROM (
        SELECT {_USER}, PeerId, Stream, {_BUCKET} AS BucketTime, toUnixTimestamp64Milli(StartTime) AS StartMs,
            ifNull(Muted, false) AS Quiet,
            if(PeerId = '', 0, toUInt64(ifNull(PlayMs, if(Quiet, 0, DurMs)))) AS Playing,
            if(Stream = 'audio' OR Quiet OR (PeerId != '' AND Playing = 0), NULL,
                if(PeerId = '', least(ifNull(CapFps, SendFps), ifNull(SendFps, CapFps)), RenderFps)) AS Fps,
            ifNull(Fps < if(Stream = 'sub', 5, 10), false) OR ifNull(
                round(max(Fps) OVER Recent - min(Fps) OVER Recent, 3) > 5 AND Fps IS NOT NULL, false) AS Jerky,
            sum(if(Stream = 'audio' AND NOT Quiet AND ifNull(Volume = 0, false), DurMs, 0)) OVER Recent AS SilentMs
        FROM streams FINAL
        WHERE {_NEAR}
        WINDOW Recent AS (PARTITION BY {_USER}, PeerId, Stream ORDER BY StartMs {_WITHIN_10_S})
    )
)
GROUP BY {_ROOM}, BucketTime
"""

# An episode counts whole once it has reached its limit, split by overlap over the buckets.
_STUTTERS = f"""
SELECT {_ROOM}, BucketTime, 0 AS OnlineUsers, uniqExactStateIf(UserId, false) AS AbnormalUserState,
    sumIf(Overlap, Stream != 'audio') AS VideoStutterMs, 0 AS VideoPlayMs,
    sumIf(Overlap, Stream = 'audio') AS AudioStutterMs, 0 AS AudioPlayMs
FROM (
    SELECT {_ROOM}, BucketTime, UserId, Stream,
        least(toUnixTimestamp64Milli(EpisodeTime) + EpisodeMs, toInt64(toUnixTimestamp(BucketTime)) * 1000 + 10000)
            - greatest(toUnixTimestamp64Milli(EpisodeTime), toInt64(toUnixTimestamp(BucketTime)) * 1000) AS Overlap
    FROM stutters FINAL
    WHERE (SdkAppId, toStartOfMinute(BucketTime), RoomId, RoomIdType) IN (
            SELECT SdkAppId, toStartOfMinute(BucketTime), RoomId, RoomIdType FROM touched)
        AND EpisodeMs >= if(Stream = 'audio', 200, 600)
)
GROUP BY {_ROOM}, BucketTime
"""

ROOMS = f"""
INSERT INTO room_10s (SdkAppId, BucketTime, RoomId, RoomIdType, OnlineUsers, AbnormalUsers, AbnormalUserState,
    VideoStutterMs, VideoPlayMs, AudioStutterMs, AudioPlayMs, ComputedTime)
SELECT SdkAppId, BucketTime, RoomId, RoomIdType, sum(OnlineUsers), uniqExactMerge(AbnormalUserState),
    uniqExactMergeState(AbnormalUserState),
    sum(VideoStutterMs), sum(VideoPlayMs), sum(AudioStutterMs), sum(AudioPlayMs), now64(6, 'UTC')
FROM ({_SAMPLES} UNION ALL {_STREAMS} UNION ALL {_STUTTERS})
WHERE ({_ROOM}, BucketTime) IN (SELECT {_ROOM}, BucketTime FROM touched)
GROUP BY SdkAppId, BucketTime, RoomId, RoomIdType
"""
"""Recompute rows of `room_10s`."""

APPLICATIONS = """
INSERT INTO app_10s (SdkAppId, BucketTime, OnlineUsers, OnlineRooms, AbnormalUsers,
    VideoStutterMs, VideoPlayMs, AudioStutterMs, AudioPlayMs, ComputedTime)
SELECT SdkAppId, BucketTime, sum(OnlineUsers), countIf(OnlineUsers > 0), uniqExactMerge(AbnormalUserState),
    sum(VideoStutterMs), sum(VideoPlayMs), sum(AudioStutterMs), sum(AudioPlayMs), now64(6, 'UTC')
FROM room_10s FINAL
WHERE (SdkAppId, BucketTime) IN (SELECT SdkAppId, toDateTime64(BucketTime, 3, 'UTC') FROM touched)
GROUP BY SdkAppId, BucketTime
"""
"""Recompute rows of `app_10s` from those of the rooms."""
