-- Rollups are computed from the facts whenever a fact that they depend on arrives, and replace the earlier row: the row
-- made from more facts, or later, counts. They hold sums of durations, never ratios. Read with FINAL.
--
-- By user and session there are tables for ten seconds, a minute, an hour and a day, each made from the next finer one.
-- What is asked for by room or dimension is added up from these by views; applications have tables of their own.

CREATE TABLE IF NOT EXISTS {database}.user_10s
(
    SdkAppId UInt32 COMMENT 'Application',
    BucketTime DateTime64(3, 'UTC') COMMENT 'Start of the ten seconds' CODEC(Delta, ZSTD(1)),
    RoomId LowCardinality(String) COMMENT 'Room, as text',
    RoomIdType UInt8 COMMENT '0 numeric room, 1 string room',
    UserShard UInt8 COMMENT 'Shard of the user within the room, 0 to 15',
    UserId String COMMENT 'User',
    SessionId String COMMENT 'Fresh for each entry of the user; empty where the user is known by the stay alone',
    Present Bool COMMENT 'In the room by the stay, without a report in the bucket',
    ReportedMs UInt32 COMMENT 'Milliseconds that samples cover; 0 where only a stutter reaches into the bucket',
    HdMs UInt32 COMMENT 'Milliseconds in which the received pictures had up to 921,600 pixels together, and at least one',
    FhdMs UInt32 COMMENT 'Milliseconds with up to 2,073,600 pixels received',
    TwoKMs UInt32 COMMENT 'Milliseconds with up to 3,686,400 pixels received',
    TwoKPlusMs UInt32 COMMENT 'Milliseconds with more pixels received',
    VideoStutterMs UInt32 COMMENT 'Milliseconds of video stutters of 600 ms or longer within the bucket',
    VideoPlayMs UInt32 COMMENT 'Milliseconds of video that was meant to play',
    AudioStutterMs UInt32 COMMENT 'Milliseconds of audio stutters of 200 ms or longer within the bucket',
    AudioPlayMs UInt32 COMMENT 'Milliseconds of audio that was meant to play',
    Exceptions Array(Tuple(
        Exception Enum8('no-audio' = 1, 'frame-rate' = 2, 'cpu' = 3),
        PeerId String,
        Stream Enum8('audio' = 0, 'big' = 1, 'small' = 2, 'sub' = 3),
        Cause LowCardinality(String)
    )) COMMENT 'Exceptions that the user met in the bucket, with the likely cause of each',
    Version UInt64 COMMENT 'Grows with the facts that the row was made from: of two rows of one key the higher counts',
    ComputedTime DateTime64(6, 'UTC') DEFAULT now64(6, 'UTC') COMMENT 'When the row was made' CODEC(Delta, ZSTD(1)),
    INDEX computed ComputedTime TYPE minmax GRANULARITY 1
)
ENGINE = ReplacingMergeTree(Version)
PARTITION BY toDate(BucketTime)
ORDER BY (SdkAppId, BucketTime, RoomId, RoomIdType, UserShard, UserId, SessionId)
SETTINGS default_compression_codec = 'ZSTD(1)'
COMMENT 'Quality of one session, one row for ten seconds with data: every other rollup is made from these';

CREATE TABLE IF NOT EXISTS {database}.user_1m
(
    SdkAppId UInt32 COMMENT 'Application',
    BucketTime DateTime64(3, 'UTC') COMMENT 'Start of the minute' CODEC(Delta, ZSTD(1)),
    RoomId LowCardinality(String) COMMENT 'Room, as text',
    RoomIdType UInt8 COMMENT '0 numeric room, 1 string room',
    UserShard UInt8 COMMENT 'Shard of the user within the room, 0 to 15',
    UserId String COMMENT 'User',
    SessionId String COMMENT 'Fresh for each entry of the user; empty where the user is known by the stay alone',
    Present Bool COMMENT 'In the room by the stay, without a report, in some ten seconds of it',
    ReportedMs UInt32 COMMENT 'Milliseconds that samples cover',
    HdMs UInt32 COMMENT 'Milliseconds in which the received pictures had up to 921,600 pixels together, and at least one',
    FhdMs UInt32 COMMENT 'Milliseconds with up to 2,073,600 pixels received',
    TwoKMs UInt32 COMMENT 'Milliseconds with up to 3,686,400 pixels received',
    TwoKPlusMs UInt32 COMMENT 'Milliseconds with more pixels received',
    VideoStutterMs UInt32 COMMENT 'Milliseconds of video stutters of 600 ms or longer',
    VideoPlayMs UInt32 COMMENT 'Milliseconds of video that was meant to play',
    AudioStutterMs UInt32 COMMENT 'Milliseconds of audio stutters of 200 ms or longer',
    AudioPlayMs UInt32 COMMENT 'Milliseconds of audio that was meant to play',
    AbnormalMs UInt32 COMMENT 'Ten seconds for each bucket of ten seconds in which the user met an exception',
    ComputedTime DateTime64(6, 'UTC') COMMENT 'When the row was made; of two rows of one key the later one counts'
        CODEC(Delta, ZSTD(1)),
    INDEX computed ComputedTime TYPE minmax GRANULARITY 1
)
ENGINE = ReplacingMergeTree(ComputedTime)
PARTITION BY toDate(BucketTime)
ORDER BY (SdkAppId, BucketTime, RoomId, RoomIdType, UserShard, UserId, SessionId)
SETTINGS default_compression_codec = 'ZSTD(1)'
COMMENT 'Quality of one session, one row for a minute with data';

CREATE TABLE IF NOT EXISTS {database}.user_1h
(
    SdkAppId UInt32 COMMENT 'Application',
    BucketTime DateTime64(3, 'UTC') COMMENT 'Start of the hour' CODEC(Delta, ZSTD(1)),
    RoomId LowCardinality(String) COMMENT 'Room, as text',
    RoomIdType UInt8 COMMENT '0 numeric room, 1 string room',
    UserShard UInt8 COMMENT 'Shard of the user within the room, 0 to 15',
    UserId String COMMENT 'User',
    SessionId String COMMENT 'Fresh for each entry of the user; empty where the user is known by the stay alone',
    Present Bool COMMENT 'In the room by the stay, without a report, in some ten seconds of it',
    ReportedMs UInt32 COMMENT 'Milliseconds that samples cover',
    HdMs UInt32 COMMENT 'Milliseconds in which the received pictures had up to 921,600 pixels together, and at least one',
    FhdMs UInt32 COMMENT 'Milliseconds with up to 2,073,600 pixels received',
    TwoKMs UInt32 COMMENT 'Milliseconds with up to 3,686,400 pixels received',
    TwoKPlusMs UInt32 COMMENT 'Milliseconds with more pixels received',
    VideoStutterMs UInt32 COMMENT 'Milliseconds of video stutters of 600 ms or longer',
    VideoPlayMs UInt32 COMMENT 'Milliseconds of video that was meant to play',
    AudioStutterMs UInt32 COMMENT 'Milliseconds of audio stutters of 200 ms or longer',
    AudioPlayMs UInt32 COMMENT 'Milliseconds of audio that was meant to play',
    AbnormalMs UInt32 COMMENT 'Ten seconds for each bucket of ten seconds in which the user met an exception',
    ComputedTime DateTime64(6, 'UTC') COMMENT 'When the row was made; of two rows of one key the later one counts'
        CODEC(Delta, ZSTD(1)),
    INDEX computed ComputedTime TYPE minmax GRANULARITY 1
)
ENGINE = ReplacingMergeTree(ComputedTime)
PARTITION BY toYYYYMM(BucketTime)
ORDER BY (SdkAppId, BucketTime, RoomId, RoomIdType, UserShard, UserId, SessionId)
SETTINGS default_compression_codec = 'ZSTD(1)'
COMMENT 'Quality of one session, one row for a hour with data';

CREATE TABLE IF NOT EXISTS {database}.user_1d
(
    SdkAppId UInt32 COMMENT 'Application',
    BucketTime DateTime64(3, 'UTC') COMMENT 'Start of the day, UTC' CODEC(Delta, ZSTD(1)),
    RoomId LowCardinality(String) COMMENT 'Room, as text',
    RoomIdType UInt8 COMMENT '0 numeric room, 1 string room',
    UserShard UInt8 COMMENT 'Shard of the user within the room, 0 to 15',
    UserId String COMMENT 'User',
    SessionId String COMMENT 'Fresh for each entry of the user; empty where the user is known by the stay alone',
    Present Bool COMMENT 'In the room by the stay, without a report, in some ten seconds of it',
    ReportedMs UInt32 COMMENT 'Milliseconds that samples cover',
    HdMs UInt32 COMMENT 'Milliseconds in which the received pictures had up to 921,600 pixels together, and at least one',
    FhdMs UInt32 COMMENT 'Milliseconds with up to 2,073,600 pixels received',
    TwoKMs UInt32 COMMENT 'Milliseconds with up to 3,686,400 pixels received',
    TwoKPlusMs UInt32 COMMENT 'Milliseconds with more pixels received',
    VideoStutterMs UInt32 COMMENT 'Milliseconds of video stutters of 600 ms or longer',
    VideoPlayMs UInt32 COMMENT 'Milliseconds of video that was meant to play',
    AudioStutterMs UInt32 COMMENT 'Milliseconds of audio stutters of 200 ms or longer',
    AudioPlayMs UInt32 COMMENT 'Milliseconds of audio that was meant to play',
    AbnormalMs UInt32 COMMENT 'Ten seconds for each bucket of ten seconds in which the user met an exception',
    ComputedTime DateTime64(6, 'UTC') COMMENT 'When the row was made; of two rows of one key the later one counts'
        CODEC(Delta, ZSTD(1)),
    INDEX computed ComputedTime TYPE minmax GRANULARITY 1
)
ENGINE = ReplacingMergeTree(ComputedTime)
PARTITION BY toYYYYMM(BucketTime)
ORDER BY (SdkAppId, BucketTime, RoomId, RoomIdType, UserShard, UserId, SessionId)
SETTINGS default_compression_codec = 'ZSTD(1)'
COMMENT 'Quality of one session, one row for a day with data';

CREATE TABLE IF NOT EXISTS {database}.app_10s
(
    SdkAppId UInt32 COMMENT 'Application',
    BucketTime DateTime64(3, 'UTC') COMMENT 'Start of the ten seconds' CODEC(DoubleDelta, ZSTD(1)),
    OnlineUsers UInt32 COMMENT 'Distinct (room, user) that were in a room: who is in two rooms counts twice',
    ReportingUsers UInt32 COMMENT 'Those of them with a sample that starts in the bucket; of the others nothing is known',
    OnlineRooms UInt32 COMMENT 'Rooms with online users',
    AbnormalUsers UInt32 COMMENT 'Distinct users who met an exception, over all rooms',
    VideoStutterMs UInt64 COMMENT 'Milliseconds of video stutters of 600 ms or longer within the bucket',
    VideoPlayMs UInt64 COMMENT 'Milliseconds of video that was meant to play',
    AudioStutterMs UInt64 COMMENT 'Milliseconds of audio stutters of 200 ms or longer within the bucket',
    AudioPlayMs UInt64 COMMENT 'Milliseconds of audio that was meant to play',
    ComputedTime DateTime64(6, 'UTC') COMMENT 'When the row was computed; of two rows of one key the later one counts'
)
ENGINE = ReplacingMergeTree(ComputedTime)
PARTITION BY toDate(BucketTime)
ORDER BY (SdkAppId, BucketTime)
SETTINGS default_compression_codec = 'ZSTD(1)'
COMMENT 'Quality and scale of one application, one row for ten seconds with data';

CREATE TABLE IF NOT EXISTS {database}.app_1m
(
    SdkAppId UInt32 COMMENT 'Application',
    BucketTime DateTime64(3, 'UTC') COMMENT 'Start of the minute' CODEC(DoubleDelta, ZSTD(1)),
    OnlineUsers UInt32 COMMENT 'Distinct (room, user) that were in a room at some time of it',
    ReportingUsers UInt32 COMMENT 'Those of them who reported',
    OnlineRooms UInt32 COMMENT 'Distinct rooms with online users',
    AbnormalUsers UInt32 COMMENT 'Distinct users who met an exception, over all rooms',
    PeakOnlineUsers UInt32 COMMENT 'Most online users of any ten seconds of it',
    PeakOnlineRooms UInt32 COMMENT 'Most online rooms of any ten seconds of it',
    VideoStutterMs UInt64 COMMENT 'Milliseconds of video stutters of 600 ms or longer',
    VideoPlayMs UInt64 COMMENT 'Milliseconds of video that was meant to play',
    AudioStutterMs UInt64 COMMENT 'Milliseconds of audio stutters of 200 ms or longer',
    AudioPlayMs UInt64 COMMENT 'Milliseconds of audio that was meant to play',
    ComputedTime DateTime64(6, 'UTC') COMMENT 'When the row was computed; of two rows of one key the later one counts'
)
ENGINE = ReplacingMergeTree(ComputedTime)
PARTITION BY toYYYYMM(BucketTime)
ORDER BY (SdkAppId, BucketTime)
SETTINGS default_compression_codec = 'ZSTD(1)'
COMMENT 'Quality and scale of one application, one row for a minute with data';

CREATE TABLE IF NOT EXISTS {database}.app_1h
(
    SdkAppId UInt32 COMMENT 'Application',
    BucketTime DateTime64(3, 'UTC') COMMENT 'Start of the hour' CODEC(DoubleDelta, ZSTD(1)),
    OnlineUsers UInt32 COMMENT 'Distinct (room, user) that were in a room at some time of it',
    ReportingUsers UInt32 COMMENT 'Those of them who reported',
    OnlineRooms UInt32 COMMENT 'Distinct rooms with online users',
    AbnormalUsers UInt32 COMMENT 'Distinct users who met an exception, over all rooms',
    PeakOnlineUsers UInt32 COMMENT 'Most online users of any ten seconds of it',
    PeakOnlineRooms UInt32 COMMENT 'Most online rooms of any ten seconds of it',
    VideoStutterMs UInt64 COMMENT 'Milliseconds of video stutters of 600 ms or longer',
    VideoPlayMs UInt64 COMMENT 'Milliseconds of video that was meant to play',
    AudioStutterMs UInt64 COMMENT 'Milliseconds of audio stutters of 200 ms or longer',
    AudioPlayMs UInt64 COMMENT 'Milliseconds of audio that was meant to play',
    ComputedTime DateTime64(6, 'UTC') COMMENT 'When the row was computed; of two rows of one key the later one counts'
)
ENGINE = ReplacingMergeTree(ComputedTime)
PARTITION BY toYYYYMM(BucketTime)
ORDER BY (SdkAppId, BucketTime)
SETTINGS default_compression_codec = 'ZSTD(1)'
COMMENT 'Quality and scale of one application, one row for a hour with data';

CREATE TABLE IF NOT EXISTS {database}.app_1d
(
    SdkAppId UInt32 COMMENT 'Application',
    BucketTime DateTime64(3, 'UTC') COMMENT 'Start of the day, UTC' CODEC(DoubleDelta, ZSTD(1)),
    OnlineUsers UInt32 COMMENT 'Distinct (room, user) that were in a room at some time of it',
    ReportingUsers UInt32 COMMENT 'Those of them who reported',
    OnlineRooms UInt32 COMMENT 'Distinct rooms with online users',
    AbnormalUsers UInt32 COMMENT 'Distinct users who met an exception, over all rooms',
    PeakOnlineUsers UInt32 COMMENT 'Most online users of any ten seconds of it',
    PeakOnlineRooms UInt32 COMMENT 'Most online rooms of any ten seconds of it',
    VideoStutterMs UInt64 COMMENT 'Milliseconds of video stutters of 600 ms or longer',
    VideoPlayMs UInt64 COMMENT 'Milliseconds of video that was meant to play',
    AudioStutterMs UInt64 COMMENT 'Milliseconds of audio stutters of 200 ms or longer',
    AudioPlayMs UInt64 COMMENT 'Milliseconds of audio that was meant to play',
    ComputedTime DateTime64(6, 'UTC') COMMENT 'When the row was computed; of two rows of one key the later one counts'
)
ENGINE = ReplacingMergeTree(ComputedTime)
PARTITION BY toYYYYMM(BucketTime)
ORDER BY (SdkAppId, BucketTime)
SETTINGS default_compression_codec = 'ZSTD(1)'
COMMENT 'Quality and scale of one application, one row for a day with data';

CREATE VIEW IF NOT EXISTS {database}.room_10s AS
SELECT SdkAppId, BucketTime, RoomId, RoomIdType,
    toUInt32(uniqExactIf(UserId, Present OR ReportedMs > 0)) AS OnlineUsers,
    toUInt32(uniqExactIf(UserId, ReportedMs > 0)) AS ReportingUsers,
    toUInt32(uniqExactIf(UserId, notEmpty(Exceptions))) AS AbnormalUsers,
    sum(u.VideoStutterMs) AS VideoStutterMs, sum(u.VideoPlayMs) AS VideoPlayMs,
    sum(u.AudioStutterMs) AS AudioStutterMs, sum(u.AudioPlayMs) AS AudioPlayMs
FROM {database}.user_10s AS u FINAL
WHERE Present OR SessionId != ''
GROUP BY SdkAppId, BucketTime, RoomId, RoomIdType
COMMENT 'Quality and scale of one room, one row for ten seconds with data';

CREATE VIEW IF NOT EXISTS {database}.room_1m AS
SELECT SdkAppId, BucketTime, RoomId, RoomIdType,
    toUInt32(uniqExactIf(UserId, Present OR ReportedMs > 0)) AS OnlineUsers,
    toUInt32(uniqExactIf(UserId, ReportedMs > 0)) AS ReportingUsers,
    toUInt32(uniqExactIf(UserId, AbnormalMs > 0)) AS AbnormalUsers,
    sum(u.VideoStutterMs) AS VideoStutterMs, sum(u.VideoPlayMs) AS VideoPlayMs,
    sum(u.AudioStutterMs) AS AudioStutterMs, sum(u.AudioPlayMs) AS AudioPlayMs
FROM {database}.user_1m AS u FINAL
WHERE Present OR SessionId != ''
GROUP BY SdkAppId, BucketTime, RoomId, RoomIdType
COMMENT 'Quality and scale of one room, one row for a minute with data';

CREATE VIEW IF NOT EXISTS {database}.room_1h AS
SELECT SdkAppId, BucketTime, RoomId, RoomIdType,
    toUInt32(uniqExactIf(UserId, Present OR ReportedMs > 0)) AS OnlineUsers,
    toUInt32(uniqExactIf(UserId, ReportedMs > 0)) AS ReportingUsers,
    toUInt32(uniqExactIf(UserId, AbnormalMs > 0)) AS AbnormalUsers,
    sum(u.VideoStutterMs) AS VideoStutterMs, sum(u.VideoPlayMs) AS VideoPlayMs,
    sum(u.AudioStutterMs) AS AudioStutterMs, sum(u.AudioPlayMs) AS AudioPlayMs
FROM {database}.user_1h AS u FINAL
WHERE Present OR SessionId != ''
GROUP BY SdkAppId, BucketTime, RoomId, RoomIdType
COMMENT 'Quality and scale of one room, one row for an hour with data';

CREATE VIEW IF NOT EXISTS {database}.room_1d AS
SELECT SdkAppId, BucketTime, RoomId, RoomIdType,
    toUInt32(uniqExactIf(UserId, Present OR ReportedMs > 0)) AS OnlineUsers,
    toUInt32(uniqExactIf(UserId, ReportedMs > 0)) AS ReportingUsers,
    toUInt32(uniqExactIf(UserId, AbnormalMs > 0)) AS AbnormalUsers,
    sum(u.VideoStutterMs) AS VideoStutterMs, sum(u.VideoPlayMs) AS VideoPlayMs,
    sum(u.AudioStutterMs) AS AudioStutterMs, sum(u.AudioPlayMs) AS AudioPlayMs
FROM {database}.user_1d AS u FINAL
WHERE Present OR SessionId != ''
GROUP BY SdkAppId, BucketTime, RoomId, RoomIdType
COMMENT 'Quality and scale of one room, one row for a day with data';

CREATE VIEW IF NOT EXISTS {database}.session_clients AS
SELECT SdkAppId, RoomId, RoomIdType, UserId, SessionId,
    argMax(c.Role, c.Seq) AS Role, argMax(c.TerminalType, c.Seq) AS TerminalType, argMax(c.UserType, c.Seq) AS UserType,
    argMax(c.SdkType, c.Seq) AS SdkType, argMax(c.SdkVersion, c.Seq) AS SdkVersion,
    argMax(c.DeviceModel, c.Seq) AS DeviceModel, argMax(c.Os, c.Seq) AS Os,
    argMax(c.NetworkType, c.Seq) AS NetworkType, argMax(c.JoinTime, c.Seq) AS JoinTime,
    argMax(c.JoinCostMs, c.Seq) AS JoinCostMs, argMax(c.JoinResult, c.Seq) AS JoinResult,
    argMax(c.LeaveTime, c.Seq) AS LeaveTime, argMax(c.LeaveReason, c.Seq) AS LeaveReason,
    argMax(nullIf(c.Region, ''), c.Seq) AS Region, argMax(nullIf(c.Isp, ''), c.Seq) AS Isp
FROM {database}.clients AS c
GROUP BY SdkAppId, RoomId, RoomIdType, UserId, SessionId
COMMENT 'What clients said of themselves, one row a session: the last word on each field; NULL is unknown';

CREATE VIEW IF NOT EXISTS {database}.dimension_10s AS
SELECT SdkAppId, BucketTime, Named.1 AS Dimension, Named.2 AS Value,
    toUInt32(uniqExactIf((RoomId, RoomIdType, UserId), Online)) AS OnlineUsers,
    toUInt32(uniqExactIf(UserId, Abnormal)) AS AbnormalUsers,
    sum(Sums.1) AS VideoStutterMs, sum(Sums.2) AS VideoPlayMs, sum(Sums.3) AS AudioStutterMs, sum(Sums.4) AS AudioPlayMs
FROM
(
    SELECT u.SdkAppId AS SdkAppId, u.BucketTime AS BucketTime, u.RoomId AS RoomId, u.RoomIdType AS RoomIdType,
        u.UserId AS UserId, u.Present OR u.ReportedMs > 0 AS Online, notEmpty(u.Exceptions) AS Abnormal,
        (u.VideoStutterMs, u.VideoPlayMs, u.AudioStutterMs, u.AudioPlayMs) AS Sums,
        arrayJoin([
            ('region', ifNull(c.Region, 'unknow')), ('network', ifNull(c.NetworkType, 'unknow')),
            ('device', ifNull(c.DeviceModel, 'unknow')), ('sdk-version', ifNull(c.SdkVersion, 'unknow')),
            ('isp', ifNull(c.Isp, 'unknow'))
        ]) AS Named
    FROM {database}.user_10s AS u FINAL
    LEFT JOIN {database}.session_clients AS c ON u.SdkAppId = c.SdkAppId AND u.RoomId = c.RoomId
        AND u.RoomIdType = c.RoomIdType AND u.UserId = c.UserId AND u.SessionId = c.SessionId
    WHERE u.Present OR u.SessionId != ''
)
GROUP BY SdkAppId, BucketTime, Dimension, Value
COMMENT 'Quality and scale by region, network, device, sdk-version and isp, one row a value for ten seconds with data';

CREATE VIEW IF NOT EXISTS {database}.dimension_1m AS
SELECT SdkAppId, BucketTime, Named.1 AS Dimension, Named.2 AS Value,
    toUInt32(uniqExactIf((RoomId, RoomIdType, UserId), Online)) AS OnlineUsers,
    toUInt32(uniqExactIf(UserId, Abnormal)) AS AbnormalUsers,
    sum(Sums.1) AS VideoStutterMs, sum(Sums.2) AS VideoPlayMs, sum(Sums.3) AS AudioStutterMs, sum(Sums.4) AS AudioPlayMs
FROM
(
    SELECT u.SdkAppId AS SdkAppId, u.BucketTime AS BucketTime, u.RoomId AS RoomId, u.RoomIdType AS RoomIdType,
        u.UserId AS UserId, u.Present OR u.ReportedMs > 0 AS Online, u.AbnormalMs > 0 AS Abnormal,
        (u.VideoStutterMs, u.VideoPlayMs, u.AudioStutterMs, u.AudioPlayMs) AS Sums,
        arrayJoin([
            ('region', ifNull(c.Region, 'unknow')), ('network', ifNull(c.NetworkType, 'unknow')),
            ('device', ifNull(c.DeviceModel, 'unknow')), ('sdk-version', ifNull(c.SdkVersion, 'unknow')),
            ('isp', ifNull(c.Isp, 'unknow'))
        ]) AS Named
    FROM {database}.user_1m AS u FINAL
    LEFT JOIN {database}.session_clients AS c ON u.SdkAppId = c.SdkAppId AND u.RoomId = c.RoomId
        AND u.RoomIdType = c.RoomIdType AND u.UserId = c.UserId AND u.SessionId = c.SessionId
    WHERE u.Present OR u.SessionId != ''
)
GROUP BY SdkAppId, BucketTime, Dimension, Value
COMMENT 'Quality and scale by region, network, device, sdk-version and isp, one row a value for a minute with data';

CREATE VIEW IF NOT EXISTS {database}.dimension_1h AS
SELECT SdkAppId, BucketTime, Named.1 AS Dimension, Named.2 AS Value,
    toUInt32(uniqExactIf((RoomId, RoomIdType, UserId), Online)) AS OnlineUsers,
    toUInt32(uniqExactIf(UserId, Abnormal)) AS AbnormalUsers,
    sum(Sums.1) AS VideoStutterMs, sum(Sums.2) AS VideoPlayMs, sum(Sums.3) AS AudioStutterMs, sum(Sums.4) AS AudioPlayMs
FROM
(
    SELECT u.SdkAppId AS SdkAppId, u.BucketTime AS BucketTime, u.RoomId AS RoomId, u.RoomIdType AS RoomIdType,
        u.UserId AS UserId, u.Present OR u.ReportedMs > 0 AS Online, u.AbnormalMs > 0 AS Abnormal,
        (u.VideoStutterMs, u.VideoPlayMs, u.AudioStutterMs, u.AudioPlayMs) AS Sums,
        arrayJoin([
            ('region', ifNull(c.Region, 'unknow')), ('network', ifNull(c.NetworkType, 'unknow')),
            ('device', ifNull(c.DeviceModel, 'unknow')), ('sdk-version', ifNull(c.SdkVersion, 'unknow')),
            ('isp', ifNull(c.Isp, 'unknow'))
        ]) AS Named
    FROM {database}.user_1h AS u FINAL
    LEFT JOIN {database}.session_clients AS c ON u.SdkAppId = c.SdkAppId AND u.RoomId = c.RoomId
        AND u.RoomIdType = c.RoomIdType AND u.UserId = c.UserId AND u.SessionId = c.SessionId
    WHERE u.Present OR u.SessionId != ''
)
GROUP BY SdkAppId, BucketTime, Dimension, Value
COMMENT 'Quality and scale by region, network, device, sdk-version and isp, one row a value for an hour with data';

CREATE VIEW IF NOT EXISTS {database}.dimension_1d AS
SELECT SdkAppId, BucketTime, Named.1 AS Dimension, Named.2 AS Value,
    toUInt32(uniqExactIf((RoomId, RoomIdType, UserId), Online)) AS OnlineUsers,
    toUInt32(uniqExactIf(UserId, Abnormal)) AS AbnormalUsers,
    sum(Sums.1) AS VideoStutterMs, sum(Sums.2) AS VideoPlayMs, sum(Sums.3) AS AudioStutterMs, sum(Sums.4) AS AudioPlayMs
FROM
(
    SELECT u.SdkAppId AS SdkAppId, u.BucketTime AS BucketTime, u.RoomId AS RoomId, u.RoomIdType AS RoomIdType,
        u.UserId AS UserId, u.Present OR u.ReportedMs > 0 AS Online, u.AbnormalMs > 0 AS Abnormal,
        (u.VideoStutterMs, u.VideoPlayMs, u.AudioStutterMs, u.AudioPlayMs) AS Sums,
        arrayJoin([
            ('region', ifNull(c.Region, 'unknow')), ('network', ifNull(c.NetworkType, 'unknow')),
            ('device', ifNull(c.DeviceModel, 'unknow')), ('sdk-version', ifNull(c.SdkVersion, 'unknow')),
            ('isp', ifNull(c.Isp, 'unknow'))
        ]) AS Named
    FROM {database}.user_1d AS u FINAL
    LEFT JOIN {database}.session_clients AS c ON u.SdkAppId = c.SdkAppId AND u.RoomId = c.RoomId
        AND u.RoomIdType = c.RoomIdType AND u.UserId = c.UserId AND u.SessionId = c.SessionId
    WHERE u.Present OR u.SessionId != ''
)
GROUP BY SdkAppId, BucketTime, Dimension, Value
COMMENT 'Quality and scale by region, network, device, sdk-version and isp, one row a value for a day with data';

CREATE VIEW IF NOT EXISTS {database}.exceptions AS
SELECT u.SdkAppId AS SdkAppId, u.BucketTime AS BucketTime, u.RoomId AS RoomId, u.RoomIdType AS RoomIdType,
    u.UserId AS UserId, u.SessionId AS SessionId, Met.1 AS Exception, Met.2 AS PeerId, Met.3 AS Stream, Met.4 AS Cause,
    ifNull(c.Region, 'unknow') AS Region, ifNull(c.NetworkType, 'unknow') AS Network,
    ifNull(c.DeviceModel, 'unknow') AS Device, ifNull(c.SdkVersion, 'unknow') AS SdkVersion,
    ifNull(c.Isp, 'unknow') AS Isp
FROM (
    SELECT SdkAppId, BucketTime, RoomId, RoomIdType, UserId, SessionId, arrayJoin(Exceptions) AS Met
    FROM {database}.user_10s FINAL
) AS u
LEFT JOIN {database}.session_clients AS c ON u.SdkAppId = c.SdkAppId AND u.RoomId = c.RoomId
    AND u.RoomIdType = c.RoomIdType AND u.UserId = c.UserId AND u.SessionId = c.SessionId
COMMENT 'Exceptions that users met, one row a bucket of ten seconds, user, kind and stream, with the likely cause';

CREATE TABLE IF NOT EXISTS {database}.progress
(
    Name LowCardinality(String) COMMENT 'Job of the processor',
    Until DateTime64(6, 'UTC') COMMENT 'What was computed before this time is done',
    NotedTime DateTime64(6, 'UTC') DEFAULT now64(6, 'UTC') COMMENT 'When that was noted; the latest note counts'
)
ENGINE = ReplacingMergeTree(NotedTime)
ORDER BY Name
COMMENT 'How far the processor''s periodic jobs are';
