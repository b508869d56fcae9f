-- What the columns of views mean: views do not take that over from the tables that they read.

ALTER TABLE {database}.session_spans
    COMMENT COLUMN SdkAppId 'Application',
    COMMENT COLUMN RoomId 'Room, as text',
    COMMENT COLUMN RoomIdType '0 numeric room, 1 string room',
    COMMENT COLUMN UserId 'User',
    COMMENT COLUMN SessionId 'Fresh for each entry of the user into the room',
    COMMENT COLUMN FirstTime 'Start of the first sample',
    COMMENT COLUMN LastTime 'End of the last sample';

ALTER TABLE {database}.last_seen
    COMMENT COLUMN SdkAppId 'Application',
    COMMENT COLUMN RoomId 'Room, as text',
    COMMENT COLUMN RoomIdType '0 numeric room, 1 string room',
    COMMENT COLUMN UserId 'User',
    COMMENT COLUMN SeenTime 'End of the last sample of all sessions';

ALTER TABLE {database}.episodes
    COMMENT COLUMN SdkAppId 'Application',
    COMMENT COLUMN RoomId 'Room, as text',
    COMMENT COLUMN RoomIdType '0 numeric room, 1 string room',
    COMMENT COLUMN UserId 'User whose playback stuttered',
    COMMENT COLUMN SessionId 'Fresh for each entry of the user into the room',
    COMMENT COLUMN PeerId 'Whose stream it was',
    COMMENT COLUMN Stream 'Which stream it was',
    COMMENT COLUMN EpisodeTime 'Start of the episode, server time',
    COMMENT COLUMN EpisodeMs 'Length of the whole episode in milliseconds';

ALTER TABLE {database}.room_10s
    COMMENT COLUMN SdkAppId 'Application',
    COMMENT COLUMN BucketTime 'Start of the ten seconds',
    COMMENT COLUMN RoomId 'Room, as text',
    COMMENT COLUMN RoomIdType '0 numeric room, 1 string room',
    COMMENT COLUMN OnlineUsers 'Distinct users who were in the room, by report or by stay',
    COMMENT COLUMN ReportingUsers 'Those of them who reported; of the others nothing is known',
    COMMENT COLUMN AbnormalUsers 'Distinct users who met an exception',
    COMMENT COLUMN VideoStutterMs 'Milliseconds of video stutters of 600 ms or longer within the bucket',
    COMMENT COLUMN VideoPlayMs 'Milliseconds of video that was meant to play',
    COMMENT COLUMN AudioStutterMs 'Milliseconds of audio stutters of 200 ms or longer within the bucket',
    COMMENT COLUMN AudioPlayMs 'Milliseconds of audio that was meant to play';

ALTER TABLE {database}.room_1m
    COMMENT COLUMN SdkAppId 'Application',
    COMMENT COLUMN BucketTime 'Start of the minute',
    COMMENT COLUMN RoomId 'Room, as text',
    COMMENT COLUMN RoomIdType '0 numeric room, 1 string room',
    COMMENT COLUMN OnlineUsers 'Distinct users who were in the room, by report or by stay',
    COMMENT COLUMN ReportingUsers 'Those of them who reported; of the others nothing is known',
    COMMENT COLUMN AbnormalUsers 'Distinct users who met an exception',
    COMMENT COLUMN VideoStutterMs 'Milliseconds of video stutters of 600 ms or longer',
    COMMENT COLUMN VideoPlayMs 'Milliseconds of video that was meant to play',
    COMMENT COLUMN AudioStutterMs 'Milliseconds of audio stutters of 200 ms or longer',
    COMMENT COLUMN AudioPlayMs 'Milliseconds of audio that was meant to play';

ALTER TABLE {database}.room_1h
    COMMENT COLUMN SdkAppId 'Application',
    COMMENT COLUMN BucketTime 'Start of the hour',
    COMMENT COLUMN RoomId 'Room, as text',
    COMMENT COLUMN RoomIdType '0 numeric room, 1 string room',
    COMMENT COLUMN OnlineUsers 'Distinct users who were in the room, by report or by stay',
    COMMENT COLUMN ReportingUsers 'Those of them who reported; of the others nothing is known',
    COMMENT COLUMN AbnormalUsers 'Distinct users who met an exception',
    COMMENT COLUMN VideoStutterMs 'Milliseconds of video stutters of 600 ms or longer',
    COMMENT COLUMN VideoPlayMs 'Milliseconds of video that was meant to play',
    COMMENT COLUMN AudioStutterMs 'Milliseconds of audio stutters of 200 ms or longer',
    COMMENT COLUMN AudioPlayMs 'Milliseconds of audio that was meant to play';

ALTER TABLE {database}.room_1d
    COMMENT COLUMN SdkAppId 'Application',
    COMMENT COLUMN BucketTime 'Start of the day, UTC',
    COMMENT COLUMN RoomId 'Room, as text',
    COMMENT COLUMN RoomIdType '0 numeric room, 1 string room',
    COMMENT COLUMN OnlineUsers 'Distinct users who were in the room, by report or by stay',
    COMMENT COLUMN ReportingUsers 'Those of them who reported; of the others nothing is known',
    COMMENT COLUMN AbnormalUsers 'Distinct users who met an exception',
    COMMENT COLUMN VideoStutterMs 'Milliseconds of video stutters of 600 ms or longer',
    COMMENT COLUMN VideoPlayMs 'Milliseconds of video that was meant to play',
    COMMENT COLUMN AudioStutterMs 'Milliseconds of audio stutters of 200 ms or longer',
    COMMENT COLUMN AudioPlayMs 'Milliseconds of audio that was meant to play';

ALTER TABLE {database}.session_clients
    COMMENT COLUMN SdkAppId 'Application',
    COMMENT COLUMN RoomId 'Room, as text',
    COMMENT COLUMN RoomIdType '0 numeric room, 1 string room',
    COMMENT COLUMN UserId 'User',
    COMMENT COLUMN SessionId 'Fresh for each entry of the user into the room',
    COMMENT COLUMN Role '20 anchor, 21 audience',
    COMMENT COLUMN TerminalType '1 Windows, 2 Android, 3 iOS, 4 Linux, 100 other',
    COMMENT COLUMN UserType '1 WebRTC, 2 mini program, 3 native SDK',
    COMMENT COLUMN SdkType 'Kind of SDK',
    COMMENT COLUMN SdkVersion 'Version of the SDK',
    COMMENT COLUMN DeviceModel 'Device',
    COMMENT COLUMN Os 'Operating system',
    COMMENT COLUMN NetworkType 'Kind of network',
    COMMENT COLUMN JoinTime 'When the user began to enter',
    COMMENT COLUMN JoinCostMs 'How long entering took in milliseconds',
    COMMENT COLUMN JoinResult '0 entered, else an error',
    COMMENT COLUMN LeaveTime 'When the user left',
    COMMENT COLUMN LeaveReason 'Why the user left',
    COMMENT COLUMN Region 'Region of the client''s address',
    COMMENT COLUMN Isp 'Internet provider of the client''s address';

ALTER TABLE {database}.dimension_10s
    COMMENT COLUMN SdkAppId 'Application',
    COMMENT COLUMN BucketTime 'Start of the bucket',
    COMMENT COLUMN Dimension 'region, network, device, sdk-version or isp',
    COMMENT COLUMN Value 'Its value by what the client said of the whole session, unknow where it did not',
    COMMENT COLUMN OnlineUsers 'Distinct (room, user) with this value',
    COMMENT COLUMN AbnormalUsers 'Distinct users with this value who met an exception',
    COMMENT COLUMN VideoStutterMs 'Milliseconds of video stutters of 600 ms or longer',
    COMMENT COLUMN VideoPlayMs 'Milliseconds of video that was meant to play',
    COMMENT COLUMN AudioStutterMs 'Milliseconds of audio stutters of 200 ms or longer',
    COMMENT COLUMN AudioPlayMs 'Milliseconds of audio that was meant to play';

ALTER TABLE {database}.dimension_1m
    COMMENT COLUMN SdkAppId 'Application',
    COMMENT COLUMN BucketTime 'Start of the bucket',
    COMMENT COLUMN Dimension 'region, network, device, sdk-version or isp',
    COMMENT COLUMN Value 'Its value by what the client said of the whole session, unknow where it did not',
    COMMENT COLUMN OnlineUsers 'Distinct (room, user) with this value',
    COMMENT COLUMN AbnormalUsers 'Distinct users with this value who met an exception',
    COMMENT COLUMN VideoStutterMs 'Milliseconds of video stutters of 600 ms or longer',
    COMMENT COLUMN VideoPlayMs 'Milliseconds of video that was meant to play',
    COMMENT COLUMN AudioStutterMs 'Milliseconds of audio stutters of 200 ms or longer',
    COMMENT COLUMN AudioPlayMs 'Milliseconds of audio that was meant to play';

ALTER TABLE {database}.dimension_1h
    COMMENT COLUMN SdkAppId 'Application',
    COMMENT COLUMN BucketTime 'Start of the bucket',
    COMMENT COLUMN Dimension 'region, network, device, sdk-version or isp',
    COMMENT COLUMN Value 'Its value by what the client said of the whole session, unknow where it did not',
    COMMENT COLUMN OnlineUsers 'Distinct (room, user) with this value',
    COMMENT COLUMN AbnormalUsers 'Distinct users with this value who met an exception',
    COMMENT COLUMN VideoStutterMs 'Milliseconds of video stutters of 600 ms or longer',
    COMMENT COLUMN VideoPlayMs 'Milliseconds of video that was meant to play',
    COMMENT COLUMN AudioStutterMs 'Milliseconds of audio stutters of 200 ms or longer',
    COMMENT COLUMN AudioPlayMs 'Milliseconds of audio that was meant to play';

ALTER TABLE {database}.dimension_1d
    COMMENT COLUMN SdkAppId 'Application',
    COMMENT COLUMN BucketTime 'Start of the bucket',
    COMMENT COLUMN Dimension 'region, network, device, sdk-version or isp',
    COMMENT COLUMN Value 'Its value by what the client said of the whole session, unknow where it did not',
    COMMENT COLUMN OnlineUsers 'Distinct (room, user) with this value',
    COMMENT COLUMN AbnormalUsers 'Distinct users with this value who met an exception',
    COMMENT COLUMN VideoStutterMs 'Milliseconds of video stutters of 600 ms or longer',
    COMMENT COLUMN VideoPlayMs 'Milliseconds of video that was meant to play',
    COMMENT COLUMN AudioStutterMs 'Milliseconds of audio stutters of 200 ms or longer',
    COMMENT COLUMN AudioPlayMs 'Milliseconds of audio that was meant to play';

ALTER TABLE {database}.exceptions
    COMMENT COLUMN SdkAppId 'Application',
    COMMENT COLUMN BucketTime 'Start of the ten seconds',
    COMMENT COLUMN RoomId 'Room, as text',
    COMMENT COLUMN RoomIdType '0 numeric room, 1 string room',
    COMMENT COLUMN UserId 'User',
    COMMENT COLUMN SessionId 'Fresh for each entry of the user into the room',
    COMMENT COLUMN Exception 'no-audio, frame-rate or cpu',
    COMMENT COLUMN PeerId 'Whose stream it was, empty where it was the user''s own',
    COMMENT COLUMN Stream 'Which stream it was; audio for cpu, which is of no stream',
    COMMENT COLUMN Cause 'Likely cause: loss, rtt, device, encoder, decoder or unknown',
    COMMENT COLUMN Region 'Region of the client''s address, unknow where not known',
    COMMENT COLUMN Network 'Kind of network, unknow where not known',
    COMMENT COLUMN Device 'Device, unknow where not known',
    COMMENT COLUMN SdkVersion 'Version of the SDK, unknow where not known',
    COMMENT COLUMN Isp 'Internet provider of the client''s address, unknow where not known';

ALTER TABLE {database}.stays
    COMMENT COLUMN SdkAppId 'Application',
    COMMENT COLUMN RoomId 'Room, as text',
    COMMENT COLUMN RoomIdType '0 numeric room, 1 string room',
    COMMENT COLUMN CallTime 'StartTime of the call',
    COMMENT COLUMN UserId 'User',
    COMMENT COLUMN EnterTime 'When the user entered',
    COMMENT COLUMN ExitTime 'When the user left, or vanished; NULL while in the room',
    COMMENT COLUMN Role 'Last known role: 20 anchor, 21 audience',
    COMMENT COLUMN RoleTimes 'When the role changed',
    COMMENT COLUMN Roles 'To which role it changed',
    COMMENT COLUMN TerminalType '1 Windows, 2 Android, 3 iOS, 4 Linux, 100 other',
    COMMENT COLUMN UserType '1 WebRTC, 2 mini program, 3 native SDK',
    COMMENT COLUMN EnterReason 'Reason of the entry',
    COMMENT COLUMN ExitReason 'Reason of the exit, NULL where another event ended the stay',
    COMMENT COLUMN SessionId 'Session of reports that alone tells of the stay, else empty',
    COMMENT COLUMN ComputedTime 'When the row was computed; of two rows of one key the later one counts';

ALTER TABLE {database}.calls
    COMMENT COLUMN SdkAppId 'Application',
    COMMENT COLUMN RoomId 'Room, as text',
    COMMENT COLUMN RoomIdType '0 numeric room, 1 string room',
    COMMENT COLUMN StartTime 'When the room was created',
    COMMENT COLUMN CommId 'SdkAppId_RoomNumber_StartSeconds',
    COMMENT COLUMN CreatorId 'Who created the room, empty where unknown',
    COMMENT COLUMN RoomScene 'How the room ends: call or live',
    COMMENT COLUMN FirstEntryTime 'First entry of a user',
    COMMENT COLUMN LastExitTime 'Last exit of a user, NULL while somebody is in',
    COMMENT COLUMN CloseTime 'When the room closes by what is known; NULL while somebody is in',
    COMMENT COLUMN JoinedUsers 'Distinct users who entered',
    COMMENT COLUMN FromReports 'Known from reports alone, no room event tells of it',
    COMMENT COLUMN ComputedTime 'When the row was computed; of two rows of one key the later one counts',
    COMMENT COLUMN Status 'open or ended, as of now';

ALTER TABLE {database}.usage_5m
    COMMENT COLUMN SdkAppId 'Application',
    COMMENT COLUMN SlotTime 'Start of the five minutes',
    COMMENT COLUMN Service 'av, recording, mix-h264, mix-h265 or delivery',
    COMMENT COLUMN Free 'Whether it costs nothing',
    COMMENT COLUMN AudioMs 'Milliseconds without a picture',
    COMMENT COLUMN HdMs 'Milliseconds with up to 921,600 pixels together',
    COMMENT COLUMN FhdMs 'Milliseconds with up to 2,073,600 pixels together',
    COMMENT COLUMN TwoKMs 'Milliseconds with up to 3,686,400 pixels together',
    COMMENT COLUMN TwoKPlusMs 'Milliseconds with more pixels';

ALTER TABLE {database}.room_usage
    COMMENT COLUMN SdkAppId 'Application',
    COMMENT COLUMN SlotTime 'Start of the five minutes',
    COMMENT COLUMN RoomId 'Room, as text',
    COMMENT COLUMN RoomIdType '0 numeric room, 1 string room',
    COMMENT COLUMN AudioMs 'Milliseconds without a picture',
    COMMENT COLUMN HdMs 'Milliseconds with up to 921,600 pixels together',
    COMMENT COLUMN FhdMs 'Milliseconds with up to 2,073,600 pixels together',
    COMMENT COLUMN TwoKMs 'Milliseconds with up to 3,686,400 pixels together',
    COMMENT COLUMN TwoKPlusMs 'Milliseconds with more pixels';

ALTER TABLE {database}.relay_bandwidth_5m
    COMMENT COLUMN SdkAppId 'Application',
    COMMENT COLUMN SlotTime 'Start of the five minutes',
    COMMENT COLUMN Free 'To our own CDN (css), which costs nothing, or to another',
    COMMENT COLUMN PeakBitsPerSecond 'The largest mean of ten seconds of all relays together',
    COMMENT COLUMN RelayedMs 'Milliseconds of relay, those of several destinations added up';

ALTER TABLE {database}.usage_1d
    COMMENT COLUMN SdkAppId 'Application',
    COMMENT COLUMN Day 'Day, as the application''s offset from UTC makes it',
    COMMENT COLUMN Service 'av, recording, mix-h264, mix-h265 or delivery',
    COMMENT COLUMN Free 'Whether it costs nothing',
    COMMENT COLUMN AudioMin 'Minutes without a picture',
    COMMENT COLUMN HdMin 'Minutes with up to 921,600 pixels together',
    COMMENT COLUMN FhdMin 'Minutes with up to 2,073,600 pixels together',
    COMMENT COLUMN TwoKMin 'Minutes with up to 3,686,400 pixels together',
    COMMENT COLUMN TwoKPlusMin 'Minutes with more pixels';

ALTER TABLE {database}.usage_deductions
    COMMENT COLUMN SdkAppId 'Application',
    COMMENT COLUMN Day 'Day, as the application''s offset from UTC makes it',
    COMMENT COLUMN SlotTime 'Start of the five minutes',
    COMMENT COLUMN Service 'av, recording, mix-h264 or mix-h265',
    COMMENT COLUMN Tier 'audio, hd, fhd, 2k or 2k+',
    COMMENT COLUMN Turn 'In which turn the free package pays: 1 to 5 av, 6 to 10 recording, 11 to 15 mix-transcoding',
    COMMENT COLUMN Minutes 'Minutes that they take from the free package, or that are paid',
    COMMENT COLUMN MonthlyMinutes 'Minutes that they take from a monthly package; 0 where it does not pay for the service';

ALTER TABLE {database}.relay_bandwidth_1d
    COMMENT COLUMN SdkAppId 'Application',
    COMMENT COLUMN Day 'Day, as the application''s offset from UTC makes it',
    COMMENT COLUMN Free 'To our own CDN (css), which costs nothing, or to others',
    COMMENT COLUMN PeakBitsPerSecond 'The largest mean of ten seconds',
    COMMENT COLUMN RelayedMs 'Milliseconds of relay, those of several destinations added up';

ALTER TABLE {database}.relay_bandwidth_month
    COMMENT COLUMN SdkAppId 'Application',
    COMMENT COLUMN Month 'First day of the month, as the application''s offset from UTC makes it',
    COMMENT COLUMN Free 'To our own CDN (css), which costs nothing, or to others',
    COMMENT COLUMN PeakBitsPerSecond 'The largest mean of ten seconds, by which the month is charged',
    COMMENT COLUMN RelayedMs 'Milliseconds of relay, those of several destinations added up';
