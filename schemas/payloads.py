"""`EventInfo` and `Payload` of every callback group: which fields have a type, which must be there.

Only what identifies and times an event is required. Everything else may be absent; unknown fields are welcome and
travel on to the customer untouched, since the vendor adds fields at any time.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from schemas.words import EventUserId, RoomId, RoomIdType, RoomScene, TaskId, UnixMs, UnixSeconds

Status = Annotated[int, Meta(ge=0, le=255)]
TrackType = Literal["audio", "video", "audio_video"]
MediaId = Literal["main", "aux", "mix"]
Text = Annotated[str, Meta(max_length=65536)]
UserText = Annotated[str, Meta(max_length=64)]


class RoomInfo(Struct, rename="pascal", kw_only=True):
    """Type 102 and the base of group 1: what happened to a room."""

    room_id: RoomId
    event_ms_ts: UnixMs
    event_ts: UnixSeconds | None = None
    user_id: EventUserId | None = None
    """In 101 the room's creator."""
    unique_id: int | None = None
    """One stay, the same in 103 and 104; sent by old applications only."""
    role: Literal[20, 21] | None = None
    """20 anchor, 21 audience; in 105 the new role."""
    terminal_type: Status | None = None
    """1 Windows, 2 Android, 3 iOS, 4 Linux, 100 other."""
    user_type: Status | None = None
    """1 WebRTC, 2 mini program, 3 native SDK."""
    reason: Status | None = None
    """Of 103: 1 normal, 2 network switch, 3 retry after a timeout, 4 cross-room. Of 104: 1 normal, 2 timed out,
    3 removed, 4 cross-room cancelled, 5 process killed."""
    room_scene: RoomScene | None = None
    """Ours: how the room ends. It does not go to the customer."""


class UserInRoomInfo(RoomInfo, rename="pascal", kw_only=True):
    """Group 1 but for 102, which alone is about nobody."""

    user_id: EventUserId


class MediaInfo(Struct, rename="pascal", kw_only=True):
    """Group 2: a user starts or stops sending."""

    room_id: RoomId
    user_id: EventUserId
    event_ms_ts: UnixMs
    event_ts: UnixSeconds | None = None
    reason: Status | None = None


class StatusPayload(Struct, rename="pascal", kw_only=True):
    """Payload of 301, 303, 305, 306 and 312."""

    status: Status | None = None
    """0 done, 1 failed. Of 305: 0 all files are where they belong, 1 at least one is stuck on the way, 2 those that
    were stuck have arrived."""


class LeavePayload(Struct, rename="pascal", kw_only=True):
    """Payload of 302 and 902: why the robot left."""

    leave_code: Status | None = None
    """0 stopped by a call, 1 removed by the customer, 2 room closed by the customer, 3 removed by the server, 4 room
    closed by the server, 98 internal error (902), 99 nobody else was left, 100 timed out (302), 101 the same robot
    entered elsewhere (302)."""


class FileListPayload(Struct, rename="pascal", kw_only=True):
    """Payload of 304."""

    file_list: Text | None = None
    """Name of the index file; one text, in spite of its name."""


class FileSlicePayload(Struct, rename="pascal", kw_only=True):
    """Payload of 307; the time comes as number or as text."""

    file_name: Text | None = None
    user_id: UserText | None = None
    track_type: TrackType | None = None
    begin_time_stamp: UnixMs | str | None = None


class UploadErrorPayload(Struct, rename="pascal", kw_only=True):
    """Payload of 308, withdrawn by the vendor but still sent by recorders."""

    code: Text | None = None
    message: Text | None = None


class ImageErrorPayload(Struct, rename="pascal", kw_only=True):
    """Payload of 309."""

    url: Text | None = None
    """The picture that could not be had."""


class FileMessage(Struct, rename="pascal", kw_only=True):
    """One MP4 file of 310."""

    file_name: Text | None = None
    user_id: UserText | None = None
    """Empty where several users are in one file."""
    track_type: TrackType | None = None
    media_id: MediaId | None = None
    start_time_stamp: UnixMs | None = None
    end_time_stamp: UnixMs | None = None


class Mp4Payload(Struct, rename="pascal", kw_only=True):
    """Payload of 310, which may come several times in a task."""

    status: Status | None = None
    """0 all files are uploaded, 1 at least one is stuck on the way, 2 ended abnormally."""
    file_list: list[Text] | None = None
    file_message: list[FileMessage] | None = None


class TencentVod(Struct, rename="pascal", kw_only=True):
    """One file of 311; after a failure only user, track and file name are there."""

    user_id: UserText | None = None
    """Empty where several users are in one file."""
    track_type: TrackType | None = None
    media_id: MediaId | None = None
    file_id: Text | None = None
    video_url: Text | None = None
    cache_file: Text | None = None
    start_time_stamp: UnixMs | None = None
    end_time_stamp: UnixMs | None = None


class VodPayload(Struct, rename="pascal", kw_only=True):
    """Payload of 311, once for each file."""

    status: Status | None = None
    """0 uploaded, 1 stuck on the way, 2 ended abnormally."""
    errmsg: Text | None = None
    """Why, where the status is not 0."""
    tencent_vod: TencentVod | None = None


class RelayPayload(Struct, rename="pascal", kw_only=True):
    """Payload of 401: one of the URLs that a task pushes to."""

    url: Text | None = None
    status: Status | None = None
    """0 idle, 1 connecting, 2 running, 3 recovering, 4 failed, 5 disconnecting."""
    error_code: int | None = None
    error_msg: Text | None = None


class WebRecordPayload(Struct, rename="pascal", kw_only=True):
    """Payload of 801 to 804."""

    status: Status | None = None
    """Of 801: 1 started, 2 failed to start, 3 interrupted, 4 moved, 5 given up. Of 802: 1 ended. Of 803: 1 reloaded,
    2 paused, 3 resumed. Of 804: 1 recorded for as long as is allowed, 2 a picture larger than is allowed."""
    event_message: Text | None = None


class AiPayload(Struct, rename="pascal", kw_only=True):
    """Payload of 901 to 909; `Status` is a number, in 909 a text."""

    status: int | str | None = None
    leave_code: Status | None = None
    user_id: UserText | None = None
    text: Text | None = None
    start_time_ms: int | None = None
    end_time_ms: int | None = None
    round_id: Text | None = None
    metric: Text | None = None
    value: float | None = None
    tag: dict[str, Any] | None = None
    """`RoundId`, in 908 also `Code` and `Message`."""


class TaskInfo(Struct, rename="pascal", kw_only=True):
    """Group 8 and the base of every group that is about a task."""

    event_ms_ts: UnixMs
    task_id: TaskId
    event_ts: UnixSeconds | None = None
    payload: dict[str, Any] | None = None


class RecordingInfo(TaskInfo, rename="pascal", kw_only=True):
    """Group 3: a cloud recording."""

    room_id: RoomId
    user_id: EventUserId
    room_id_type: RoomIdType | None = None
    """0 a numeric room, 1 a string room."""


class RelayInfo(TaskInfo, rename="pascal", kw_only=True):
    """Group 4: a relay to a CDN."""

    room_id: RoomId
    user_id: EventUserId | None = None
    room_type: RoomIdType | None = None
    """0 a numeric room, 1 a string room."""


class StreamIngestInfo(TaskInfo, rename="pascal", kw_only=True):
    """Group 7: an online stream pushed into a room; the status stands beside the task."""

    status: Status | None = None
    """Of 701: 0 started, 1 failed, 2 trying again. Of 702: 0 stopped."""


class AiInfo(TaskInfo, rename="pascal", kw_only=True):
    """Group 9: an AI service in a room."""

    room_id: RoomId | None = None
    room_id_type: RoomIdType | None = None
    """0 a numeric room, 1 a string room."""


class OtherInfo(Struct, rename="pascal", kw_only=True):
    """Groups whose bodies nobody has published: only what identifies an event is looked at."""

    event_ms_ts: UnixMs
    event_ts: UnixSeconds | None = None
    room_id: RoomId | None = None
    room_id_type: RoomIdType | None = None
    """0 a numeric room, 1 a string room."""
    room_type: RoomIdType | None = None
    """0 a numeric room, 1 a string room."""
    user_id: EventUserId | None = None
    task_id: TaskId | None = None


INFO_OF_GROUP: dict[int, type[Struct]] = {
    1: UserInRoomInfo,
    2: MediaInfo,
    3: RecordingInfo,
    4: RelayInfo,
    7: StreamIngestInfo,
    8: TaskInfo,
    9: AiInfo,
}
INFO_OF_TYPE: dict[int, type[Struct]] = {102: RoomInfo}
PAYLOAD_OF_TYPE: dict[int, type[Struct]] = {
    301: StatusPayload,
    302: LeavePayload,
    303: StatusPayload,
    304: FileListPayload,
    305: StatusPayload,
    306: StatusPayload,
    307: FileSlicePayload,
    308: UploadErrorPayload,
    309: ImageErrorPayload,
    310: Mp4Payload,
    311: VodPayload,
    312: StatusPayload,
    401: RelayPayload,
    **dict.fromkeys(range(801, 805), WebRecordPayload),
    **dict.fromkeys(range(901, 910), AiPayload),
}


def info_type(event_group_id: int, event_type: int) -> type[Struct]:
    """The struct that `EventInfo` of an event must fit."""
    return INFO_OF_TYPE.get(event_type) or INFO_OF_GROUP.get(event_group_id, OtherInfo)
