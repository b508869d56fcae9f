"""Task intervals: what server-side media tasks received and made, which callbacks do not tell."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from schemas.words import (
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
