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
    FromReports Bool COMMENT 'Known from reports alone, no room event tells of it',
    Removed Bool COMMENT 'Whether later facts made this row wrong',
    ComputedTime DateTime64(6, 'UTC') COMMENT 'When the row was computed; of two rows of one key the later one counts'
)
ENGINE = ReplacingMergeTree(ComputedTime)
ORDER BY (SdkAppId, RoomId, RoomIdType, StartTime)
SETTINGS default_compression_codec = 'ZSTD(1)'
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
    SessionId String COMMENT 'Session of reports that alone tells of the stay, else empty',
    Removed Bool COMMENT 'Whether later facts made this row wrong',
    ComputedTime DateTime64(6, 'UTC') COMMENT 'When the row was computed; of two rows of one key the later one counts'
)
ENGINE = ReplacingMergeTree(ComputedTime)
ORDER BY (SdkAppId, RoomId, RoomIdType, CallTime, UserId, EnterTime)
SETTINGS default_compression_codec = 'ZSTD(1)'
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
    SessionId String COMMENT 'Session of reports that alone tells of the stay and of its end, else empty',
    Removed Bool COMMENT 'Whether later facts made this row wrong',
    ComputedTime DateTime64(6, 'UTC') COMMENT 'When the row was computed; of two rows of one key the later one counts'
)
ENGINE = ReplacingMergeTree(ComputedTime)
PARTITION BY toDate(HourTime)
ORDER BY (SdkAppId, HourTime, RoomId, RoomIdType, UserId, EnterTime)
SETTINGS default_compression_codec = 'ZSTD(1)'
COMMENT 'Stays once more, by the hours that they touch, so that who is in at some time is found without their history';

CREATE VIEW IF NOT EXISTS {database}.stays AS
SELECT s.SdkAppId AS SdkAppId, s.RoomId AS RoomId, s.RoomIdType AS RoomIdType, s.CallTime AS CallTime,
    s.UserId AS UserId, s.EnterTime AS EnterTime,
    multiIf(
        s.ExitTime IS NOT NULL, s.ExitTime,
        s.SessionId != '', if(r.LastTime + INTERVAL 90 SECOND > now64(3, 'UTC'), NULL, r.LastTime),
        seen.SeenTime < s.EnterTime OR seen.SeenTime + INTERVAL 90 SECOND > now64(3, 'UTC'), NULL,
        seen.SeenTime + INTERVAL 90 SECOND
    ) AS ExitTime,
    s.Role AS Role, s.RoleTimes AS RoleTimes, s.Roles AS Roles, s.TerminalType AS TerminalType, s.UserType AS UserType,
    s.EnterReason AS EnterReason, s.ExitReason AS ExitReason, s.SessionId AS SessionId, s.ComputedTime AS ComputedTime
FROM (SELECT * FROM {database}.stay_rows FINAL WHERE NOT Removed) AS s
LEFT JOIN {database}.last_seen AS seen ON s.SdkAppId = seen.SdkAppId AND s.RoomId = seen.RoomId
    AND s.RoomIdType = seen.RoomIdType AND s.UserId = seen.UserId
LEFT JOIN {database}.session_spans AS r ON s.SdkAppId = r.SdkAppId AND s.RoomId = r.RoomId
    AND s.RoomIdType = r.RoomIdType AND s.UserId = r.UserId AND s.SessionId = r.SessionId
COMMENT 'Stays of users in calls, one row for each time between entry and exit; who is silent for 90 s has left';

CREATE VIEW IF NOT EXISTS {database}.calls AS
SELECT c.SdkAppId AS SdkAppId, c.RoomId AS RoomId, c.RoomIdType AS RoomIdType, c.StartTime AS StartTime,
    c.CommId AS CommId, c.CreatorId AS CreatorId, c.RoomScene AS RoomScene, c.FirstEntryTime AS FirstEntryTime,
    ifNull(c.LastExitTime, if(inside.Users = 0, inside.LastExitTime, NULL)) AS LastExitTime,
    ifNull(c.CloseTime, if(inside.Users = 0, inside.LastExitTime, NULL)) AS CloseTime,
    c.JoinedUsers AS JoinedUsers, c.FromReports AS FromReports, c.ComputedTime AS ComputedTime,
    if(CloseTime <= now64(3), 'ended', 'open') AS Status
FROM (SELECT * FROM {database}.call_rows FINAL WHERE NOT Removed) AS c
LEFT JOIN (
    SELECT SdkAppId, RoomId, RoomIdType, CallTime, countIf(s.ExitTime IS NULL) AS Users,
        max(s.ExitTime) AS LastExitTime
    FROM {database}.stays AS s
    WHERE (SdkAppId, RoomId, RoomIdType, CallTime) IN (
        SELECT SdkAppId, RoomId, RoomIdType, StartTime FROM {database}.call_rows
        WHERE LastExitTime IS NULL OR CloseTime IS NULL)
    GROUP BY SdkAppId, RoomId, RoomIdType, CallTime
) AS inside ON c.SdkAppId = inside.SdkAppId AND c.RoomId = inside.RoomId AND c.RoomIdType = inside.RoomIdType
    AND c.StartTime = inside.CallTime
COMMENT 'Calls: one room from its creation to its closing';
