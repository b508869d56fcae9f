"""Examples of everything public. Their application is 1400000001, their clock stands at 1700000000."""

from __future__ import annotations

from importlib import resources
from typing import Any

import msgspec

from schemas.answers import Acceptance, ErrorAnswer, ErrorDetail, Rejection, ReportAcceptance, TimeAnswer
from schemas.applications import ApplicationRecord, CallbackConfig
from schemas.deliveries import DeliveryAttempt, delivery_id
from schemas.reports import Client, ClientEvent, LocalStream, RemoteStream, Report, Sample
from schemas.tasks import Robot, TaskInput, TaskInterval, TaskOutput

SDK_APP_ID = 1400000001
SECRET_KEY = "0123456789abcdef" * 4
CALLBACK_KEY = "Key0123456789abc"
NEXT_CALLBACK_KEY = "Key9876543210zyx"
WEBHOOK = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
START_MS = 1700000000000
GRID_MS = 2000
USER_SIG = (
    "eJyrVgrxCdYrSy1SslIy0jNQ0gHzM1NS80oy0zLBwok5mcmpUInilOzEgoLMFCUrQxMDCDCEyJRk5qYqWRmaQ0UNIKKpFQWZRalKVhZmJjCh"
    "4sx0JSulZLf8ovIUozBHr6TkJF9tI69EX4-KrOSc-OLAPEvngIKQ5PyIHGM-n0L-UFulWgCUUDEZ"
)
"""Alice's, valid for a day."""
PRIVATE_MAP_KEY = (
    "eJw9jtsKgkAQhl9F9jpMRVICL7bQIAyptjUvzV1l87StWmH07nnsvxiY75th5gOQe5afVIC1BDRZAQtpIIzQomYxG0WYsYjOqiJpyDkjnVB1"
    "ZYw6OfrmTNDOmKtOTbBmeY9UYxqeeVNRcWvi-gCE0An8Nw80jKJU33T9y-MxPpawz2Oo0LL*P7CkX6vuTrJNi4aUXEO52l7yjLv4attehIkw"
    "*bJFyeG0r3aGbYHvD3UMRCM_"
)
"""Alice's for room 12345: she may enter and receive."""


def callbacks() -> list[bytes]:
    """Bodies of every group, one for each type or more."""
    return resources.files(__name__).joinpath("callbacks.jsonl").read_bytes().splitlines()


def events() -> list[dict[str, Any]]:
    """What media servers posted to make those callbacks, and some that use what is ours."""
    posted = [msgspec.json.decode(body, type=dict[str, Any]) for body in callbacks()]
    for event in posted:
        event.pop("CallbackTs", None)
        event.pop("CallbackMsTs", None)
    entered = next(event for event in posted if event["EventType"] == 103)
    recorder = next(event for event in posted if event["EventType"] == 301)
    relay = next(event for event in posted if event["EventType"] == 401)["EventInfo"]
    misspelled = {("EventTsMs" if name == "EventMsTs" else name): value for name, value in relay.items()}
    return [
        *posted,
        {**entered, "EventId": "media-7/8801/42", "EventInfo": {**entered["EventInfo"], "RoomScene": "live"}},
        {**recorder, "RoomIdType": 0},
        {"EventGroupId": 4, "EventType": 401, "EventInfo": {**misspelled, "TaskId": 77}},
    ]


def reports() -> list[Report]:
    """The first one of a session, one with a stutter, the last one."""
    first = Report(
        sdk_app_id=SDK_APP_ID,
        user_id="alice",
        user_sig=USER_SIG,
        private_map_key=PRIVATE_MAP_KEY,
        room_id=12345,
        session_id="4f1c7a52",
        seq=1,
        sent_ms=START_MS + 4100,
        client=Client(
            role=20,
            terminal_type=100,
            user_type=1,
            sdk_type="web",
            sdk_version="0.1.0",
            device_model="Chrome 130",
            os="Linux",
            network_type="wifi",
            join_ms=START_MS + 850,
            join_cost_ms=340,
            join_result=0,
        ),
        samples=[
            Sample(
                start_ms=START_MS + 850,
                dur_ms=1150,
                rtt=48,
                sent_bytes=91_000,
                received_bytes=0,
                local=[
                    LocalStream(type="audio", bitrate=32_000, loss=0.0, volume=61.5, sample_rate=48_000, muted=False),
                    LocalStream(
                        type="big", bitrate=601_000, loss=0.5, width=640, height=480, cap_fps=30.0, send_fps=29.6
                    ),
                ],
            ),
            _receiving(START_MS + GRID_MS),
        ],
        events=[ClientEvent(at_ms=START_MS + 860, event_id=1001, type=1)],
    )
    second = _later(first, seq=2, sent_ms=START_MS + 14_050, samples=[_receiving(START_MS + 12_000, stuttered=True)])
    last = _later(
        first,
        seq=3,
        sent_ms=START_MS + 18_020,
        client=Client(leave_ms=START_MS + 18_000, leave_reason=1),
        samples=[_receiving(START_MS + 16_000)],
    )
    return [first, second, last]


def tasks() -> list[TaskInterval]:
    """A recording of one room, a relay that pushes its mix back into another room, a recorded web page."""
    return [
        TaskInterval(
            task_id="task-A",
            task_type="record",
            record_mode="single",
            room_id=8801,
            robots=[Robot(room_id=8801, user_id="rec_8801")],
            start_ms=START_MS,
            end_ms=START_MS + 60_000,
            inputs=[
                TaskInput(user_id="teacher_1", type="audio"),
                TaskInput(user_id="teacher_1", type="big", width=1280, height=720),
            ],
            outputs=[
                TaskOutput(
                    format="hls+mp4",
                    codec="h264",
                    width=1280,
                    height=720,
                    video_bitrate=1_200_000,
                    audio_bitrate=64_000,
                    destination="vod",
                )
            ],
        ),
        TaskInterval(
            task_id="task-R",
            task_type="relay",
            room_id="demo-room",
            robots=[
                Robot(room_id="demo-room", user_id="relay_bot"),
                Robot(room_id="4001", room_id_type=0, user_id="relay_bot"),
            ],
            start_ms=START_MS + 60_000,
            end_ms=START_MS + 72_500,
            final=True,
            inputs=[
                TaskInput(user_id="host_1", type="sub", width=1920, height=1080),
                TaskInput(room_id=4001, user_id="guest_1", type="big", width=640, height=480),
            ],
            outputs=[
                TaskOutput(format="rtmp", codec="h264", width=1920, height=1080, destination="other-cdn"),
                TaskOutput(format="rtc", codec="none", destination="rtc"),
            ],
        ),
        TaskInterval(task_id="task-W", task_type="web-record", start_ms=START_MS, end_ms=START_MS + 30_000),
    ]


def acceptances() -> list[Acceptance]:
    """Everything taken; all but one."""
    return [
        Acceptance(accepted=3, rejected=[]),
        Acceptance(
            accepted=2,
            rejected=[
                Rejection(index=1, field="EventInfo.Role", code="InvalidParameter", reason="Invalid enum value 22"),
            ],
        ),
    ]


def report_acceptances() -> list[ReportAcceptance]:
    """The same for a report."""
    return [
        ReportAcceptance(accepted=4, rejected=[], seq=1, server_ms=START_MS + 4160),
        ReportAcceptance(
            accepted=4,
            rejected=[Rejection(index=0, field="Samples[0].StartMs", code="TooOld", reason="older than 24 hours")],
            seq=2,
            server_ms=START_MS + 14_110,
        ),
    ]


def errors() -> list[ErrorAnswer]:
    """401, 422, and 503 on a report."""
    reason = "missing required field"
    return [
        ErrorAnswer(
            error=ErrorDetail(code="sig not match", reason="the UserSig is not signed with this application's key"),
            request_id="6f0f7d3e5c1b4a55",
            server_ms=START_MS + 4160,
        ),
        ErrorAnswer(
            error=ErrorDetail(code="InvalidParameter", reason=reason, field="EventInfo.UserId"),
            request_id="0b9c0c7f3f1d4d0e",
            rejected=[Rejection(index=0, field="EventInfo.UserId", code="InvalidParameter", reason=reason)],
        ),
        ErrorAnswer(
            error=ErrorDetail(code="ServiceUnavailable", reason="Kafka does not answer"),
            request_id="9e107d9d372bb682",
            server_ms=START_MS + 4160,
        ),
    ]


def times() -> list[TimeAnswer]:
    """A clock."""
    return [TimeAnswer(server_ms=START_MS + 123)]


def application_records() -> list[ApplicationRecord]:
    """One with callbacks, one that was deleted. Their keys are sealed with 32 zero bytes."""
    sealed = (
        "E7+iNRVX3uytxkc+wpFmzc83aT5UpxB7ITbnV6Ha0CuhuC+HrYvrE+m4LVx2zFISzf2DuyeqncMUvkgI2N34gAZWhoow9vBXdFl0FLgAySDx"
        "4IwtA47zCoEookM="
    )
    webhook = "Cip0OcB+x4t0BZfuHicKUf9JbkXMLh3BphUsLyai1v6KQ9sMBFVxpg7W6v6q+qHUa2JcNcwC2YaiV/MuhKKDVlfII5G5gPk4trdMwM9E"
    return [
        ApplicationRecord(
            sdk_app_id=SDK_APP_ID,
            name="demo",
            status="enabled",
            version=4,
            created_ms=START_MS,
            sealed_secret_key=sealed,
            sealed_callback_key="xDSq+Kshd0nJv1WnQsXsAtemfltStbz3yBLrSF+4HCB6h9+VGaUpXnT8Euk=",
            sealed_next_callback_key="UngZhKisqnHUTC6ESy6uT8XIfdg3yej3GnBj0t9Ypsi0uOyu+CFGapZ+TbE=",
            sealed_webhook_secret=webhook,
            callback=CallbackConfig(
                room_url="https://customer.example/rtc/room",
                media_url="https://customer.example/rtc/media",
                recording_url="https://customer.example/rtc/recording",
                group_urls={"7": "https://customer.example/rtc/ingest", "9": "https://customer.example/rtc/ai"},
            ),
            advanced_permission=True,
            description="Lessons",
            monitoring_edition="standard",
            utc_offset_minutes=480,
        ),
        ApplicationRecord(
            sdk_app_id=SDK_APP_ID,
            name="demo",
            status="deleted",
            version=5,
            created_ms=START_MS,
            sealed_secret_key=sealed,
        ),
    ]


def delivery_attempts() -> list[DeliveryAttempt]:
    """One that failed and will be tried again, and the next one."""
    failed = DeliveryAttempt(
        delivery_id=delivery_id(SDK_APP_ID, "media-7/8801/42"),
        attempt=1,
        request_id="5e3ab1c4f2d94c0f8a47f0b3e1c29d11",
        sdk_app_id=SDK_APP_ID,
        event_id="media-7/8801/42",
        event_group_id=1,
        event_type=103,
        event_ms_ts=START_MS + 110,
        accepted_ms=START_MS + 150,
        room_id="8801",
        room_id_type=0,
        user_id="teacher_1",
        url="https://customer.example/rtc/room",
        callback_ts=START_MS + 150,
        started_ms=START_MS + 162,
        duration_ms=5001,
        outcome="failed",
        error_class="timeout",
        error="no complete answer within 5 s",
    )
    delivered = msgspec.structs.replace(
        failed,
        attempt=2,
        request_id="c05d7b1e94e64a18bb0e2d4ffbd7a3c6",
        started_ms=START_MS + 5170,
        duration_ms=38,
        status=200,
        outcome="delivered",
        error_class="",
        error="",
        response='{"code":0}',
    )
    return [failed, delivered]


def _receiving(start_ms: int, *, stuttered: bool = False) -> Sample:
    return Sample(
        start_ms=start_ms,
        dur_ms=GRID_MS,
        app_cpu=12.5,
        sys_cpu=31.0,
        rtt=52,
        up_loss=0.2,
        down_loss=4.1 if stuttered else 0.0,
        sent_bytes=158_000,
        received_bytes=310_000,
        local=[LocalStream(type="audio", bitrate=32_000, loss=0.2, volume=58.0, muted=False)],
        remote=[
            RemoteStream(user_id="bob", type="audio", bitrate=31_000, loss=0.0, jitter_ms=4, delay_ms=90, play_ms=2000),
            RemoteStream(
                user_id="bob",
                type="big",
                bitrate=1_180_000,
                loss=4.1 if stuttered else 0.0,
                width=1280,
                height=720,
                dec_fps=24.5,
                delay_ms=140,
                play_ms=2000,
                stutters=[(start_ms + 700, 900)] if stuttered else [],
            ),
        ],
    )


def _later(report: Report, **changes: Any) -> Report:
    """A further report of the session: what has not changed is not sent again."""
    return msgspec.structs.replace(report, **{"client": None, "private_map_key": "", "events": [], **changes})
