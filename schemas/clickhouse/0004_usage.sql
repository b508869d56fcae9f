-- Usage in milliseconds for every five minutes, exact; whoever shows or charges it rounds a day's sum up to minutes. Rows are
-- computed from stays, reports and task intervals, and replace the earlier ones. Read with FINAL; the views have it inside.

CREATE TABLE IF NOT EXISTS {database}.av_usage_5m
(
    SdkAppId UInt32 COMMENT 'Application',
    SlotTime DateTime('UTC') COMMENT 'Start of the five minutes',
    RoomId String COMMENT 'Room, as text',
    RoomIdType UInt8 COMMENT '0 numeric room, 1 string room',
    UserId String COMMENT 'User who received',
    AudioMs UInt64 COMMENT 'Milliseconds without a picture',
    HdMs UInt64 COMMENT 'Milliseconds with up to 921,600 pixels together',
    FhdMs UInt64 COMMENT 'Milliseconds with up to 2,073,600 pixels together',
    TwoKMs UInt64 COMMENT 'Milliseconds with up to 3,686,400 pixels together',
    TwoKPlusMs UInt64 COMMENT 'Milliseconds with more pixels',
    UnreportedMs UInt64 COMMENT 'Part of AudioMs in which the user did not report: nothing is known to be received',
    ComputedTime DateTime64(6, 'UTC') COMMENT 'When the row was computed; of two rows of one key the later one counts'
)
ENGINE = ReplacingMergeTree(ComputedTime)
PARTITION BY toYYYYMM(SlotTime)
ORDER BY (SdkAppId, SlotTime, RoomId, RoomIdType, UserId)
SETTINGS default_compression_codec = 'ZSTD(1)'
COMMENT 'What users received by tier, one row a user, room and five minutes of the stay; robots are in task_usage_5m';

CREATE TABLE IF NOT EXISTS {database}.task_usage_5m
(
    SdkAppId UInt32 COMMENT 'Application',
    SlotTime DateTime('UTC') COMMENT 'Start of the five minutes',
    TaskId String COMMENT 'Task',
    Kind LowCardinality(String) COMMENT 'robot, record, web-record, mix-h264, mix-h265 or delivery',
    Free Bool COMMENT 'Whether it costs nothing: robots that serve VOD or CSS, deliveries',
    RoomId String COMMENT 'Robots: the room, as text',
    RoomIdType UInt8 COMMENT 'Robots: 0 numeric room, 1 string room',
    UserId String COMMENT 'Robots: the user that the robot is',
    RecordMode LowCardinality(String) COMMENT 'Recordings: single or mixed, empty where unknown',
    AudioMs UInt64 COMMENT 'Milliseconds without a picture',
    HdMs UInt64 COMMENT 'Milliseconds with up to 921,600 pixels together',
    FhdMs UInt64 COMMENT 'Milliseconds with up to 2,073,600 pixels together',
    TwoKMs UInt64 COMMENT 'Milliseconds with up to 3,686,400 pixels together',
    TwoKPlusMs UInt64 COMMENT 'Milliseconds with more pixels',
    Bytes UInt64 COMMENT 'Deliveries: bytes by the bitrates of the files',
    ComputedTime DateTime64(6, 'UTC') COMMENT 'When the row was computed; of two rows of one key the later one counts'
)
ENGINE = ReplacingMergeTree(ComputedTime)
PARTITION BY toYYYYMM(SlotTime)
ORDER BY (SdkAppId, SlotTime, TaskId, Kind, Free, RoomId, RoomIdType, UserId)
SETTINGS default_compression_codec = 'ZSTD(1)'
COMMENT 'What media tasks are charged for by tier, one row a task, kind and five minutes';

CREATE TABLE IF NOT EXISTS {database}.relay_usage_10s
(
    SdkAppId UInt32 COMMENT 'Application',
    BucketTime DateTime('UTC') COMMENT 'Start of the ten seconds',
    TaskId String COMMENT 'Task',
    Free Bool COMMENT 'To our own CDN (css), which costs nothing, or to another',
    Bits UInt64 COMMENT 'Bits of sound and picture that were relayed',
    RelayedMs UInt64 COMMENT 'Milliseconds of relay, those of several destinations added up',
    ComputedTime DateTime64(6, 'UTC') COMMENT 'When the row was computed; of two rows of one key the later one counts'
)
ENGINE = ReplacingMergeTree(ComputedTime)
PARTITION BY toYYYYMM(BucketTime)
ORDER BY (SdkAppId, BucketTime, TaskId, Free)
SETTINGS default_compression_codec = 'ZSTD(1)'
COMMENT 'What was relayed to CDNs, one row a task and ten seconds';

CREATE VIEW IF NOT EXISTS {database}.usage_5m AS
SELECT SdkAppId, SlotTime, Service, Free, sum(u.AudioMs) AS AudioMs, sum(u.HdMs) AS HdMs, sum(u.FhdMs) AS FhdMs, sum(u.TwoKMs) AS TwoKMs, sum(u.TwoKPlusMs) AS TwoKPlusMs
FROM
(
    SELECT SdkAppId, SlotTime, 'av' AS Service, false AS Free, AudioMs, HdMs, FhdMs, TwoKMs, TwoKPlusMs
    FROM {database}.av_usage_5m FINAL
    UNION ALL
    SELECT SdkAppId, SlotTime,
        multiIf(Kind = 'robot', 'av', Kind IN ('record', 'web-record'), 'recording', Kind), Free, AudioMs, HdMs, FhdMs,
        TwoKMs, TwoKPlusMs
    FROM {database}.task_usage_5m FINAL
) AS u
GROUP BY SdkAppId, SlotTime, Service, Free
HAVING AudioMs + HdMs + FhdMs + TwoKMs + TwoKPlusMs > 0
COMMENT 'Usage of an application by service: av, recording, mix-h264, mix-h265, delivery; milliseconds for five minutes';

CREATE VIEW IF NOT EXISTS {database}.usage_1d AS
SELECT u.SdkAppId AS SdkAppId, toDate(u.SlotTime + toIntervalMinute(a.UtcOffsetMinutes)) AS Day, u.Service AS Service,
    u.Free AS Free,
    toUInt64(ceil(sum(u.AudioMs) / 60000)) AS AudioMin,
    toUInt64(ceil(sum(u.HdMs) / 60000)) AS HdMin,
    toUInt64(ceil(sum(u.FhdMs) / 60000)) AS FhdMin,
    toUInt64(ceil(sum(u.TwoKMs) / 60000)) AS TwoKMin,
    toUInt64(ceil(sum(u.TwoKPlusMs) / 60000)) AS TwoKPlusMin
FROM {database}.usage_5m AS u
LEFT JOIN (SELECT SdkAppId, UtcOffsetMinutes FROM {database}.applications FINAL) AS a ON u.SdkAppId = a.SdkAppId
GROUP BY SdkAppId, Day, Service, Free
COMMENT 'Usage by service in minutes, rounded up, of the application''s own days';

CREATE VIEW IF NOT EXISTS {database}.usage_deductions AS
SELECT SdkAppId, Day, SlotTime, Service, Tier, Turn, Minutes, Minutes * MonthlyRatio AS MonthlyMinutes
FROM
(
    SELECT SdkAppId, Day, SlotTime, Service, Tiers[Number] AS Tier, (Numbered - 1) * 5 + Number AS Turn,
        if(Service = 'av', Ratios[Number], 0) AS MonthlyRatio,
        sum(Ms) OVER day AS DayMs,
        toUInt64(ceil(DayMs / 60000)) - toUInt64(ceil((DayMs - Ms) / 60000)) AS Minutes
    FROM
    (
        SELECT u.SdkAppId AS SdkAppId, toDate(u.SlotTime + toIntervalMinute(a.UtcOffsetMinutes)) AS Day,
            u.SlotTime AS SlotTime, u.Service AS Service, [u.AudioMs, u.HdMs, u.FhdMs, u.TwoKMs, u.TwoKPlusMs] AS TierMs,
            ['audio', 'hd', 'fhd', '2k', '2k+'] AS Tiers, [1, 4, 9, 16, 36] AS Ratios,
            transform(u.Service, ['av', 'recording'], [1, 2], 3) AS Numbered
        FROM {database}.usage_5m AS u
        LEFT JOIN (SELECT SdkAppId, UtcOffsetMinutes FROM {database}.applications FINAL) AS a ON u.SdkAppId = a.SdkAppId
        WHERE NOT u.Free AND u.Service IN ('av', 'recording', 'mix-h264', 'mix-h265')
    )
    ARRAY JOIN TierMs AS Ms, arrayEnumerate(TierMs) AS Number
    WINDOW day AS (
        PARTITION BY SdkAppId, Day, Service, Number ORDER BY SlotTime ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    )
)
WHERE Minutes > 0
COMMENT 'What five minutes take from packages: by what they raise the day''s minutes, rounded up, of a service and tier';

CREATE VIEW IF NOT EXISTS {database}.room_usage AS
SELECT SdkAppId, SlotTime, RoomId, RoomIdType, sum(u.AudioMs) AS AudioMs, sum(u.HdMs) AS HdMs, sum(u.FhdMs) AS FhdMs, sum(u.TwoKMs) AS TwoKMs, sum(u.TwoKPlusMs) AS TwoKPlusMs
FROM
(
    SELECT SdkAppId, SlotTime, RoomId, RoomIdType, AudioMs, HdMs, FhdMs, TwoKMs, TwoKPlusMs
    FROM {database}.av_usage_5m FINAL
    UNION ALL
    SELECT SdkAppId, SlotTime, RoomId, RoomIdType, AudioMs, HdMs, FhdMs, TwoKMs, TwoKPlusMs
    FROM {database}.task_usage_5m FINAL WHERE Kind = 'robot'
) AS u
GROUP BY SdkAppId, SlotTime, RoomId, RoomIdType
HAVING AudioMs + HdMs + FhdMs + TwoKMs + TwoKPlusMs > 0
COMMENT 'Audio and video usage of a room, its robots with it; milliseconds for five minutes';

CREATE VIEW IF NOT EXISTS {database}.relay_bandwidth_5m AS
SELECT SdkAppId, toStartOfFiveMinutes(BucketTime) AS SlotTime, Free, max(Bits) / 10 AS PeakBitsPerSecond,
    sum(RelayedMs) AS RelayedMs
FROM
(
    SELECT SdkAppId, BucketTime, Free, sum(r.Bits) AS Bits, sum(r.RelayedMs) AS RelayedMs
    FROM {database}.relay_usage_10s AS r FINAL
    GROUP BY SdkAppId, BucketTime, Free
)
GROUP BY SdkAppId, SlotTime, Free
HAVING RelayedMs > 0
COMMENT 'Relay of all tasks together for five minutes: the largest mean of ten seconds, and how long';

CREATE VIEW IF NOT EXISTS {database}.relay_bandwidth_1d AS
SELECT b.SdkAppId AS SdkAppId, toDate(b.SlotTime + toIntervalMinute(a.UtcOffsetMinutes)) AS Day, b.Free AS Free,
    max(b.PeakBitsPerSecond) AS PeakBitsPerSecond, sum(b.RelayedMs) AS RelayedMs
FROM {database}.relay_bandwidth_5m AS b
LEFT JOIN (SELECT SdkAppId, UtcOffsetMinutes FROM {database}.applications FINAL) AS a ON b.SdkAppId = a.SdkAppId
GROUP BY SdkAppId, Day, Free
COMMENT 'Relay of all tasks together on the application''s own days: the largest mean of ten seconds, and how long';

CREATE VIEW IF NOT EXISTS {database}.relay_bandwidth_month AS
SELECT SdkAppId, toStartOfMonth(Day) AS Month, Free, max(d.PeakBitsPerSecond) AS PeakBitsPerSecond,
    sum(d.RelayedMs) AS RelayedMs
FROM {database}.relay_bandwidth_1d AS d
GROUP BY SdkAppId, Month, Free
COMMENT 'Relay of all tasks together in the application''s own months, which are charged by their peak';
