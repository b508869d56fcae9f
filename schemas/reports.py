"""Quality reports: what an SDK client posts, and the batch of them that one Kafka record carries.

A *sample* is one user's measurement of at most two seconds; a *report* is one upload with the samples since the last;
a *batch* is one Kafka record with many reports. A field that is absent is unknown, never zero.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Raw, Struct

from schemas.words import (
    BitsPerSecond,
    Count,
    DurationMs,
    EventUserId,
    FramesPerSecond,
    Percent,
    Pixels,
    RoomId,
    SdkAppId,
    ShortText,
    StreamType,
    UnixMs,
    UserId,
)

SAMPLE_GRID_MS = 2000
"""Samples lie in the cells of this grid of server time and never last longer than one."""

SessionId = Annotated[str, Meta(min_length=1, max_length=64)]
Seq = Annotated[int, Meta(ge=1, le=2**31)]
Milliseconds = Annotated[int, Meta(ge=0, le=2**31)]
Volume = Annotated[float, Meta(ge=0, le=1000)]
Stutter = tuple[UnixMs, DurationMs]
"""[start, length so far] of one episode; the longest length that is ever sent for a start wins."""


class LocalStream(Struct, rename="pascal", omit_defaults=True, gc=False):
    """What the user sent of one stream."""

    type: StreamType
    bitrate: BitsPerSecond | None = None
    loss: Percent | None = None
    width: Pixels | None = None
    height: Pixels | None = None
    cap_fps: FramesPerSecond | None = None
    enc_fps: FramesPerSecond | None = None
    send_fps: FramesPerSecond | None = None
    volume: Volume | None = None
    sample_rate: Milliseconds | None = None
    muted: bool | None = None


class RemoteStream(Struct, rename="pascal", omit_defaults=True, gc=False):
    """What the user received of one stream of one peer."""

    user_id: EventUserId
    """The peer, who may be a robot with a name that no user could have."""
    type: StreamType
    bitrate: BitsPerSecond | None = None
    loss: Percent | None = None
    width: Pixels | None = None
    height: Pixels | None = None
    rec_fps: FramesPerSecond | None = None
    dec_fps: FramesPerSecond | None = None
    render_fps: FramesPerSecond | None = None
    jitter_ms: Milliseconds | None = None
    delay_ms: Milliseconds | None = None
    volume: Volume | None = None
    play_ms: Annotated[int, Meta(ge=0, le=SAMPLE_GRID_MS)] | None = None
    muted: bool | None = None
    stutters: list[Stutter] = []


class Sample(Struct, rename="pascal", omit_defaults=True, gc=False):
    """What one user measured in [`StartMs`, `StartMs` + `DurMs`), server time."""

    start_ms: UnixMs
    dur_ms: Annotated[int, Meta(ge=1, le=SAMPLE_GRID_MS)]
    app_cpu: Percent | None = None
    sys_cpu: Percent | None = None
    memory_mb: Milliseconds | None = None
    sdk_task_ms: Milliseconds | None = None
    rtt: Milliseconds | None = None
    gateway_rtt: Milliseconds | None = None
    up_loss: Percent | None = None
    down_loss: Percent | None = None
    sent_bytes: Count | None = None
    received_bytes: Count | None = None
    local: list[LocalStream] = []
    remote: list[RemoteStream] = []


class ClientEvent(Struct, rename="pascal", omit_defaults=True, gc=False):
    """Something that happened in the SDK; -1 stands for an unused parameter."""

    at_ms: UnixMs
    event_id: Annotated[int, Meta(ge=0, le=2**31)]
    type: Annotated[int, Meta(ge=0, le=255)] = 0
    param_one: Annotated[int, Meta(ge=-(2**53), le=2**53)] = -1
    param_two: Annotated[int, Meta(ge=-(2**53), le=2**53)] = -1
    peer_id: Annotated[str, Meta(max_length=64)] = ""


class Client(Struct, rename="pascal", omit_defaults=True, gc=False):
    """Who the user is: sent with the first report of a session and when something changed."""

    role: Annotated[int, Meta(ge=0, le=255)] | None = None
    terminal_type: Annotated[int, Meta(ge=0, le=255)] | None = None
    user_type: Annotated[int, Meta(ge=0, le=255)] | None = None
    sdk_type: ShortText | None = None
    sdk_version: ShortText | None = None
    device_model: ShortText | None = None
    os: ShortText | None = None
    network_type: ShortText | None = None
    join_ms: UnixMs | None = None
    join_cost_ms: Milliseconds | None = None
    join_result: Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)] | None = None
    leave_ms: UnixMs | None = None
    leave_reason: Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)] | None = None


class Envelope(Struct, rename="pascal", omit_defaults=True):
    """A report whose parts are not decoded yet, so that a bad one cannot spoil its neighbours."""

    sdk_app_id: SdkAppId
    user_id: UserId
    room_id: RoomId
    session_id: SessionId
    seq: Seq
    sent_ms: UnixMs
    user_sig: str = ""
    private_map_key: str = ""
    client: Raw = Raw()
    """Empty where it is absent."""
    samples: list[Raw] = []
    events: list[Raw] = []


class Report(Struct, rename="pascal", omit_defaults=True):
    """A report as a client posts it."""

    sdk_app_id: SdkAppId
    user_id: UserId
    room_id: RoomId
    session_id: SessionId
    seq: Seq
    sent_ms: UnixMs
    user_sig: str = ""
    private_map_key: str = ""
    client: Client | None = None
    samples: list[Sample] = []
    events: list[ClientEvent] = []


class AcceptedReport(Struct, rename="pascal", omit_defaults=True):
    """A report on its way through Kafka: its credentials are gone, what ingest knows of it is there."""

    sdk_app_id: SdkAppId
    user_id: UserId
    room_id: RoomId
    session_id: SessionId
    seq: Seq
    sent_ms: UnixMs
    arrival_ms: UnixMs
    region: str = ""
    isp: str = ""
    client: Client | None = None
    samples: list[Sample] = []
    events: list[ClientEvent] = []


class ReportBatch(Struct, rename="pascal"):
    """The value of one record of topic `quality`: reports that share a partition, in order of arrival."""

    reports: list[AcceptedReport]
