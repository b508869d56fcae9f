-- What users went through: who was in a call and with what, how entering went, what was wrong in between and what it may
-- have come from. All of it follows from the facts when it is asked for; only which media a session had is kept, since that
-- would take reading every stream of a call.
--
-- What looks at neighbouring samples is a view with parameters, for the facts of one application from one time to another:
-- SELECT * FROM abnormal_events(app = 1400000001, since = '2026-01-31 10:00:00', until = '2026-01-31 11:00:00').

CREATE TABLE IF NOT EXISTS {database}.limits
(
    Name LowCardinality(String) COMMENT 'What is limited; the setting is ROOMPULSE_EXCEPTION_ and this',
    Value Float64 COMMENT 'From where on something is wrong; in the unit that the setting has',
    SetTime DateTime64(6, 'UTC') DEFAULT now64(6, 'UTC') COMMENT 'When a processor with these settings began; the latest counts'
)
ENGINE = ReplacingMergeTree(SetTime)
ORDER BY Name
COMMENT 'Limits as the settings of the processor say, for views that judge';

INSERT INTO {database}.limits (Name, Value, SetTime) VALUES
    ('silence_s', 10, 0), ('fps', 10, 0), ('screen_fps', 5, 0), ('fps_swing', 5, 0), ('bitrate_swing', 30, 0), ('cpu', 85, 0),
    ('task_ms', 60, 0), ('loss', 10, 0), ('delay_ms', 400, 0), ('jitter_ms', 100, 0);

CREATE TABLE IF NOT EXISTS {database}.session_media
(
    SdkAppId UInt32 COMMENT 'Application',
    RoomId String COMMENT 'Room, as text',
    RoomIdType UInt8 COMMENT '0 numeric room, 1 string room',
    UserId String COMMENT 'User',
    SessionId String COMMENT 'Fresh for each entry of the user into the room',
    Sent SimpleAggregateFunction(groupBitOr, UInt8) COMMENT 'What it sent: 1 sound, 2 picture, 4 screen, added up',
    Received SimpleAggregateFunction(groupBitOr, UInt8) COMMENT 'What it received: 1 sound, 2 picture, 4 screen, added up'
)
ENGINE = AggregatingMergeTree
ORDER BY (SdkAppId, RoomId, RoomIdType, UserId, SessionId)
SETTINGS default_compression_codec = 'ZSTD(1)'
COMMENT 'Which media sessions sent and received; a sample that is there twice changes nothing';

CREATE MATERIALIZED VIEW IF NOT EXISTS {database}.streams_to_session_media TO {database}.session_media AS
SELECT SdkAppId, RoomId, RoomIdType, UserId, SessionId,
    groupBitOr(if(s.PeerId = '', Medium, 0)) AS Sent, groupBitOr(if(s.PeerId = '', 0, Medium)) AS Received
FROM
(
    SELECT SdkAppId, RoomId, RoomIdType, UserId, SessionId, PeerId,
        toUInt8(multiIf(Stream = 'audio', 1, Stream = 'sub', 4, 2)) AS Medium
    FROM {database}.streams
    WHERE NOT ifNull(Muted, false) AND ifNull(Bitrate, 1) > 0
) AS s
GROUP BY SdkAppId, RoomId, RoomIdType, UserId, SessionId;

CREATE VIEW IF NOT EXISTS {database}.session_times AS
SELECT SdkAppId, RoomId, RoomIdType, UserId, SessionId, min(t.FirstTime) AS FirstTime, max(t.LastTime) AS LastTime,
    groupBitOr(t.Sent) AS Sent, groupBitOr(t.Received) AS Received
FROM
(
    SELECT SdkAppId, RoomId, RoomIdType, UserId, SessionId, FirstTime, LastTime, 0 AS Sent, 0 AS Received
    FROM {database}.sessions
    UNION ALL
    -- The first report may be sent long after what it tells of, but is about the time when the user entered.
    SELECT SdkAppId, RoomId, RoomIdType, UserId, SessionId, ifNull(JoinTime, SentTime),
        ifNull(JoinTime + toIntervalMillisecond(ifNull(JoinCostMs, 0)), SentTime), 0, 0
    FROM {database}.clients FINAL
    UNION ALL
    SELECT SdkAppId, RoomId, RoomIdType, UserId, SessionId, toDateTime64('2299-12-31 00:00:00', 3, 'UTC'),
        toDateTime64('1970-01-01 00:00:00', 3, 'UTC'), Sent, Received
    FROM {database}.session_media
) AS t
GROUP BY SdkAppId, RoomId, RoomIdType, UserId, SessionId
COMMENT 'From when to when sessions are known, by samples or by what clients said of themselves, and their media';

CREATE VIEW IF NOT EXISTS {database}.call_users AS
WITH 5000 AS grace_ms,
    t.SessionId != '' AND arrayExists(
        stay -> t.FirstTime <= stay.2 + toIntervalMillisecond(grace_ms)
            AND t.LastTime + toIntervalMillisecond(grace_ms) >= stay.1,
        s.Times
    ) AS Within
SELECT s.SdkAppId AS SdkAppId, s.RoomId AS RoomId, s.RoomIdType AS RoomIdType, s.CallTime AS CallTime,
    s.UserId AS UserId, any(s.FirstEntryTime) AS FirstEntryTime,
    any(s.LastExitTime) AS LastExitTime, any(s.DurationMs) AS DurationMs, any(s.Stays) AS Stays,
    ifNull(any(s.Role), argMaxIf(c.Role, t.FirstTime, Within)) AS Role,
    ifNull(any(s.TerminalType), argMaxIf(c.TerminalType, t.FirstTime, Within)) AS TerminalType,
    ifNull(any(s.UserType), argMaxIf(c.UserType, t.FirstTime, Within)) AS UserType,
    argMaxIf(c.SdkType, t.FirstTime, Within) AS SdkType, argMaxIf(c.SdkVersion, t.FirstTime, Within) AS SdkVersion,
    argMaxIf(c.DeviceModel, t.FirstTime, Within) AS DeviceModel, argMaxIf(c.Os, t.FirstTime, Within) AS Os,
    argMaxIf(c.NetworkType, t.FirstTime, Within) AS NetworkType, argMaxIf(c.Region, t.FirstTime, Within) AS Region,
    argMaxIf(c.Isp, t.FirstTime, Within) AS Isp,
    bitTest(groupBitOrIf(t.Sent, Within), 0) = 1 AS SentAudio, bitTest(groupBitOrIf(t.Sent, Within), 1) = 1 AS SentVideo,
    bitTest(groupBitOrIf(t.Sent, Within), 2) = 1 AS SentScreen,
    bitTest(groupBitOrIf(t.Received, Within), 0) = 1 AS ReceivedAudio,
    bitTest(groupBitOrIf(t.Received, Within), 1) = 1 AS ReceivedVideo,
    bitTest(groupBitOrIf(t.Received, Within), 2) = 1 AS ReceivedScreen
FROM
(
    SELECT SdkAppId, RoomId, RoomIdType, CallTime, UserId, min(y.EnterTime) AS FirstEntryTime,
        if(countIf(y.ExitTime IS NULL) > 0, NULL, max(y.ExitTime)) AS LastExitTime,
        sum(dateDiff('millisecond', y.EnterTime, ifNull(y.ExitTime, greatest(y.EnterTime, now64(3, 'UTC'))))) AS DurationMs,
        count() AS Stays,
        argMax(y.Role, y.EnterTime) AS Role, argMax(y.TerminalType, y.EnterTime) AS TerminalType,
        argMax(y.UserType, y.EnterTime) AS UserType,
        groupArray((y.EnterTime, ifNull(y.ExitTime, toDateTime64('2299-12-31 00:00:00', 3, 'UTC')))) AS Times
    FROM {database}.stays AS y
    GROUP BY SdkAppId, RoomId, RoomIdType, CallTime, UserId
) AS s
LEFT JOIN {database}.session_times AS t ON s.SdkAppId = t.SdkAppId AND s.RoomId = t.RoomId
    AND s.RoomIdType = t.RoomIdType AND s.UserId = t.UserId
LEFT JOIN {database}.session_clients AS c ON s.SdkAppId = c.SdkAppId AND s.RoomId = c.RoomId
    AND s.RoomIdType = c.RoomIdType AND s.UserId = c.UserId AND t.SessionId = c.SessionId
GROUP BY SdkAppId, RoomId, RoomIdType, CallTime, UserId
COMMENT 'Users of calls, one row a call and user: when, how long, with what, and which media they sent and received';

CREATE VIEW IF NOT EXISTS {database}.joins AS
WITH 5000 AS soon_ms
SELECT SdkAppId, RoomId, RoomIdType, UserId, SessionId,
    ifNull(argMax(c.JoinTime, c.Seq), min(c.SentTime)) AS JoinTime,
    argMax(c.JoinCostMs, c.Seq) AS JoinCostMs, argMax(c.JoinResult, c.Seq) AS JoinResult,
    JoinResult = 0 AS Success, if(Success, JoinCostMs <= soon_ms, Success) AS Within5s
FROM {database}.clients AS c FINAL
GROUP BY SdkAppId, RoomId, RoomIdType, UserId, SessionId
COMMENT 'How entering went, one row a session; NULL is unknown, not a failure';

CREATE VIEW IF NOT EXISTS {database}.joins_1h AS
SELECT SdkAppId, toStartOfHour(j.JoinTime) AS BucketTime, countIf(j.JoinResult IS NOT NULL) AS Attempts,
    countIf(j.Success) AS Successes, countIf(j.Within5s IS NOT NULL) AS Timed, countIf(j.Within5s) AS Within5s,
    countIf(j.JoinResult IS NULL) AS Unknown
FROM {database}.joins AS j
GROUP BY SdkAppId, BucketTime
COMMENT 'Entries of an application by the hour: told results, successes, those with a known time, within 5 s, untold';

CREATE VIEW IF NOT EXISTS {database}.joins_1d AS
SELECT SdkAppId, toStartOfDay(j.JoinTime) AS BucketTime, countIf(j.JoinResult IS NOT NULL) AS Attempts,
    countIf(j.Success) AS Successes, countIf(j.Within5s IS NOT NULL) AS Timed, countIf(j.Within5s) AS Within5s,
    countIf(j.JoinResult IS NULL) AS Unknown
FROM {database}.joins AS j
GROUP BY SdkAppId, BucketTime
COMMENT 'Entries of an application by the day, UTC: told results, successes, those with a known time, within 5 s, untold';

CREATE VIEW IF NOT EXISTS {database}.scale_1h AS
SELECT SdkAppId, BucketTime, uniqExact(UserId) AS Users, countIf(toStartOfHour(EnterTime) = BucketTime) AS Entries,
    uniqExact((RoomId, RoomIdType, CallTime)) AS Rooms
FROM
(
    SELECT SdkAppId, RoomId, RoomIdType, CallTime, UserId, EnterTime,
        arrayJoin(arrayMap(
            hour -> toDateTime(hour * 3600, 'UTC'),
            range(intDiv(toUnixTimestamp(EnterTime), 3600),
                intDiv(toUnixTimestamp64Milli(ifNull(ExitTime, now64(3, 'UTC'))) - 1, 3600000) + 1)
        )) AS BucketTime
    FROM {database}.stays
)
GROUP BY SdkAppId, BucketTime
COMMENT 'People and calls of an application by the hour: distinct users, entries, calls; peaks are in app_1h';

CREATE VIEW IF NOT EXISTS {database}.scale_1d AS
SELECT SdkAppId, Day, uniqExact(UserId) AS Users, countIf(toDate(EnterTime) = Day) AS Entries,
    uniqExact((RoomId, RoomIdType, CallTime)) AS Rooms
FROM
(
    SELECT SdkAppId, RoomId, RoomIdType, CallTime, UserId, EnterTime, arrayJoin(arrayMap(
        day -> toDate(day), range(toUInt32(toDate(EnterTime)), toUInt32(toDate(ExitTime)) + 1))) AS Day
    FROM
    (
        SELECT s.SdkAppId AS SdkAppId, s.RoomId AS RoomId, s.RoomIdType AS RoomIdType, s.CallTime AS CallTime,
            s.UserId AS UserId, s.EnterTime + toIntervalMinute(a.UtcOffsetMinutes) AS EnterTime,
            greatest(
                s.EnterTime, ifNull(s.ExitTime, now64(3, 'UTC')) - toIntervalMillisecond(1)
            ) + toIntervalMinute(a.UtcOffsetMinutes) AS ExitTime
        FROM {database}.stays AS s
        LEFT JOIN (SELECT SdkAppId, UtcOffsetMinutes FROM {database}.applications FINAL) AS a ON s.SdkAppId = a.SdkAppId
    )
)
GROUP BY SdkAppId, Day
COMMENT 'People and calls of an application by its own days';

CREATE VIEW IF NOT EXISTS {database}.network_delay_1h AS
WITH (SELECT any(Value) FROM {database}.limits FINAL WHERE Name = 'delay_ms') AS delay_ms
SELECT SdkAppId, toStartOfHour(s.StartTime) AS BucketTime, sumIf(s.DurMs, s.Rtt IS NOT NULL) AS KnownMs,
    sumIf(s.DurMs, s.Rtt > delay_ms) AS DelayedMs
FROM {database}.samples AS s FINAL
GROUP BY SdkAppId, BucketTime
COMMENT 'For how long users'' round trip was known, and for how long it was too long; milliseconds for an hour';

CREATE VIEW IF NOT EXISTS {database}.abnormal_runs AS
WITH
    (SELECT mapFromArrays(groupArray(Name), groupArray(Value)) FROM {database}.limits FINAL) AS bounds,
    bounds['loss'] AS loss_percent,
    bounds['delay_ms'] AS latency_ms,
    bounds['jitter_ms'] AS jitter_ms,
    bounds['cpu'] AS cpu_percent,
    bounds['task_ms'] AS task_ms,
    bounds['fps'] AS slow_fps,
    bounds['screen_fps'] AS slow_screen_fps,
    bounds['fps_swing'] AS fps_swing,
    bounds['bitrate_swing'] / 100 AS bitrate_swing,
    toUInt32(bounds['silence_s'] * 1000) AS nothing_ms,
    4000 AS in_a_row_ms,
    200 AS audio_lag_ms,
    600 AS video_lag_ms,
    60000 AS around_ms,
    [0, 2006, 2016] AS nothing,
    measured AS
    (
        SELECT RoomId, RoomIdType, UserId, SessionId, PeerId, Stream, Loss, JitterMs, DelayMs,
            toUnixTimestamp64Milli(StartTime) AS StartMs, StartMs + DurMs AS EndMs,
            ifNull(Muted, false) OR ifNull(PlayMs, 1) = 0 AS Idle,
            if(Idle, NULL, if(PeerId = '', CapFps, RenderFps)) AS Fps,
            if(Idle, NULL, Bitrate) AS Rate,
            if(ifNull(Muted, false), 0, Volume = 0) AS Silent
        FROM {database}.streams FINAL
        WHERE SdkAppId = {app:UInt32}
            AND StartTime > {since:DateTime64(3, 'UTC')} - toIntervalMillisecond(around_ms)
            AND StartTime < {until:DateTime64(3, 'UTC')} + toIntervalMillisecond(around_ms)
    ),
    swung AS
    (
        SELECT *,
            -- Rounded, since 9.8 less 4.8 may be a little more than 5 to a computer.
            Fps < if(Stream = 'sub', slow_screen_fps, slow_fps)
                OR round(max(Fps) OVER recent - if(Fps IS NULL, NULL, min(Fps) OVER recent), 3) > fps_swing AS Slow,
            -- A screen's bitrate has peaks where nothing is wrong, a small picture's follows those who look at it.
            if(Stream != 'big' OR Rate IS NULL, NULL,
                max(Rate) OVER recent - min(Rate) OVER recent > bitrate_swing * max(Rate) OVER recent) AS Swings
        FROM measured
        WINDOW recent AS (
            PARTITION BY RoomId, RoomIdType, UserId, SessionId, PeerId, Stream
            ORDER BY StartMs RANGE BETWEEN 9999 PRECEDING AND CURRENT ROW
        )
    ),
    checked AS
    (
        SELECT RoomId, RoomIdType, UserId, SessionId, '' AS PeerId, '' AS Stream,
            toUnixTimestamp64Milli(StartTime) AS StartMs, StartMs + DurMs AS EndMs,
            [
                (2001, if(SysCpu IS NULL, SdkTaskMs > task_ms, SysCpu > cpu_percent)),
                (2002, AppCpu > cpu_percent),
                (2003, Rtt > latency_ms)
            ] AS Checks
        FROM {database}.samples FINAL
        WHERE SdkAppId = {app:UInt32}
            AND StartTime > {since:DateTime64(3, 'UTC')} - toIntervalMillisecond(around_ms)
            AND StartTime < {until:DateTime64(3, 'UTC')} + toIntervalMillisecond(around_ms)
        UNION ALL
        SELECT RoomId, RoomIdType, UserId, SessionId, PeerId, toString(Stream), StartMs, EndMs, multiIf(
            PeerId = '' AND Stream = 'audio', [
                (2005, Loss > loss_percent),
                (2006, Silent)
            ],
            PeerId = '', [
                (2006 + toUInt8(Stream), Loss > loss_percent),
                (2009 + toUInt8(Stream), Slow),
                (2004, Swings)
            ],
            Stream = 'audio', [
                (2013, DelayMs > latency_ms),
                (2014, JitterMs > jitter_ms),
                (2015, Loss > loss_percent),
                (2016, Silent)
            ],
            [
                (2013, DelayMs > latency_ms),
                (2014, if(JitterMs IS NULL, Swings, JitterMs > jitter_ms)),
                (2016 + toUInt8(Stream), Loss > loss_percent),
                (2019 + toUInt8(Stream), Slow),
                (0, Fps = 0)
            ]
        )
        FROM swung
    ),
    -- Most of what is checked is never bad, and let go of before samples are put in order.
    suspicious AS
    (
        SELECT RoomId, RoomIdType, UserId, SessionId, PeerId, Stream, Numbers[Place] AS Checked, Points, Place
        FROM
        (
            SELECT RoomId, RoomIdType, UserId, SessionId, PeerId, Stream, any(Checks.1) AS Numbers,
                groupArray((StartMs, EndMs, Checks.2)) AS Points,
                sumForEach(arrayMap(bad -> ifNull(bad, 0), Checks.2)) AS BadSamples
            FROM checked
            GROUP BY RoomId, RoomIdType, UserId, SessionId, PeerId, Stream
            HAVING arraySum(BadSamples) > 0
        )
        ARRAY JOIN arrayEnumerate(Numbers) AS Place
        WHERE BadSamples[Place] > 0
    ),
    ordered AS
    (
        SELECT RoomId, RoomIdType, UserId, SessionId, PeerId, Stream, Checked, Point.1 AS StartMs, Point.2 AS EndMs,
            (Point.3)[Place] AS Bad, lagInFrame(Bad) OVER passed AS Before, lagInFrame(StartMs) OVER passed AS BeforeMs,
            StartMs - BeforeMs > in_a_row_ms AS Apart
        FROM suspicious
        ARRAY JOIN Points AS Point
        WINDOW passed AS (
            PARTITION BY RoomId, RoomIdType, UserId, SessionId, PeerId, Stream, Checked
            ORDER BY StartMs ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
        )
    ),
    judged AS
    (
        -- It begins with two bad samples in a row and ends with two good ones; nothing at all ends with anything.
        SELECT *,
            ifNull(last_value(multiIf(
                Bad IS NULL, 0, has(nothing, Checked), Bad, Before IS NULL OR Apart, 0, Bad = Before, Bad, NULL
            )) IGNORE NULLS OVER passed, 0) AS Active
        FROM ordered
        WINDOW passed AS (
            PARTITION BY RoomId, RoomIdType, UserId, SessionId, PeerId, Stream, Checked
            ORDER BY StartMs ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
        )
    ),
    begun AS
    (
        SELECT *, Active AND (Apart OR NOT lagInFrame(Active) OVER passed) AS Begins
        FROM judged
        WINDOW passed AS (
            PARTITION BY RoomId, RoomIdType, UserId, SessionId, PeerId, Stream, Checked
            ORDER BY StartMs ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
        )
    ),
    numbered AS
    (
        SELECT *, sum(Begins) OVER passed AS Run
        FROM begun
        WINDOW passed AS (
            PARTITION BY RoomId, RoomIdType, UserId, SessionId, PeerId, Stream, Checked
            ORDER BY StartMs ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
        )
    )
SELECT {app:UInt32} AS SdkAppId, RoomId, RoomIdType, UserId, SessionId, PeerId, Stream,
    toUInt16(Checked) AS AbnormalEventId,
    fromUnixTimestamp64Milli(min(if(Bad AND ifNull(Before, 0) AND NOT Apart, BeforeMs, StartMs)), 'UTC') AS StartTime,
    fromUnixTimestamp64Milli(maxIf(EndMs, Bad), 'UTC') AS EndTime
FROM numbered
WHERE Active
GROUP BY RoomId, RoomIdType, UserId, SessionId, PeerId, Stream, Checked, Run
HAVING NOT has(nothing, Checked) OR EndTime >= StartTime + toIntervalMillisecond(nothing_ms)
UNION ALL
SELECT SdkAppId, RoomId, RoomIdType, UserId, SessionId, PeerId, toString(Stream),
    toUInt16(2023 + toUInt8(Stream)),
    EpisodeTime, EpisodeTime + toIntervalMillisecond(max(s.EpisodeMs))
FROM {database}.stutters AS s
WHERE SdkAppId = {app:UInt32}
    AND BucketTime > {since:DateTime64(3, 'UTC')} - toIntervalMillisecond(around_ms)
    AND BucketTime < {until:DateTime64(3, 'UTC')} + toIntervalMillisecond(around_ms)
GROUP BY SdkAppId, RoomId, RoomIdType, UserId, SessionId, PeerId, Stream, EpisodeTime
HAVING max(s.EpisodeMs) >= if(Stream = 'audio', audio_lag_ms, video_lag_ms)
UNION ALL
-- 1001 to 1003 are headsets and networks of the SDK as well; those have a parameter.
SELECT SdkAppId, RoomId, RoomIdType, UserId, SessionId, PeerId, transform(Type, [2, 3, 7], ['big', 'small', 'sub'], ''),
    toUInt16(EventId), EventTime, EventTime
FROM {database}.client_events FINAL
WHERE SdkAppId = {app:UInt32} AND EventId BETWEEN 1001 AND 1032 AND (EventId > 1003 OR ParamOne = -1)
    AND EventTime > {since:DateTime64(3, 'UTC')} - toIntervalMillisecond(around_ms)
    AND EventTime < {until:DateTime64(3, 'UTC')} + toIntervalMillisecond(around_ms)
COMMENT 'What abnormal_events shows, a minute before and after too, and as event 0 pictures that stood still';

CREATE VIEW IF NOT EXISTS {database}.abnormal_events AS
SELECT SdkAppId, RoomId, RoomIdType, UserId, SessionId, PeerId, Stream, AbnormalEventId, StartTime, EndTime
FROM {database}.abnormal_runs(app = {app:UInt32}, since = {since:DateTime64(3, 'UTC')}, until = {until:DateTime64(3, 'UTC')})
WHERE AbnormalEventId > 0 AND StartTime < {until:DateTime64(3, 'UTC')} AND EndTime >= {since:DateTime64(3, 'UTC')}
COMMENT 'Abnormal events of one application from one time to another, one row each with its beginning and end';

CREATE VIEW IF NOT EXISTS {database}.abnormal_experiences AS
WITH
    5000 AS slow_entry_ms,
    10000 AS apart_ms,
    10000 AS around_ms,
    5000 AS grace_ms,
    runs AS
    (
        SELECT * FROM {database}.abnormal_runs(
            app = {app:UInt32}, since = {since:DateTime64(3, 'UTC')}, until = {until:DateTime64(3, 'UTC')})
    ),
    experienced AS
    (
        SELECT RoomId, RoomIdType, UserId, SessionId, PeerId, ExperienceId, min(Begun) AS StartTime,
            max(Ended) AS EndTime
        FROM
        (
            SELECT *, sum(Begun > LastEnded + toIntervalMillisecond(apart_ms)) OVER passed AS Number
            FROM
            (
                SELECT *, max(Ended) OVER (
                    PARTITION BY RoomId, RoomIdType, UserId, SessionId, PeerId, ExperienceId
                    ORDER BY Begun, Ended ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
                ) AS LastEnded
                FROM
                (
                    SELECT RoomId, RoomIdType, UserId, SessionId, '' AS PeerId, toUInt8(1) AS ExperienceId,
                        JoinTime AS Begun, JoinTime + toIntervalMillisecond(assumeNotNull(JoinCostMs)) AS Ended
                    FROM {database}.joins
                    WHERE SdkAppId = {app:UInt32} AND Success AND JoinCostMs > slow_entry_ms
                        AND JoinTime > {since:DateTime64(3, 'UTC')} - INTERVAL 1 DAY
                        AND JoinTime < {until:DateTime64(3, 'UTC')}
                    UNION ALL
                    SELECT RoomId, RoomIdType, UserId, SessionId, PeerId,
                        toUInt8(transform(AbnormalEventId, [0, 2016, 2023], [2, 3, 5], 4)), StartTime, EndTime
                    FROM runs
                    WHERE AbnormalEventId IN (0, 2016, 2023, 2024, 2025, 2026)
                )
            )
            WINDOW passed AS (
                PARTITION BY RoomId, RoomIdType, UserId, SessionId, PeerId, ExperienceId
                ORDER BY Begun, Ended ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
            )
        )
        GROUP BY RoomId, RoomIdType, UserId, SessionId, PeerId, ExperienceId, Number
        HAVING StartTime < {until:DateTime64(3, 'UTC')} AND EndTime > {since:DateTime64(3, 'UTC')}
    ),
    happened AS
    (
        SELECT RoomId, RoomIdType, UserId, PeerId, groupArray((AbnormalEventId, StartTime, EndTime)) AS Events
        FROM runs
        WHERE AbnormalEventId > 0
        GROUP BY RoomId, RoomIdType, UserId, PeerId
    ),
    explained AS
    (
        SELECT RoomId, RoomIdType, UserId, SessionId, PeerId, ExperienceId, StartTime, EndTime,
            arraySort(arrayDistinct(arrayFlatten(groupArray(Near)))) AS Causes,
            if(ExperienceId = 1, EndTime + toIntervalMillisecond(grace_ms), StartTime) AS CallTime
        FROM
        (
            SELECT w.RoomId AS RoomId, w.RoomIdType AS RoomIdType, w.UserId AS UserId, w.SessionId AS SessionId,
                w.PeerId AS PeerId, w.ExperienceId AS ExperienceId, w.StartTime AS StartTime, w.EndTime AS EndTime,
                arrayMap(
                    event -> (event.1, w.Whose.3),
                    arrayFilter(
                        event -> event.2 < w.EndTime + toIntervalMillisecond(around_ms)
                            AND event.3 > w.StartTime - toIntervalMillisecond(around_ms)
                            AND NOT has(w.Same, event.1),
                        h.Events
                    )
                ) AS Near
            FROM
            (
                -- What the user met alone, what the user met with the peer, and what the peer met when sending, as (who, with
                -- whom, because of whom). What says the same as the experience explains nothing.
                SELECT *,
                    arrayJoin(arrayDistinct([(UserId, '', ''), (UserId, PeerId, PeerId),
                        if(PeerId = '', (UserId, '', ''), (PeerId, '', PeerId))])) AS Whose,
                    [[0], [2020, 2021, 2022], [2016], [2024, 2025, 2026], [2023]][ExperienceId] AS Same
                FROM experienced
            ) AS w
            LEFT JOIN happened AS h ON w.RoomId = h.RoomId AND w.RoomIdType = h.RoomIdType
                AND w.Whose.1 = h.UserId AND w.Whose.2 = h.PeerId
        )
        GROUP BY RoomId, RoomIdType, UserId, SessionId, PeerId, ExperienceId, StartTime, EndTime
    )
SELECT x.SdkAppId AS SdkAppId, if(ifNull(c.CloseTime >= x.StartTime, true), c.CommId, '') AS CommId,
    x.RoomId AS RoomId, x.RoomIdType AS RoomIdType, x.UserId AS UserId, x.SessionId AS SessionId, x.PeerId AS PeerId,
    x.ExperienceId AS ExperienceId, x.StartTime AS StartTime, x.EndTime AS EndTime,
    CAST(x.Causes, 'Array(Tuple(AbnormalEventId UInt16, PeerId String))') AS Causes
FROM (SELECT {app:UInt32} AS SdkAppId, * FROM explained) AS x
ASOF LEFT JOIN {database}.calls AS c ON x.SdkAppId = c.SdkAppId AND x.RoomId = c.RoomId
    AND x.RoomIdType = c.RoomIdType AND c.StartTime <= x.CallTime
COMMENT 'What users suffered: 1 slow entry, 2 no video, 3 no audio, 4 video lag, 5 audio lag, with what went on around it';
