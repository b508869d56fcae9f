-- Rollups are recomputed from the facts whenever a fact that they depend on arrives, and replace the earlier row: the row
-- computed later saw more. They hold sums of durations, never ratios. Read with FINAL.

CREATE TABLE IF NOT EXISTS {database}.user_10s
(
    SdkAppId UInt32 COMMENT 'Application',
    BucketTime DateTime64(3, 'UTC') COMMENT 'Start of the ten seconds' CODEC(DoubleDelta, ZSTD(1)),
    RoomId LowCardinality(String) COMMENT 'Room, as text',
    RoomIdType UInt8 COMMENT '0 numeric room, 1 string room',
    UserShard UInt8 COMMENT 'Shard of the user within the room, 0 to 15',
    UserId String COMMENT 'User',
    SessionId String COMMENT 'Fresh for each entry of the user into the room',
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
    ComputedTime DateTime64(6, 'UTC') COMMENT 'When the row was computed; of two rows of one key the later one counts'
)
ENGINE = ReplacingMergeTree(ComputedTime)
PARTITION BY toDate(BucketTime)
ORDER BY (SdkAppId, BucketTime, RoomId, RoomIdType, UserShard, UserId, SessionId)
COMMENT 'Quality of one session, one row for ten seconds with data: every other rollup is made from these';

CREATE TABLE IF NOT EXISTS {database}.room_10s
(
    SdkAppId UInt32 COMMENT 'Application',
    BucketTime DateTime64(3, 'UTC') COMMENT 'Start of the ten seconds' CODEC(DoubleDelta, ZSTD(1)),
    RoomId String COMMENT 'Room, as text',
    RoomIdType UInt8 COMMENT '0 numeric room, 1 string room',
    OnlineUsers UInt32 COMMENT 'Distinct users with a sample that starts in the bucket',
    AbnormalUsers UInt32 COMMENT 'Distinct users who met an exception',
    AbnormalUserState AggregateFunction(uniqExact, String) COMMENT 'The same as a state that can be merged over rooms',
    VideoStutterMs UInt64 COMMENT 'Milliseconds of video stutters of 600 ms or longer within the bucket',
    VideoPlayMs UInt64 COMMENT 'Milliseconds of video that was meant to play',
    AudioStutterMs UInt64 COMMENT 'Milliseconds of audio stutters of 200 ms or longer within the bucket',
    AudioPlayMs UInt64 COMMENT 'Milliseconds of audio that was meant to play',
    ComputedTime DateTime64(6, 'UTC') COMMENT 'When the row was computed; of two rows of one key the later one counts'
)
ENGINE = ReplacingMergeTree(ComputedTime)
PARTITION BY toDate(BucketTime)
ORDER BY (SdkAppId, BucketTime, RoomId, RoomIdType)
COMMENT 'Quality and scale of one room, one row for ten seconds with data';

CREATE TABLE IF NOT EXISTS {database}.app_10s
(
    SdkAppId UInt32 COMMENT 'Application',
    BucketTime DateTime64(3, 'UTC') COMMENT 'Start of the ten seconds' CODEC(DoubleDelta, ZSTD(1)),
    OnlineUsers UInt32 COMMENT 'Distinct (room, user): who is in two rooms counts twice',
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
COMMENT 'Quality and scale of one application, one row for ten seconds with data';

CREATE TABLE IF NOT EXISTS {database}.progress
(
    Name LowCardinality(String) COMMENT 'Job of the processor',
    Until DateTime64(6, 'UTC') COMMENT 'What was computed before this time is done',
    NotedTime DateTime64(6, 'UTC') DEFAULT now64(6, 'UTC') COMMENT 'When that was noted; the latest note counts'
)
ENGINE = ReplacingMergeTree(NotedTime)
ORDER BY Name
COMMENT 'How far the processor''s periodic jobs are';
