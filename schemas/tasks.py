"""Task intervals: what server-side media tasks received and made, which callbacks do not tell."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Raw, Struct

from schemas.events import InvalidEvent, split_validation_error
from schemas.keys import may_be_numeric
from schemas.words import (
    NUMERIC_ROOM,
    STRING_ROOM,
    BitsPerSecond,
    EventUserId,
    Pixels,
    RoomId,
    RoomIdType,
    SdkAppId,
    StreamType,
    TaskId,
    UnixMs,
)

MAX_INTERVAL_MS = 60_000
TaskType = Literal["record", "web-record", "mix", "relay", "ingest", "moderate"]


class Robot(Struct, rename="pascal", omit_defaults=True):
    """A user of the task's own in a room."""

    room_id: RoomId
    user_id: EventUserId
    room_id_type: RoomIdType | None = None


class TaskInput(Struct, rename="pascal", omit_defaults=True):
    """A stream that the task received; the room only where it is another than the task's."""

    user_id: EventUserId
    type: StreamType
    room_id: RoomId | None = None
    room_id_type: RoomIdType | None = None
    width: Pixels | None = None
    height: Pixels | None = None


class TaskOutput(Struct, rename="pascal", omit_defaults=True):
    """A file or stream that the task made."""

    format: Literal["mp4", "hls", "aac", "hls+mp4", "flv", "rtmp", "rtc"] | None = None
    codec: Literal["h264", "h265", "none"] | None = None
    width: Pixels | None = None
    height: Pixels | None = None
    video_bitrate: BitsPerSecond | None = None
    audio_bitrate: BitsPerSecond | None = None
    destination: Literal["vod", "cos", "other-storage", "css", "other-cdn", "rtc"] | None = None


class TaskInterval(Struct, rename="pascal", omit_defaults=True):
    """What one task used in [`StartMs`, `EndMs`), at most 60 s; of two with one start the longer one counts."""

    task_id: TaskId
    task_type: TaskType
    start_ms: UnixMs
    end_ms: UnixMs
    record_mode: Literal["single", "mixed"] | None = None
    room_id: RoomId | None = None
    room_id_type: RoomIdType | None = None
    robots: Annotated[list[Robot], Meta(max_length=1000)] = []
    final: bool = False
    inputs: Annotated[list[TaskInput], Meta(max_length=1000)] = []
    outputs: Annotated[list[TaskOutput], Meta(max_length=100)] = []


class TaskRecord(Struct, rename="pascal", omit_defaults=True):
    """The value of one record of topic `tasks`."""

    sdk_app_id: SdkAppId
    arrival_ms: UnixMs
    interval: TaskInterval


_intervals = msgspec.json.Decoder(TaskInterval)


def read_task(sdk_app_id: int, item: bytes | Raw, arrival_ms: int) -> TaskRecord:
    """Turn one posted interval into the record that goes to Kafka.

    Raises `InvalidEvent` with the path of the field that is wrong.
    """
    try:
        interval = _intervals.decode(item)
    except msgspec.ValidationError as error:
        reason, path = split_validation_error(error)
        raise InvalidEvent(path, reason) from error
    except RecursionError as error:
        raise InvalidEvent("", "nested too deeply", "TooDeep") from error
    except ValueError as error:
        reason = "not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
        raise InvalidEvent("", reason, "InvalidJson") from error
    if interval.end_ms <= interval.start_ms:
        raise InvalidEvent("EndMs", "must be later than StartMs")
    if interval.end_ms - interval.start_ms > MAX_INTERVAL_MS:
        raise InvalidEvent("EndMs", f"more than {MAX_INTERVAL_MS} ms after StartMs")
    if interval.room_id is None and interval.task_type != "web-record":
        raise InvalidEvent("RoomId", f"missing; only tasks of type web-record have none, not {interval.task_type}")
    if interval.room_id is not None and interval.task_type == "web-record":
        raise InvalidEvent("RoomId", "a task of type web-record is in no room")
    if interval.record_mode is not None and interval.task_type != "record":
        raise InvalidEvent("RecordMode", f"only tasks of type record have one, not {interval.task_type}")
    _check_room(interval.room_id, interval.room_id_type, "")
    for index, robot in enumerate(interval.robots):
        _check_room(robot.room_id, robot.room_id_type, f"Robots[{index}].")
    for index, source in enumerate(interval.inputs):
        _check_room(source.room_id, source.room_id_type, f"Inputs[{index}].")
    return TaskRecord(sdk_app_id=sdk_app_id, arrival_ms=arrival_ms, interval=interval)


def _check_room(room: int | str | None, stated: RoomIdType | None, prefix: str) -> None:
    if room is None or stated is None:
        return
    if stated == STRING_ROOM and isinstance(room, int):
        raise InvalidEvent(f"{prefix}RoomIdType", "says a string room, but RoomId is a number")
    if stated == NUMERIC_ROOM and isinstance(room, str) and not may_be_numeric(room):
        raise InvalidEvent(f"{prefix}RoomIdType", "says a numeric room, but RoomId is not the number of one")
