"""The tables that facts go into, as Arrow schemas: what a row holds and in which order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Sequence

Row = tuple[Any, ...]

TIME = _MS = pa.timestamp("ms", tz="UTC")
"""Unix milliseconds."""
_SECONDS = pa.timestamp("s", tz="UTC")
_US = pa.timestamp("us", tz="UTC")
_TEXT = pa.string()
_U8, _U16, _U32, _U64 = pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()
_SESSION = [("SdkAppId", _U32), ("RoomId", _TEXT), ("RoomIdType", _U8), ("UserId", _TEXT), ("SessionId", _TEXT)]

STREAM_NUMBERS = {"audio": 0, "big": 1, "small": 2, "sub": 3}
"""The streams as the tables' enumeration has them."""

SAMPLES = pa.schema(
    [
        *_SESSION,
        ("UserShard", _U8),
        ("StartTime", _MS),
        ("DurMs", _U16),
        ("AppCpu", pa.float32()),
        ("SysCpu", pa.float32()),
        ("MemoryMb", _U32),
        ("SdkTaskMs", _U32),
        ("Rtt", _U32),
        ("GatewayRtt", _U32),
        ("UpLoss", pa.float32()),
        ("DownLoss", pa.float32()),
        ("SentBytes", _U64),
        ("ReceivedBytes", _U64),
        ("ArrivalTime", _MS),
    ]
)

STREAMS = pa.schema(
    [
        *_SESSION,
        ("PeerId", _TEXT),
        ("Stream", pa.int8()),
        ("UserShard", _U8),
        ("StartTime", _MS),
        ("DurMs", _U16),
        ("Bitrate", _U32),
        ("Loss", pa.float32()),
        ("Width", _U16),
        ("Height", _U16),
        ("CapFps", pa.float32()),
        ("EncFps", pa.float32()),
        ("SendFps", pa.float32()),
        ("RecFps", pa.float32()),
        ("DecFps", pa.float32()),
        ("RenderFps", pa.float32()),
        ("JitterMs", _U32),
        ("DelayMs", _U32),
        ("Volume", pa.float32()),
        ("SampleRate", _U32),
        ("PlayMs", _U16),
        ("Muted", pa.bool_()),
        ("ArrivalTime", _MS),
    ]
)

STUTTERS = pa.schema(
    [
        *_SESSION,
        ("PeerId", _TEXT),
        ("Stream", pa.int8()),
        ("UserShard", _U8),
        ("EpisodeTime", _MS),
        ("BucketTime", _SECONDS),
        ("EpisodeMs", _U32),
    ]
)

USER_10S = pa.schema(
    [
        ("SdkAppId", _U32),
        ("BucketTime", _MS),
        ("RoomId", _TEXT),
        ("RoomIdType", _U8),
        ("UserShard", _U8),
        ("UserId", _TEXT),
        ("SessionId", _TEXT),
        ("ReportedMs", _U32),
        ("HdMs", _U32),
        ("FhdMs", _U32),
        ("TwoKMs", _U32),
        ("TwoKPlusMs", _U32),
        ("VideoStutterMs", _U32),
        ("VideoPlayMs", _U32),
        ("AudioStutterMs", _U32),
        ("AudioPlayMs", _U32),
        (
            "Exceptions",
            pa.list_(
                pa.struct(
                    [("Exception", pa.int8()), ("PeerId", _TEXT), ("Stream", pa.int8()), ("Cause", _TEXT)],
                )
            ),
        ),
        ("Version", _U64),
    ]
)

CLIENTS = pa.schema(
    [
        *_SESSION,
        ("Seq", _U32),
        ("SentTime", _MS),
        ("Role", _U8),
        ("TerminalType", _U8),
        ("UserType", _U8),
        ("SdkType", _TEXT),
        ("SdkVersion", _TEXT),
        ("DeviceModel", _TEXT),
        ("Os", _TEXT),
        ("NetworkType", _TEXT),
        ("JoinTime", _MS),
        ("JoinCostMs", _U32),
        ("JoinResult", pa.int32()),
        ("LeaveTime", _MS),
        ("LeaveReason", pa.int32()),
        ("Region", _TEXT),
        ("Isp", _TEXT),
        ("ArrivalTime", _MS),
    ]
)

CLIENT_EVENTS = pa.schema(
    [
        *_SESSION,
        ("EventTime", _MS),
        ("EventId", _U32),
        ("Type", _U8),
        ("ParamOne", pa.int64()),
        ("ParamTwo", pa.int64()),
        ("PeerId", _TEXT),
        ("ArrivalTime", _MS),
    ]
)

EVENTS = pa.schema(
    [
        ("SdkAppId", _U32),
        ("RoomId", _TEXT),
        ("EventId", _TEXT),
        ("RoomIdType", _U8),
        ("EventGroupId", _U8),
        ("EventType", _U16),
        ("EventTime", _MS),
        ("UserId", _TEXT),
        ("TaskId", _TEXT),
        ("Role", _U8),
        ("TerminalType", _U8),
        ("UserType", _U8),
        ("Reason", _U8),
        ("RoomScene", _TEXT),
        ("Unadmitted", pa.bool_()),
        ("EventInfo", _TEXT),
        ("Extra", _TEXT),
        ("ArrivalTime", _MS),
        ("KafkaPartition", _U32),
        ("KafkaOffset", _U64),
        ("Precedence", _U64),
    ]
)

TASK_INTERVALS = pa.schema(
    [
        ("SdkAppId", _U32),
        ("TaskId", _TEXT),
        ("StartTime", _MS),
        ("EndTime", _MS),
        ("TaskType", _TEXT),
        ("RecordMode", _TEXT),
        ("RoomId", _TEXT),
        ("RoomIdType", _U8),
        ("Final", pa.bool_()),
        ("Robots", _TEXT),
        ("Inputs", _TEXT),
        ("Outputs", _TEXT),
        ("ArrivalTime", _MS),
    ]
)

DELIVERIES = pa.schema(
    [
        ("SdkAppId", _U32),
        ("StartedTime", _MS),
        ("DeliveryId", _TEXT),
        ("Attempt", _U16),
        ("RequestId", _TEXT),
        ("EventId", _TEXT),
        ("EventGroupId", _U8),
        ("EventType", _U16),
        ("EventTime", _MS),
        ("AcceptedTime", _MS),
        ("RoomId", _TEXT),
        ("RoomIdType", _U8),
        ("UserId", _TEXT),
        ("TaskId", _TEXT),
        ("Url", _TEXT),
        ("CallbackTime", _MS),
        ("DurationMs", _U32),
        ("Status", _U16),
        ("Outcome", _TEXT),
        ("Gap", pa.bool_()),
        ("ErrorClass", _TEXT),
        ("Error", _TEXT),
        ("Response", _TEXT),
    ]
)

CALL_ROWS = pa.schema(
    [
        ("SdkAppId", _U32),
        ("RoomId", _TEXT),
        ("RoomIdType", _U8),
        ("StartTime", _MS),
        ("CommId", _TEXT),
        ("CreatorId", _TEXT),
        ("RoomScene", _TEXT),
        ("FirstEntryTime", _MS),
        ("LastExitTime", _MS),
        ("CloseTime", _MS),
        ("JoinedUsers", _U32),
        ("FromReports", pa.bool_()),
        ("Removed", pa.bool_()),
        ("ComputedTime", _US),
    ]
)

STAY_ROWS = pa.schema(
    [
        ("SdkAppId", _U32),
        ("RoomId", _TEXT),
        ("RoomIdType", _U8),
        ("CallTime", _MS),
        ("UserId", _TEXT),
        ("EnterTime", _MS),
        ("ExitTime", _MS),
        ("Role", _U8),
        ("RoleTimes", pa.list_(_MS)),
        ("Roles", pa.list_(_U8)),
        ("TerminalType", _U8),
        ("UserType", _U8),
        ("EnterReason", _U8),
        ("ExitReason", _U8),
        ("SessionId", _TEXT),
        ("Removed", pa.bool_()),
        ("ComputedTime", _US),
    ]
)

PRESENCE = pa.schema(
    [
        ("SdkAppId", _U32),
        ("HourTime", _SECONDS),
        ("RoomId", _TEXT),
        ("RoomIdType", _U8),
        ("UserId", _TEXT),
        ("EnterTime", _MS),
        ("ExitTime", _MS),
        ("SessionId", _TEXT),
        ("Removed", pa.bool_()),
        ("ComputedTime", _US),
    ]
)

TASK_USAGE = pa.schema(
    [
        ("SdkAppId", _U32),
        ("SlotTime", _SECONDS),
        ("TaskId", _TEXT),
        ("Kind", _TEXT),
        ("Free", pa.bool_()),
        ("RoomId", _TEXT),
        ("RoomIdType", _U8),
        ("UserId", _TEXT),
        ("RecordMode", _TEXT),
        ("AudioMs", _U64),
        ("HdMs", _U64),
        ("FhdMs", _U64),
        ("TwoKMs", _U64),
        ("TwoKPlusMs", _U64),
        ("Bytes", _U64),
        ("ComputedTime", _US),
    ]
)

RELAY_USAGE = pa.schema(
    [
        ("SdkAppId", _U32),
        ("BucketTime", _SECONDS),
        ("TaskId", _TEXT),
        ("Free", pa.bool_()),
        ("Bits", _U64),
        ("RelayedMs", _U64),
        ("ComputedTime", _US),
    ]
)

APPLICATIONS = pa.schema(
    [
        ("SdkAppId", _U32),
        ("Name", _TEXT),
        ("Status", _TEXT),
        ("MonitoringEdition", _TEXT),
        ("UtcOffsetMinutes", pa.int16()),
        ("CreatedTime", _MS),
        ("Version", _U32),
    ]
)

EXPIRED = pa.schema([("SdkAppId", _U32), ("Kind", _TEXT), ("Before", pa.date32())])
LIMITS = pa.schema([("Name", _TEXT), ("Value", pa.float64())])

SCHEMAS: dict[str, pa.Schema] = {
    "samples": SAMPLES,
    "streams": STREAMS,
    "stutters": STUTTERS,
    "user_10s": USER_10S,
    "clients": CLIENTS,
    "client_events": CLIENT_EVENTS,
    "events": EVENTS,
    "task_intervals": TASK_INTERVALS,
    "deliveries": DELIVERIES,
    "call_rows": CALL_ROWS,
    "stay_rows": STAY_ROWS,
    "presence": PRESENCE,
    "task_usage_5m": TASK_USAGE,
    "relay_usage_10s": RELAY_USAGE,
    "applications": APPLICATIONS,
    "expired": EXPIRED,
    "limits": LIMITS,
}


def to_arrow(table: str, rows: Sequence[Row]) -> pa.Table:
    """Rows of a table as Arrow. Raises one of `UNFIT` where a value does not fit its column."""
    schema = SCHEMAS[table]
    if not rows:
        return schema.empty_table()
    columns = zip(*rows, strict=True)
    return pa.Table.from_arrays(
        [pa.array(column, type=field.type) for column, field in zip(columns, schema, strict=True)], schema=schema
    )


UNFIT = (pa.ArrowException, OverflowError, TypeError, ValueError)
