"""Stutter, playing time and presence per ten seconds, computed slowly and plainly from what was posted.

Shares no code with the processor: dictionaries of JSON in, dictionaries out, one rule after the other.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

BUCKET_MS = 10_000
LIMIT_MS = {"audio": 200, "big": 600, "small": 600, "sub": 600}

Room = tuple[int, str, int]
"""SdkAppId, the room's text, 0 for a number or 1 for a text."""


@dataclass
class Numbers:
    """What a room or an application shows for ten seconds."""

    online: set[tuple[Room, str]] = field(default_factory=set)
    video_stutter_ms: int = 0
    video_play_ms: int = 0
    audio_stutter_ms: int = 0
    audio_play_ms: int = 0

    @property
    def rooms(self) -> set[Room]:
        """The rooms with somebody in them."""
        return {room for room, _ in self.online}

    def add(self, other: Numbers) -> None:
        """Add another room's numbers."""
        self.online |= other.online
        self.video_stutter_ms += other.video_stutter_ms
        self.video_play_ms += other.video_play_ms
        self.audio_stutter_ms += other.audio_stutter_ms
        self.audio_play_ms += other.audio_play_ms


def room_of(report: dict[str, Any]) -> Room:
    """A room, its type told by the JSON type of its id."""
    room = report["RoomId"]
    return report["SdkAppId"], str(room), 0 if isinstance(room, int) else 1


def by_room(reports: Iterable[dict[str, Any]]) -> dict[tuple[Room, int], Numbers]:
    """(room, bucket start in ms) to its numbers. Reports may come twice and in any order."""
    samples: dict[tuple[Any, ...], dict[str, Any]] = {}
    episodes: dict[tuple[Any, ...], int] = {}
    for report in reports:
        session = (room_of(report), report["UserId"], report["SessionId"])
        for sample in report.get("Samples", []):
            samples[*session, sample["StartMs"]] = sample
            for remote in sample.get("Remote", []):
                for start, length in remote.get("Stutters", []):
                    key = (*session, remote["UserId"], remote["Type"], start)
                    episodes[key] = max(episodes.get(key, 0), length)

    numbers: dict[tuple[Room, int], Numbers] = defaultdict(Numbers)
    for (room, user, _, start), sample in samples.items():
        bucket = numbers[room, start // BUCKET_MS * BUCKET_MS]
        bucket.online.add((room, user))
        for remote in sample.get("Remote", []):
            playing = remote.get("PlayMs")
            if playing is None:
                playing = 0 if remote.get("Muted") else sample["DurMs"]
            if remote["Type"] == "audio":
                bucket.audio_play_ms += playing
            else:
                bucket.video_play_ms += playing
    for (room, _, _, _, kind, start), length in episodes.items():
        if length < LIMIT_MS[kind]:
            continue
        for begin in range(start // BUCKET_MS * BUCKET_MS, start + length, BUCKET_MS):
            overlap = min(start + length, begin + BUCKET_MS) - max(start, begin)
            if kind == "audio":
                numbers[room, begin].audio_stutter_ms += overlap
            else:
                numbers[room, begin].video_stutter_ms += overlap
    return dict(numbers)


def by_application(rooms: dict[tuple[Room, int], Numbers]) -> dict[tuple[int, int], Numbers]:
    """(SdkAppId, bucket start in ms) to the numbers of all its rooms together."""
    totals: dict[tuple[int, int], Numbers] = defaultdict(Numbers)
    for (room, bucket), numbers in rooms.items():
        totals[room[0], bucket].add(numbers)
    return dict(totals)
