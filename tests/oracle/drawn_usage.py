"""Drawn calls in which something is seen, and the tasks beside them, late, repeated and out of order."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Any

from tests.oracle.drawn_calls import DrawnCalls, draw_calls

SIZES = [(640, 360), (1280, 720), (1281, 720), (1920, 1080), (1921, 1080), (2560, 1440), (2561, 1440)]


@dataclass
class DrawnUsage(DrawnCalls):
    """And intervals of tasks among what comes."""

    tasks: list[dict[str, Any]]
    utc_offset_minutes: int


def draw_usage(seed: int, sdk_app_id: int, now_ms: int) -> DrawnUsage:
    """The scenario of a seed."""
    random = Random(seed)
    calls = draw_calls(seed, sdk_app_id, now_ms)
    for report in calls.reports:
        mood = random.random()
        for sample in report["Samples"]:
            if random.random() < mood:
                sample["Remote"] = [_picture(random, peer) for peer in random.sample("pqr", random.randint(1, 3))]
    tasks = [
        interval
        for number in range(random.randint(0, 4))
        for interval in _task(random, f"t{number}", calls.begin + random.randrange(0, 900_000, 500))
    ]
    coming = [*calls.coming]
    for interval in tasks:
        for _ in range(random.choice([1, 1, 1, 2])):
            coming.insert(random.randint(0, len(coming)), ("task", interval))
    offset = random.choice([0, 480, -210, 840, -720])
    return DrawnUsage(calls.events, calls.reports, coming, calls.begin, calls.until, tasks, offset)


def _picture(random: Random, peer: str) -> dict[str, Any]:
    width, height = random.choice(SIZES)
    picture = {"UserId": peer, "Type": random.choice(["big", "small", "sub", "audio"]), "Bitrate": 500_000}
    if random.random() < 0.9:
        picture |= {"Width": width, "Height": height}
    for field in ({"Muted": True}, {"Bitrate": 0}, {"PlayMs": 0}, {"PlayMs": 500}):
        if random.random() < 0.1:
            picture |= field
    return picture


def _task(random: Random, task: str, at: int) -> list[dict[str, Any]]:
    """One after the other, with gaps and overlaps; some come again with a later end."""
    kind = random.choice(["record", "record", "web-record", "mix", "relay", "relay", "ingest", "moderate"])
    rooms: list[Any] = [7, "7", "hall"]
    intervals: list[dict[str, Any]] = []
    for _ in range(random.randint(1, 12)):
        length = random.choice([500, 9_500, 10_000, 60_000, 60_000, random.randrange(1, 60_000)])
        interval: dict[str, Any] = {"TaskId": task, "TaskType": kind, "StartMs": at, "EndMs": at + length}
        if kind != "web-record":
            interval["RoomId"] = random.choice(rooms)
            if random.random() < 0.2:
                interval |= {"RoomId": "7", "RoomIdType": random.choice([0, 1])}
        if kind == "record" and random.random() < 0.7:
            interval["RecordMode"] = random.choice(["single", "mixed"])
        interval["Inputs"] = [_input(random) for _ in range(random.randint(0, 3))]
        interval["Outputs"] = [_output(random) for _ in range(random.choice([0, 1, 1, 2]))]
        if kind != "web-record":
            places = random.sample(rooms, random.randint(0, 2))
            interval["Robots"] = [{"RoomId": room, "UserId": f"robot {number}"} for number, room in enumerate(places)]
        intervals.append(interval)
        if length < 60_000 and random.random() < 0.15:
            intervals.append({**interval, "EndMs": at + random.randrange(length + 1, 60_001), "Final": True})
        at += length + random.choice([0, 0, 0, 0, 1_500, -length // 2, 200_000])
    if random.random() < 0.5:
        random.shuffle(intervals)
    once = {(interval["StartMs"], interval["EndMs"]): interval for interval in intervals}
    return list(once.values())


def _input(random: Random) -> dict[str, Any]:
    stream: dict[str, Any] = {"UserId": random.choice("abc"), "Type": random.choice(["audio", "big", "small", "sub"])}
    if stream["Type"] != "audio" and random.random() < 0.9:
        stream["Width"], stream["Height"] = random.choice(SIZES)
    if random.random() < 0.2:
        stream["RoomId"] = random.choice([7, "7", "hall"])
    return stream


def _output(random: Random) -> dict[str, Any]:
    width, height = random.choice(SIZES)
    drawn = {
        "Format": random.choice(["mp4", "hls", "hls+mp4", "flv", "rtmp"]),
        "Codec": random.choice(["h264", "h264", "h265", "none"]),
        "Width": width,
        "Height": height,
        "VideoBitrate": random.choice([800_000, 1_234_567, 0]),
        "AudioBitrate": random.choice([64_000, 31]),
        "Destination": random.choice(["vod", "cos", "other-storage", "css", "css", "other-cdn", "other-cdn", "rtc"]),
    }
    drawn = {name: value for name, value in drawn.items() if random.random() < 0.9}
    if ("Width" in drawn) != ("Height" in drawn):
        drawn.pop("Width", None)
        drawn.pop("Height", None)
    return drawn
