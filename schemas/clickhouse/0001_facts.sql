-- Base facts: what was reported, once. Every table replaces rows of the same key, so that a record that is read from
-- Kafka twice, in batches cut differently, leaves the same rows. NULL is unknown, never zero. Read with FINAL.
--
-- Rows are ordered by application and ten minutes before the room: a live board reads one short time of all rooms, a page
-- of details one user of a room over some hours, and both find what they need in few pieces.

CREATE TABLE IF NOT EXISTS {database}.samples
(
    SdkAppId UInt32 COMMENT 'Application',
    RoomId LowCardinality(String) COMMENT 'Room, as text',
    RoomIdType UInt8 COMMENT '0 numeric room, 1 string room: 123 and "123" are two rooms',
    UserId LowCardinality(String) COMMENT 'User who measured',
    SessionId LowCardinality(String) COMMENT 'Fresh for each entry of the user into the room',
    UserShard UInt8 COMMENT 'Shard of the user within the room, 0 to 15',
    StartTime DateTime64(3, 'UTC') COMMENT 'Start of the sample, server time' CODEC(Delta, ZSTD(1)),
    DurMs UInt16 COMMENT 'Length of the sample in milliseconds, at most 2000',
    AppCpu Nullable(Float32) COMMENT 'CPU of the application in per cent',
    SysCpu Nullable(Float32) COMMENT 'CPU of the whole system in per cent',
    MemoryMb Nullable(UInt32) COMMENT 'Memory of the application in MB' CODEC(T64, ZSTD(1)),
    SdkTaskMs Nullable(UInt32) COMMENT 'Time of one SDK task in milliseconds, above 60 the device is busy'
        CODEC(T64, ZSTD(1)),
    Rtt Nullable(UInt32) COMMENT 'Round trip between SDK and cloud in milliseconds' CODEC(T64, ZSTD(1)),
    GatewayRtt Nullable(UInt32) COMMENT 'Round trip to the local gateway in milliseconds' CODEC(T64, ZSTD(1)),
    UpLoss Nullable(Float32) COMMENT 'Upstream packet loss in per cent',
    DownLoss Nullable(Float32) COMMENT 'Downstream packet loss in per cent',
    SentBytes Nullable(UInt64) COMMENT 'Bytes sent' CODEC(T64, ZSTD(1)),
    ReceivedBytes Nullable(UInt64) COMMENT 'Bytes received' CODEC(T64, ZSTD(1)),
    ArrivalTime DateTime64(3, 'UTC') COMMENT 'When ingest had it; of two rows of one key the later arrival counts'
        CODEC(Delta, ZSTD(1))
)
ENGINE = ReplacingMergeTree(ArrivalTime)
PARTITION BY toDate(StartTime)
ORDER BY (SdkAppId, toStartOfTenMinutes(StartTime), RoomId, RoomIdType, UserShard, UserId, SessionId, StartTime)
SETTINGS default_compression_codec = 'ZSTD(1)'
COMMENT 'Device and network of one user, one row a sample of at most two seconds';

CREATE TABLE IF NOT EXISTS {database}.sessions
(
    SdkAppId UInt32 COMMENT 'Application',
    RoomId String COMMENT 'Room, as text',
    RoomIdType UInt8 COMMENT '0 numeric room, 1 string room',
    UserId String COMMENT 'User',
    SessionId String COMMENT 'Fresh for each entry of the user into the room',
    UserShard SimpleAggregateFunction(any, UInt8) COMMENT 'Shard of the user within the room, 0 to 15',
    FirstTime SimpleAggregateFunction(min, DateTime64(3, 'UTC')) COMMENT 'Start of the first sample',
    LastTime SimpleAggregateFunction(max, DateTime64(3, 'UTC')) COMMENT 'End of the last sample'
)
ENGINE = AggregatingMergeTree
ORDER BY (SdkAppId, RoomId, RoomIdType, UserId, SessionId)
SETTINGS default_compression_codec = 'ZSTD(1)'
COMMENT 'From when to when sessions reported; a sample that is there twice changes nothing';

CREATE MATERIALIZED VIEW IF NOT EXISTS {database}.samples_to_sessions TO {database}.sessions AS
SELECT SdkAppId, RoomId, RoomIdType, UserId, SessionId, any(s.UserShard) AS UserShard, min(s.StartTime) AS FirstTime,
    max(s.StartTime + toIntervalMillisecond(s.DurMs)) AS LastTime
FROM {database}.samples AS s
GROUP BY SdkAppId, RoomId, RoomIdType, UserId, SessionId;

CREATE VIEW IF NOT EXISTS {database}.session_spans AS
SELECT SdkAppId, RoomId, RoomIdType, UserId, SessionId, min(s.FirstTime) AS FirstTime, max(s.LastTime) AS LastTime
FROM {database}.sessions AS s
GROUP BY SdkAppId, RoomId, RoomIdType, UserId, SessionId
COMMENT 'From when to when sessions reported, one row each';

CREATE VIEW IF NOT EXISTS {database}.last_seen AS
SELECT SdkAppId, RoomId, RoomIdType, UserId, max(s.LastTime) AS SeenTime
FROM {database}.sessions AS s
GROUP BY SdkAppId, RoomId, RoomIdType, UserId
COMMENT 'When users last reported from a room';

CREATE TABLE IF NOT EXISTS {database}.streams
(
    SdkAppId UInt32 COMMENT 'Application',
    RoomId LowCardinality(String) COMMENT 'Room, as text',
    RoomIdType UInt8 COMMENT '0 numeric room, 1 string room',
    UserId LowCardinality(String) COMMENT 'User who measured',
    SessionId LowCardinality(String) COMMENT 'Fresh for each entry of the user into the room',
    PeerId LowCardinality(String) COMMENT 'Empty: what the user sent; else whom the user received it from',
    Stream Enum8('audio' = 0, 'big' = 1, 'small' = 2, 'sub' = 3) COMMENT 'Sound, main picture, its small twin, screen',
    UserShard UInt8 COMMENT 'Shard of the user within the room, 0 to 15',
    StartTime DateTime64(3, 'UTC') COMMENT 'Start of the sample, server time' CODEC(Delta, ZSTD(1)),
    DurMs UInt16 COMMENT 'Length of the sample in milliseconds, at most 2000',
    Bitrate Nullable(UInt32) COMMENT 'bit/s' CODEC(T64, ZSTD(1)),
    Loss Nullable(Float32) COMMENT 'Packet loss in per cent',
    Width Nullable(UInt16) COMMENT 'Pixels',
    Height Nullable(UInt16) COMMENT 'Pixels',
    CapFps Nullable(Float32) COMMENT 'Captured frames a second, sent streams',
    EncFps Nullable(Float32) COMMENT 'Encoded frames a second, sent streams',
    SendFps Nullable(Float32) COMMENT 'Sent frames a second, sent streams',
    RecFps Nullable(Float32) COMMENT 'Received frames a second, received streams',
    DecFps Nullable(Float32) COMMENT 'Decoded frames a second, received streams',
    RenderFps Nullable(Float32) COMMENT 'Rendered frames a second, received streams',
    JitterMs Nullable(UInt32) COMMENT 'Jitter buffer in milliseconds, received streams' CODEC(T64, ZSTD(1)),
    DelayMs Nullable(UInt32) COMMENT 'End-to-end delay in milliseconds, received streams' CODEC(T64, ZSTD(1)),
    Volume Nullable(Float32) COMMENT 'Capture volume where sent, playback volume where received',
    SampleRate Nullable(UInt32) COMMENT 'Audio sample rate in Hz, sent streams',
    PlayMs Nullable(UInt16) COMMENT 'How much of DurMs it was meant to play, received streams',
    Muted Nullable(Bool) COMMENT 'Whether it was muted',
    ArrivalTime DateTime64(3, 'UTC') COMMENT 'When ingest had it; of two rows of one key the later arrival counts'
        CODEC(Delta, ZSTD(1))
)
ENGINE = ReplacingMergeTree(ArrivalTime)
PARTITION BY toDate(StartTime)
ORDER BY (SdkAppId, toStartOfTenMinutes(StartTime), RoomId, RoomIdType, UserShard, UserId, SessionId, PeerId, Stream,
    StartTime)
SETTINGS default_compression_codec = 'ZSTD(1)'
COMMENT 'What one user sent and received, one row a stream and sample';

CREATE TABLE IF NOT EXISTS {database}.stutters
(
    SdkAppId UInt32 COMMENT 'Application',
    RoomId LowCardinality(String) COMMENT 'Room, as text',
    RoomIdType UInt8 COMMENT '0 numeric room, 1 string room',
    UserId LowCardinality(String) COMMENT 'User whose playback stuttered',
    SessionId LowCardinality(String) COMMENT 'Fresh for each entry of the user into the room',
    PeerId LowCardinality(String) COMMENT 'Whose stream it was',
    Stream Enum8('audio' = 0, 'big' = 1, 'small' = 2, 'sub' = 3) COMMENT 'Which stream it was',
    UserShard UInt8 COMMENT 'Shard of the user within the room, 0 to 15',
    EpisodeTime DateTime64(3, 'UTC') COMMENT 'Start of the episode, server time' CODEC(Delta, ZSTD(1)),
    BucketTime DateTime('UTC') COMMENT 'Ten seconds that the episode touches: one row for each',
    EpisodeMs UInt32 COMMENT 'Length of the episode in milliseconds, up to the end of the ten seconds or until it counts'
)
ENGINE = ReplacingMergeTree(EpisodeMs)
PARTITION BY toDate(BucketTime)
ORDER BY (SdkAppId, toStartOfTenMinutes(BucketTime), RoomId, RoomIdType, UserShard, UserId, SessionId, PeerId, Stream,
    EpisodeTime, BucketTime)
SETTINGS default_compression_codec = 'ZSTD(1)'
COMMENT 'Stutter episodes of any length, one row for each ten seconds that they touch; the view episodes has them whole';

CREATE VIEW IF NOT EXISTS {database}.episodes AS
SELECT SdkAppId, RoomId, RoomIdType, UserId, SessionId, PeerId, Stream, EpisodeTime, max(stutters.EpisodeMs) AS EpisodeMs
FROM {database}.stutters
GROUP BY SdkAppId, RoomId, RoomIdType, UserId, SessionId, PeerId, Stream, EpisodeTime
COMMENT 'Stutter episodes, one row each, with their whole length in milliseconds';

CREATE TABLE IF NOT EXISTS {database}.clients
(
    SdkAppId UInt32 COMMENT 'Application',
    RoomId String COMMENT 'Room, as text',
    RoomIdType UInt8 COMMENT '0 numeric room, 1 string room',
    UserId String COMMENT 'User',
    SessionId String COMMENT 'Fresh for each entry of the user into the room',
    Seq UInt32 COMMENT 'Number of the report that said so; later numbers change what they name',
    SentTime DateTime64(3, 'UTC') COMMENT 'When the client sent it, server time',
    Role Nullable(UInt8) COMMENT '20 anchor, 21 audience',
    TerminalType Nullable(UInt8) COMMENT '1 Windows, 2 Android, 3 iOS, 4 Linux, 100 other',
    UserType Nullable(UInt8) COMMENT '1 WebRTC, 2 mini program, 3 native SDK',
    SdkType Nullable(String) COMMENT 'Kind of SDK',
    SdkVersion Nullable(String) COMMENT 'Version of the SDK',
    DeviceModel Nullable(String) COMMENT 'Device',
    Os Nullable(String) COMMENT 'Operating system',
    NetworkType Nullable(String) COMMENT 'Kind of network',
    JoinTime Nullable(DateTime64(3, 'UTC')) COMMENT 'When the user began to enter',
    JoinCostMs Nullable(UInt32) COMMENT 'How long entering took in milliseconds',
    JoinResult Nullable(Int32) COMMENT '0 entered, else an error',
    LeaveTime Nullable(DateTime64(3, 'UTC')) COMMENT 'When the user left',
    LeaveReason Nullable(Int32) COMMENT 'Why the user left',
    Region String COMMENT 'Region of the client''s address, empty where unknown',
    Isp String COMMENT 'Internet provider of the client''s address, empty where unknown',
    ArrivalTime DateTime64(3, 'UTC') COMMENT 'When ingest had it; of two rows of one key the later arrival counts'
)
ENGINE = ReplacingMergeTree(ArrivalTime)
ORDER BY (SdkAppId, RoomId, RoomIdType, UserId, SessionId, Seq)
SETTINGS default_compression_codec = 'ZSTD(1)'
COMMENT 'What clients said of themselves, one row a report that said something';

CREATE TABLE IF NOT EXISTS {database}.client_events
(
    SdkAppId UInt32 COMMENT 'Application',
    RoomId String COMMENT 'Room, as text',
    RoomIdType UInt8 COMMENT '0 numeric room, 1 string room',
    UserId String COMMENT 'User',
    SessionId String COMMENT 'Fresh for each entry of the user into the room',
    EventTime DateTime64(3, 'UTC') COMMENT 'When it happened, server time',
    EventId UInt32 COMMENT 'SDK or WebRTC event',
    Type UInt8 COMMENT '0 not video, 2 main picture, 3 small picture, 7 screen',
    ParamOne Int64 COMMENT '-1 where unused',
    ParamTwo Int64 COMMENT '-1 where unused',
    PeerId String COMMENT 'The other user, empty where there is none',
    ArrivalTime DateTime64(3, 'UTC') COMMENT 'When ingest had it'
)
ENGINE = ReplacingMergeTree(ArrivalTime)
PARTITION BY toDate(EventTime)
ORDER BY (SdkAppId, RoomId, RoomIdType, UserId, SessionId, EventTime, EventId, Type, ParamOne, ParamTwo, PeerId)
SETTINGS default_compression_codec = 'ZSTD(1)'
COMMENT 'What happened in the SDKs';

CREATE TABLE IF NOT EXISTS {database}.events
(
    SdkAppId UInt32 COMMENT 'Application',
    RoomId String COMMENT 'Room, as text; empty where the event is about no room',
    EventId String COMMENT 'Idempotency key: the same event sent twice is one row',
    RoomIdType Nullable(UInt8) COMMENT '0 numeric room, 1 string room, NULL where the event alone does not tell',
    EventGroupId UInt8 COMMENT '1 room, 2 media, 3 recording, 4 relay, 7 stream push, 8 web recording, 9 AI',
    EventType UInt16 COMMENT 'Kind of event',
    EventTime DateTime64(3, 'UTC') COMMENT 'When it happened',
    UserId String COMMENT 'User or robot, empty where there is none',
    TaskId String COMMENT 'Task, empty where there is none',
    Role Nullable(UInt8) COMMENT '20 anchor, 21 audience',
    TerminalType Nullable(UInt8) COMMENT '1 Windows, 2 Android, 3 iOS, 4 Linux, 100 other',
    UserType Nullable(UInt8) COMMENT '1 WebRTC, 2 mini program, 3 native SDK',
    Reason Nullable(UInt8) COMMENT 'Why somebody entered or left',
    RoomScene Nullable(String) COMMENT 'How the room ends: call or live',
    Unadmitted Bool COMMENT 'Admission would have refused the user',
    EventInfo String COMMENT 'The event as the customer gets it, JSON' CODEC(ZSTD(3)),
    Extra String COMMENT 'Fields beside EventInfo, JSON; empty where there are none' CODEC(ZSTD(3)),
    ArrivalTime DateTime64(3, 'UTC') COMMENT 'When ingest had it',
    KafkaPartition UInt32 COMMENT 'Where the event is in Kafka',
    KafkaOffset UInt64 COMMENT 'Where the event is in Kafka; the first one of several counts',
    Precedence UInt64 COMMENT 'Higher for lower offsets: decides between rows of one event'
)
ENGINE = ReplacingMergeTree(Precedence)
ORDER BY (SdkAppId, RoomId, EventId)
SETTINGS default_compression_codec = 'ZSTD(1)'
COMMENT 'Room, media, recording, relay and other events, one row each';

CREATE TABLE IF NOT EXISTS {database}.task_intervals
(
    SdkAppId UInt32 COMMENT 'Application',
    TaskId String COMMENT 'Task',
    StartTime DateTime64(3, 'UTC') COMMENT 'Start of the interval',
    EndTime DateTime64(3, 'UTC') COMMENT 'End of the interval, exclusive; of two with one start the longer one counts',
    TaskType LowCardinality(String) COMMENT 'record, web-record, mix, relay, ingest, moderate',
    RecordMode LowCardinality(String) COMMENT 'single or mixed, empty where unknown',
    RoomId String COMMENT 'Room of the task, as text; empty where it has none',
    RoomIdType Nullable(UInt8) COMMENT '0 numeric room, 1 string room, NULL without a room',
    Final Bool COMMENT 'Whether the task ended with it',
    Robots String COMMENT 'Users of the task''s own in rooms, JSON list',
    Inputs String COMMENT 'Streams that the task received, JSON list',
    Outputs String COMMENT 'Files and streams that the task made, JSON list',
    ArrivalTime DateTime64(3, 'UTC') COMMENT 'When ingest had it',
    InsertedTime DateTime64(6, 'UTC') DEFAULT now64(6, 'UTC') COMMENT 'When the row was inserted',
    INDEX inserted InsertedTime TYPE minmax GRANULARITY 1
)
ENGINE = ReplacingMergeTree(EndTime)
PARTITION BY toDate(StartTime)
ORDER BY (SdkAppId, TaskId, StartTime)
SETTINGS default_compression_codec = 'ZSTD(1)'
COMMENT 'What server-side media tasks used, one row an interval of at most 60 s';

CREATE TABLE IF NOT EXISTS {database}.deliveries
(
    SdkAppId UInt32 COMMENT 'Application',
    StartedTime DateTime64(3, 'UTC') COMMENT 'When the attempt began',
    DeliveryId String COMMENT 'The same for all attempts of one event',
    Attempt UInt16 COMMENT 'Number of the attempt, from 1',
    RequestId String COMMENT 'Names this attempt alone',
    EventId String COMMENT 'The event',
    EventGroupId UInt8 COMMENT 'Group of the event',
    EventType UInt16 COMMENT 'Kind of event',
    EventTime DateTime64(3, 'UTC') COMMENT 'When the event happened',
    AcceptedTime DateTime64(3, 'UTC') COMMENT 'When Kafka had the event',
    RoomId String COMMENT 'Room, as text; empty where the event is about no room',
    RoomIdType Nullable(UInt8) COMMENT '0 numeric room, 1 string room',
    UserId String COMMENT 'User, empty where there is none',
    TaskId String COMMENT 'Task, empty where there is none',
    Url String COMMENT 'Where the callback was sent' CODEC(ZSTD(3)),
    CallbackTime DateTime64(3, 'UTC') COMMENT 'The time in the body',
    DurationMs UInt32 COMMENT 'Length of the attempt in milliseconds',
    Status UInt16 COMMENT 'HTTP status of the answer, 0 where none came',
    Outcome LowCardinality(String) COMMENT 'delivered; failed: tried again; given-up: not tried again',
    Gap Bool COMMENT 'Whether an earlier callback of its room, whose order is kept, had not come to its end',
    ErrorClass LowCardinality(String) COMMENT 'Why it failed, in one word',
    Error String COMMENT 'Why it failed, in detail' CODEC(ZSTD(3)),
    Response String COMMENT 'First bytes of the answer''s body' CODEC(ZSTD(3)),
    INDEX ByDelivery DeliveryId TYPE bloom_filter(0.01) GRANULARITY 1
)
ENGINE = ReplacingMergeTree
PARTITION BY toDate(StartedTime)
ORDER BY (SdkAppId, StartedTime, DeliveryId, Attempt, RequestId)
SETTINGS default_compression_codec = 'ZSTD(1)'
COMMENT 'Attempts to deliver callbacks, one row each';

CREATE TABLE IF NOT EXISTS {database}.applications
(
    SdkAppId UInt32 COMMENT 'Application',
    Name String COMMENT 'Its name',
    Status LowCardinality(String) COMMENT 'enabled, disabled or deleted',
    MonitoringEdition LowCardinality(String) COMMENT 'free, standard or premium: how long its monitoring is kept',
    UtcOffsetMinutes Int16 COMMENT 'How far its days are ahead of UTC',
    CreatedTime DateTime64(3, 'UTC') COMMENT 'When it was created',
    Version UInt32 COMMENT 'Counts its changes; of two rows of one application the higher counts'
)
ENGINE = ReplacingMergeTree(Version)
ORDER BY SdkAppId
COMMENT 'Applications as the console has them, without their keys';

CREATE TABLE IF NOT EXISTS {database}.expired
(
    SdkAppId UInt32 COMMENT 'Application',
    Kind LowCardinality(String) COMMENT 'details, summaries, usage or deliveries',
    Before Date COMMENT 'What is from before this day is gone, or about to go',
    NotedTime DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC') COMMENT 'When that was decided'
)
ENGINE = ReplacingMergeTree(Before)
ORDER BY (SdkAppId, Kind)
COMMENT 'How far back an application has data; nothing is computed anew from what is gone';
