-- Rollups are recomputed from the facts whenever a fact that they depend on arrives, and replace the earlier row: the row
-- computed later saw more. They hold sums of durations, never ratios. Read with FINAL.

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
