"""Usage, rule by rule, with the examples that customers know."""

from __future__ import annotations

from typing import Any

import pytest

from schemas.tasks import Robot, TaskInput, TaskInterval, TaskOutput
from services.processor.usage.slots import SlotKey, TaskUsage, cut
from services.processor.usage.tasks import Charge, charges
from services.processor.usage.tiers import Tier, tier_of

T = 1_795_000_200_000
AUDIO, HD, FHD, TWO_K, TWO_K_PLUS = Tier


def interval(task_type: Any, *sizes: tuple[int, int] | None, outputs: Any = (), **fields: Any) -> TaskInterval:
    """A minute of a task that receives pictures of these sizes, None for a sound."""
    inputs = [
        TaskInput(user_id=f"u{number}", type="audio" if size is None else "big", width=(size or (None, None))[0])
        if size is None
        else TaskInput(user_id=f"u{number}", type="big", width=size[0], height=size[1])
        for number, size in enumerate(sizes)
    ]
    known = {"start_ms": T, "end_ms": T + 60_000, "room_id": 7, **fields}
    return TaskInterval(task_id="t", task_type=task_type, inputs=inputs, outputs=list(outputs), **known)


def kinds(task: TaskInterval) -> list[tuple[str, Tier, int]]:
    return [(charge.kind, charge.tier, charge.times) for charge in charges(task)]


@pytest.mark.parametrize(
    ("pixels", "tier"),
    [
        (0, AUDIO),
        (1, HD),
        (1280 * 720, HD),
        (1280 * 720 + 1, FHD),
        (1920 * 1080, FHD),
        (1920 * 1080 + 1, TWO_K),
        (2560 * 1440, TWO_K),
        (2560 * 1440 + 1, TWO_K_PLUS),
        (4096 * 2160, TWO_K_PLUS),
        (4096 * 2160 + 1, TWO_K_PLUS),
    ],
)
def test_the_pixels_of_all_pictures_decide_the_tier(pixels: int, tier: Tier) -> None:
    assert tier_of(pixels) is tier


def test_three_anchors_and_a_screen() -> None:
    a, b, c, screen = 960 * 720, 640 * 480, 640 * 480, 1920 * 1080
    assert tier_of(b + c) is HD
    assert tier_of(a + c + screen) is TWO_K
    assert tier_of(a + b + c + screen) is TWO_K
    # Three users with all pictures, four hours of 2K; one with two of them; one with none.
    assert [tier_of(pixels) for pixels in (480 * 480 * 2, 480 * 480 * 3)] == [HD, HD]


def test_a_recording_is_charged_by_all_that_it_receives() -> None:
    four = [(640, 360)] * 4
    assert kinds(interval("record", *four)) == [("record", HD, 1)]
    assert kinds(interval("record", (640, 360), (1280, 720), (960, 720))) == [("record", FHD, 1)]
    assert kinds(interval("record", (640, 360), (1280, 720), (960, 720), (1920, 1080))) == [("record", TWO_K_PLUS, 1)]
    assert kinds(interval("record", None, None)) == [("record", AUDIO, 1)]
    # Waiting for somebody to come is time without a picture.
    assert kinds(interval("record")) == [("record", AUDIO, 1)]
    # A moment with sound and picture is a picture.
    assert kinds(interval("record", None, (640, 360))) == [("record", HD, 1)]


def test_each_format_of_a_recording_is_charged() -> None:
    files = [TaskOutput(format="hls"), TaskOutput(format="mp4")]
    assert kinds(interval("record", (640, 360), outputs=files)) == [("record", HD, 2)]
    assert kinds(interval("record", (640, 360), outputs=[TaskOutput(format="hls+mp4")])) == [("record", HD, 2)]


@pytest.mark.parametrize(("size", "tier"), [((1280, 720), HD), ((1920, 1080), FHD), ((None, None), HD)])
def test_a_recorded_page_is_charged_by_its_output(size: tuple[int, int], tier: Tier) -> None:
    page = interval("web-record", room_id=None, outputs=[TaskOutput(format="mp4", width=size[0], height=size[1])])
    assert kinds(page) == [("web-record", tier, 1)]


H264 = TaskOutput(codec="h264", width=1280, height=720)


@pytest.mark.parametrize(
    ("inputs", "outputs", "expected"),
    [
        ([(640, 360), (640, 360)], [H264], [("mix-h264", HD)]),
        # 1280x720 is exactly twice as much: nothing is added. One line less goes in: 921,600 are added.
        ([(640, 720)], [H264], [("mix-h264", HD)]),
        ([(640, 719)], [H264], [("mix-h264", FHD)]),
        # No picture goes in, and one comes out: it is black.
        ([None, None], [H264], [("mix-h264", HD)]),
        ([None, None], [TaskOutput(codec="none")], [("mix-h264", AUDIO)]),
        ([(1920, 1080), (1280, 720)], [TaskOutput(codec="h265", width=1920, height=1080)], [("mix-h265", TWO_K)]),
        ([(1920, 1080)] * 2, [TaskOutput(codec="h265", width=1920, height=1080)], [("mix-h265", TWO_K_PLUS)]),
        ([(640, 360)], [H264, TaskOutput(codec="h265", width=640, height=360)], [("mix-h264", FHD), ("mix-h265", HD)]),
        # One anchor and nothing changed on the way.
        ([(640, 360)], [TaskOutput(codec="none")], []),
        ([(640, 360)], [], []),
    ],
)
def test_mix_transcoding_by_what_goes_in(inputs: Any, outputs: Any, expected: list[tuple[str, Tier]]) -> None:
    for task_type in ("mix", "relay"):
        found = charges(interval(task_type, *inputs, outputs=outputs))
        assert [(charge.kind, charge.tier) for charge in found] == expected


def test_robots_are_users_for_what_they_receive() -> None:
    robots = [Robot(room_id=7, user_id="robot"), Robot(room_id="8", user_id="robot 2")]
    task = interval("moderate", (1280, 720), None, robots=robots)
    assert charges(task) == [
        Charge("robot", HD, False, room_id="7", room_id_type=0, user_id="robot"),
        Charge("robot", AUDIO, False, room_id="8", room_id_type=1, user_id="robot 2"),
    ]
    assert charges(interval("ingest", (1280, 720), robots=robots[:1]))[0].tier is AUDIO


@pytest.mark.parametrize(
    ("task_type", "destinations", "free"),
    [
        ("record", ["vod"], True),
        ("record", ["cos"], False),
        ("record", ["vod", "other-storage"], False),
        ("record", [None], False),
        ("relay", ["css"], True),
        ("mix", ["css"], True),
        ("relay", ["css", "other-cdn"], False),
        ("relay", ["rtc"], False),
        ("moderate", [], False),
    ],
)
def test_robots_of_our_own_services_are_free(task_type: Any, destinations: list[Any], free: bool) -> None:
    outputs = [TaskOutput(destination=destination) for destination in destinations]
    task = interval(task_type, (640, 360), robots=[Robot(room_id=7, user_id="robot")], outputs=outputs)
    assert [charge.free for charge in charges(task) if charge.kind == "robot"] == [free]


def test_relays_are_bandwidth_and_recordings_are_delivered() -> None:
    relay = interval(
        "relay",
        outputs=[
            TaskOutput(destination="other-cdn", video_bitrate=450_000, audio_bitrate=50_000),
            TaskOutput(destination="css", video_bitrate=1_000_000),
        ],
    )
    assert [(charge.free, charge.bitrate) for charge in charges(relay) if charge.kind == "relay"] == [
        (False, 500_000),
        (True, 1_000_000),
    ]
    record = interval("record", outputs=[TaskOutput(destination="cos", video_bitrate=800_000)])
    assert [charge for charge in charges(record) if charge.kind == "delivery"] == [
        Charge("delivery", AUDIO, True, bitrate=800_000)
    ]


def test_time_is_cut_where_rows_begin() -> None:
    assert list(cut(299_999, 600_001, 300_000)) == [(0, 1), (300_000, 300_000), (600_000, 1)]
    usage = TaskUsage(
        [
            interval("record", (640, 360), start_ms=T - 10_000, end_ms=T + 50_000),
            # Begins before the first ends: from there on it is right.
            interval("record", None, start_ms=T + 20_000, end_ms=T + 30_000, record_mode="mixed"),
        ]
    )
    key = SlotKey(T // 300_000 * 300_000, "record", False, "", 0, "")
    before = key._replace(slot_ms=key.slot_ms - 300_000)
    assert T % 300_000 == 0
    assert {row: used.tier_ms for row, used in usage.slots.items()} == {
        before: [0, 10_000, 0, 0, 0],
        key: [10_000, 20_000, 0, 0, 0],
    }
    assert usage.slots[key].record_mode == "mixed"
