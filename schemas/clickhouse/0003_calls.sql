-- Calls and stays are recomputed from the events of their room, and replace the earlier rows; what a late event made
-- wrong is marked as removed. Whether a call has ended depends on the time of day: the views tell.

CREATE TABLE IF NOT EXISTS {database}.call_rows
(
    SdkAppId UInt32 COMMENT 'Application',
    RoomId String COMMENT 'Room, as text',
    RoomIdType UInt8 COMMENT '0 numeric room, 1 string room',
    StartTime DateTime64(3, 'UTC') COMMENT 'When the room was created',
    CommId String COMMENT 'SdkAppId_RoomNumber_StartSeconds',
    CreatorId String COMMENT 'Who created the room, empty where unknown',
    RoomScene LowCardinality(String) COMMENT 'How the room ends: call or live',
    FirstEntryTime Nullable(DateTime64(3, 'UTC')) COMMENT 'First entry of a user',
    LastExitTime Nullable(DateTime64(3, 'UTC')) COMMENT 'Last exit of a user, NULL while somebody is in',
    CloseTime Nullable(DateTime64(3, 'UTC')) COMMENT 'When the room closes by what is known; NULL while somebody is in',
    JoinedUsers UInt32 COMMENT 'Distinct users who entered',
    Removed Bool COMMENT 'Whether later facts made this row wrong',
    ComputedTime DateTime64(6, 'UTC') COMMENT 'When the row was computed; of two rows of one key the later one counts'
)
ENGINE = ReplacingMergeTree(ComputedTime)
ORDER BY (SdkAppId, RoomId, RoomIdType, StartTime)
COMMENT 'Calls as computed; read the view calls';

CREATE TABLE IF NOT EXISTS {database}.stay_rows
(
    SdkAppId UInt32 COMMENT 'Application',
    RoomId String COMMENT 'Room, as text',
    RoomIdType UInt8 COMMENT '0 numeric room, 1 string room',
    CallTime DateTime64(3, 'UTC') COMMENT 'StartTime of the call',
    UserId String COMMENT 'User',
    EnterTime DateTime64(3, 'UTC') COMMENT 'When the user entered',
    ExitTime Nullable(DateTime64(3, 'UTC')) COMMENT 'When the user left, NULL while in the room',
    Role Nullable(UInt8) COMMENT 'Last known role: 20 anchor, 21 audience',
    RoleTimes Array(DateTime64(3, 'UTC')) COMMENT 'When the role changed',
    Roles Array(UInt8) COMMENT 'To which role it changed',
    TerminalType Nullable(UInt8) COMMENT '1 Windows, 2 Android, 3 iOS, 4 Linux, 100 other',
    UserType Nullable(UInt8) COMMENT '1 WebRTC, 2 mini program, 3 native SDK',
    EnterReason Nullable(UInt8) COMMENT 'Reason of the entry',
    ExitReason Nullable(UInt8) COMMENT 'Reason of the exit, NULL where another event ended the stay',
    Removed Bool COMMENT 'Whether later facts made this row wrong',
    ComputedTime DateTime64(6, 'UTC') COMMENT 'When the row was computed; of two rows of one key the later one counts'
)
ENGINE = ReplacingMergeTree(ComputedTime)
ORDER BY (SdkAppId, RoomId, RoomIdType, CallTime, UserId, EnterTime)
COMMENT 'Stays of users in calls as computed; read the view stays';

CREATE TABLE IF NOT EXISTS {database}.presence
(
    SdkAppId UInt32 COMMENT 'Application',
    HourTime DateTime('UTC') COMMENT 'An hour that the stay touches: one row for each',
    RoomId String COMMENT 'Room, as text',
    RoomIdType UInt8 COMMENT '0 numeric room, 1 string room',
    UserId String COMMENT 'User',
    EnterTime DateTime64(3, 'UTC') COMMENT 'When the user entered',
    ExitTime Nullable(DateTime64(3, 'UTC')) COMMENT 'When the user left, NULL while in the room',
    Removed Bool COMMENT 'Whether later facts made this row wrong',
    ComputedTime DateTime64(6, 'UTC') COMMENT 'When the row was computed; of two rows of one key the later one counts'
)
ENGINE = ReplacingMergeTree(ComputedTime)
PARTITION BY toDate(HourTime)
ORDER BY (SdkAppId, HourTime, RoomId, RoomIdType, UserId, EnterTime)
COMMENT 'Stays once more, by the hours that they touch, so that who is in at some time is found without their history';

CREATE VIEW IF NOT EXISTS {database}.calls AS
SELECT * EXCEPT (Removed), if(CloseTime <= now64(3), 'ended', 'open') AS Status
FROM {database}.call_rows FINAL
WHERE NOT Removed
COMMENT 'Calls: one room from its creation to its closing';

CREATE VIEW IF NOT EXISTS {database}.stays AS
SELECT * EXCEPT (Removed)
FROM {database}.stay_rows FINAL
WHERE NOT Removed
COMMENT 'Stays of users in calls, one row for each time between entry and exit';
