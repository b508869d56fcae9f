"""Stutter, playing time and presence per ten seconds, computed slowly and plainly from what was posted.

Shares no code with the processor: dictionaries of JSON in, dictionaries out, one rule after the other.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

BUCKET_MS = 10_000
LIMIT_MS = {"audio": 200, "big": 600, "small": 600, "sub": 600}
SLOW_FPS = {"big": 10, "small": 10, "sub": 5}
IN_A_ROW_MS = 4_000
"""Two samples whose starts are no further apart follow one another."""

Room = tuple[int, str, int]
"""SdkAppId, the room's text, 0 for a number or 1 for a text."""


@dataclass
class Numbers:
    """What a room or an application shows for ten seconds."""

    online: set[tuple[Room, str]] = field(default_factory=set)
    abnormal: set[str] = field(default_factory=set)
    """Users who met an exception."""
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
        self.abnormal |= other.abnormal
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
    for room, user, at in exceptions(samples):
        numbers[room, at // BUCKET_MS * BUCKET_MS].abnormal.add(user)
    for (room, user, _, start), sample in samples.items():
        bucket = numbers[room, start // BUCKET_MS * BUCKET_MS]
        bucket.online.add((room, user))
        for remote in sample.get("Remote", []):
            playing = playing_ms(remote, sample)
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


def playing_ms(remote: dict[str, Any], sample: dict[str, Any]) -> int:
    """How much of a sample a received stream was meant to play."""
    if remote.get("PlayMs") is not None:
        return int(remote["PlayMs"])
    return 0 if remote.get("Muted") else int(sample["DurMs"])


def exceptions(samples: dict[tuple[Any, ...], dict[str, Any]]) -> Iterator[tuple[Room, str, int]]:
    """Room, user and time of each sample in which the user met an exception. `samples` by (room, user, session, start).

    High CPU, abnormal frame rate: two samples in a row. No audio: for ten seconds.
    """
    busy: dict[tuple[Any, ...], list[tuple[int, bool]]] = defaultdict(list)
    pictures: dict[tuple[Any, ...], list[tuple[int, float | None, int]]] = defaultdict(list)
    sounds: dict[tuple[Any, ...], list[tuple[int, int]]] = defaultdict(list)
    for (room, user, session, start), sample in sorted(samples.items(), key=lambda entry: entry[0][3]):
        if sample.get("SysCpu") is not None:
            busy[room, user, session].append((start, sample["SysCpu"] > 85))
        else:
            busy[room, user, session].append((start, (sample.get("SdkTaskMs") or 0) > 60))
        sent = [("", stream) for stream in sample.get("Local", [])]
        for peer, stream in [*sent, *((remote["UserId"], remote) for remote in sample.get("Remote", []))]:
            kind, muted = stream["Type"], bool(stream.get("Muted"))
            key = (room, user, session, peer, kind)
            if kind == "audio":
                silent = not muted and stream.get("Volume") == 0
                sounds[key].append((start, sample["DurMs"] if silent else 0))
                continue
            rates = [stream.get(name) for name in (("RenderFps",) if peer else ("CapFps", "SendFps"))]
            known = [rate for rate in rates if rate is not None]
            hidden = muted or (peer and not playing_ms(stream, sample))
            pictures[key].append((start, None if hidden or not known else min(known), SLOW_FPS[kind]))

    for (room, user, _), told in busy.items():
        yield from ((room, user, at) for at in _twice(told))
    for (room, user, *_), shown in pictures.items():
        yield from ((room, user, at) for at in _twice([(at, _jerky(shown, at)) for at, _, _ in shown]))
    for (room, user, *_), heard in sounds.items():
        for at, _ in heard:
            if sum(silent for start, silent in heard if at - BUCKET_MS < start <= at) >= 10_000:
                yield room, user, at


def _twice(told: list[tuple[int, bool]]) -> list[int]:
    """The times at which something was wrong, and at the sample before as well."""
    return [at for (before, was), (at, now) in pairwise(told) if was and now and at - before <= IN_A_ROW_MS]


def _jerky(shown: list[tuple[int, float | None, int]], at: int) -> bool:
    """Whether a picture is slow at this time, or its rate has swung by more than 5 within the last ten seconds."""
    recent = [rate for start, rate, _ in shown if at - BUCKET_MS < start <= at and rate is not None]
    now, slow = next((rate, slow) for start, rate, slow in shown if start == at)
    return now is not None and (now < slow or round(max(recent) - min(recent), 3) > 5)
