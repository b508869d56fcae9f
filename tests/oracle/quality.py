"""Stutter, playing time, presence and exceptions per ten seconds, computed slowly and plainly from what was posted.

Shares no code with the processor: dictionaries of JSON in, dictionaries out, one rule after the other.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

BUCKET_MS = 10_000
LIMIT_MS = {"audio": 200, "big": 600, "small": 600, "sub": 600}
SLOW_FPS = {"big": 10, "small": 10, "sub": 5}
IN_A_ROW_MS = 4_000
"""Two samples whose starts are no further apart follow one another."""
TIERS = (("hd", 921_600), ("fhd", 2_073_600), ("2k", 3_686_400), ("2k+", 10**12))

Room = tuple[int, str, int]
"""SdkAppId, the room's text, 0 for a number or 1 for a text."""
Session = tuple[Room, str, str]
"""Room, user, session."""


@dataclass
class Numbers:
    """What a session, a room or an application shows for ten seconds."""

    online: set[tuple[Room, str]] = field(default_factory=set)
    met: set[tuple[str, str, str, str, str]] = field(default_factory=set)
    """User, exception, peer, stream and cause of every exception; high CPU has neither peer nor stream of its own."""
    reported_ms: int = 0
    tier_ms: dict[str, int] = field(default_factory=lambda: dict.fromkeys((tier for tier, _ in TIERS), 0))
    """Milliseconds in which pictures were received, by all their pixels together."""
    video_stutter_ms: int = 0
    video_play_ms: int = 0
    audio_stutter_ms: int = 0
    audio_play_ms: int = 0

    @property
    def rooms(self) -> set[Room]:
        """The rooms with somebody in them."""
        return {room for room, _ in self.online}

    @property
    def abnormal(self) -> set[str]:
        """Users who met an exception."""
        return {user for user, *_ in self.met}

    def add(self, other: Numbers) -> None:
        """Add another's numbers."""
        self.online |= other.online
        self.met |= other.met
        self.reported_ms += other.reported_ms
        for tier, ms in other.tier_ms.items():
            self.tier_ms[tier] += ms
        self.video_stutter_ms += other.video_stutter_ms
        self.video_play_ms += other.video_play_ms
        self.audio_stutter_ms += other.audio_stutter_ms
        self.audio_play_ms += other.audio_play_ms


def room_of(report: dict[str, Any]) -> Room:
    """A room, its type told by the JSON type of its id."""
    room = report["RoomId"]
    return report["SdkAppId"], str(room), 0 if isinstance(room, int) else 1


def by_session(reports: Iterable[dict[str, Any]]) -> dict[tuple[Session, int], Numbers]:
    """(session, bucket start in ms) to its numbers. Reports may come twice and in any order."""
    samples: dict[Session, dict[int, dict[str, Any]]] = defaultdict(dict)
    episodes: dict[tuple[Session, str, str, int], int] = {}
    for report in reports:
        session = (room_of(report), report["UserId"], report["SessionId"])
        for sample in report.get("Samples", []):
            samples[session][sample["StartMs"]] = sample
            for remote in sample.get("Remote", []):
                for start, length in remote.get("Stutters", []):
                    key = (session, remote["UserId"], remote["Type"], start)
                    episodes[key] = max(episodes.get(key, 0), length)

    numbers: dict[tuple[Session, int], Numbers] = defaultdict(Numbers)
    for session, measured in samples.items():
        room, user, _ = session
        for start, sample in measured.items():
            mine = numbers[session, start // BUCKET_MS * BUCKET_MS]
            mine.online.add((room, user))
            mine.reported_ms += sample["DurMs"]
            pixels = 0
            for remote in sample.get("Remote", []):
                playing = playing_ms(remote, sample)
                if remote["Type"] == "audio":
                    mine.audio_play_ms += playing
                else:
                    mine.video_play_ms += playing
                    if playing and not remote.get("Muted") and remote.get("Bitrate") != 0:
                        pixels += (remote.get("Width") or 1) * (remote.get("Height") or 1)
            if pixels:
                mine.tier_ms[next(tier for tier, most in TIERS if pixels <= most)] += sample["DurMs"]
        for bucket in {start // BUCKET_MS * BUCKET_MS for start in measured}:
            near = {at: sample for at, sample in measured.items() if bucket - 10_000 <= at < bucket + 10_000}
            numbers[session, bucket].met |= {(user, *met) for met in exceptions(near, bucket)}
    for (session, _, kind, start), length in episodes.items():
        if length < LIMIT_MS[kind]:
            continue
        for begin in range(start // BUCKET_MS * BUCKET_MS, start + length, BUCKET_MS):
            overlap = min(start + length, begin + BUCKET_MS) - max(start, begin)
            if kind == "audio":
                numbers[session, begin].audio_stutter_ms += overlap
            else:
                numbers[session, begin].video_stutter_ms += overlap
    return dict(numbers)


def by_room(reports: Iterable[dict[str, Any]]) -> dict[tuple[Room, int], Numbers]:
    """(room, bucket start in ms) to its numbers."""
    totals: dict[tuple[Room, int], Numbers] = defaultdict(Numbers)
    for ((room, _, _), bucket), numbers in by_session(reports).items():
        totals[room, bucket].add(numbers)
    return dict(totals)


def add_stays(rooms: dict[tuple[Room, int], Numbers], stays: Iterable[tuple[Room, str, int, int]]) -> None:
    """Who is in a room is online, with or without reports: (room, user, entry, exit), times in ms."""
    for room, user, enter, leave in stays:
        for bucket in range(enter // BUCKET_MS * BUCKET_MS, leave, BUCKET_MS):
            rooms.setdefault((room, bucket), Numbers()).online.add((room, user))


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


def exceptions(samples: dict[int, dict[str, Any]], bucket: int) -> Iterator[tuple[str, str, str, str]]:
    """Exception, peer, stream and cause that one session met in a bucket, judged by these samples (by their start)."""
    loads: list[tuple[int, bool | None]] = []
    pictures: dict[tuple[str, str], list[tuple[int, float | None, str]]] = defaultdict(list)
    sounds: dict[str, list[tuple[int, int, str]]] = defaultdict(list)
    for start, sample in sorted(samples.items()):
        loads.append((start, overloaded(sample)))
        sent = [("", stream) for stream in sample.get("Local", [])]
        for peer, stream in [*sent, *((remote["UserId"], remote) for remote in sample.get("Remote", []))]:
            kind, muted = stream["Type"], bool(stream.get("Muted"))
            if kind == "audio":
                silent = not muted and stream.get("Volume") == 0
                cause = cause_of(sample, stream, 0) if peer else "device"
                sounds[peer].append((start, sample["DurMs"] if silent else 0, cause))
                continue
            rates = [stream.get(name) for name in (("RenderFps",) if peer else ("CapFps", "SendFps"))]
            known = [rate for rate in rates if rate is not None]
            hidden = muted or (peer and not playing_ms(stream, sample))
            fps = None if hidden or not known else min(known)
            pictures[peer, kind].append((start, fps, cause_of(sample, stream, SLOW_FPS[kind])))

    if _lasts(loads, bucket) is not None:
        yield "cpu", "", "audio", "device"
    for (peer, kind), shown in pictures.items():
        until = _lasts([(at, _jerky(shown, at, SLOW_FPS[kind])) for at, _, _ in shown], bucket)
        if until is not None:
            known_causes = [cause for at, _, cause in shown if at <= until and _low(shown, at, SLOW_FPS[kind])]
            yield "frame-rate", peer, kind, next((cause for cause in known_causes if cause != "unknown"), "unknown")
    for peer, heard in sounds.items():
        until = _silence(heard, bucket)
        if until is not None:
            yield "no-audio", peer, "audio", [cause for at, silent, cause in heard if at <= until and silent][-1]


def overloaded(sample: dict[str, Any]) -> bool | None:
    """Whether the device was busy, None where it did not tell."""
    cpu, task = sample.get("SysCpu"), sample.get("SdkTaskMs")
    if cpu is not None:
        return bool(cpu > 85)
    return None if task is None else bool(task > 60)


def cause_of(sample: dict[str, Any], stream: dict[str, Any], slow: float) -> str:
    """What may have slowed a stream down: where it first was too slow on its way, or what was wrong around it."""

    def low(name: str) -> bool:
        return stream.get(name) is not None and stream[name] < slow

    def fine(name: str) -> bool:
        return stream.get(name) is not None and stream[name] >= slow

    sent = "UserId" not in stream
    loss = stream.get("Loss") if stream.get("Loss") is not None else sample.get("UpLoss" if sent else "DownLoss")
    lossy = loss is not None and loss > 10
    slow_net = max(sample.get("Rtt") or 0, 0 if sent else stream.get("DelayMs") or 0) > 400
    hot = bool(overloaded(sample))
    if sent:
        order = [
            ("device", low("CapFps")),
            ("device", low("EncFps") and hot),
            ("encoder", low("EncFps")),
            ("loss", lossy),
            ("rtt", slow_net),
            ("device", hot),
        ]
    else:
        order = [
            ("loss", lossy),
            ("rtt", slow_net),
            ("device", hot),
            ("decoder", fine("RecFps") and low("DecFps")),
            ("device", fine("DecFps") and low("RenderFps")),
        ]
    return next((cause for cause, true in order if true), "unknown")


def _lasts(told: list[tuple[int, bool | None]], bucket: int) -> int | None:
    """When something is wrong in a bucket: from the second bad sample in a row until the second good one."""
    wrong = False
    for number, (at, bad) in enumerate(told):
        at_before, before = told[number - 1] if number else (at, None)
        if bad is None or before is None or at - at_before > IN_A_ROW_MS:
            wrong = False
        elif bad and before:
            wrong = True
        elif not bad and not before:
            wrong = False
        if wrong and at >= bucket:
            return at
    return None


def _silence(heard: list[tuple[int, int, str]], bucket: int) -> int | None:
    """When there are ten seconds of silence in a bucket, or they are not over yet."""
    wrong = False
    for number, (at, silent, _) in enumerate(heard):
        at_before, before, _ = heard[number - 1] if number else (at, 0, "")
        if at - at_before > IN_A_ROW_MS:
            wrong = False
        if sum(length for start, length, _ in heard[: number + 1] if at - BUCKET_MS < start) >= 10_000:
            wrong = True
        elif not silent and not before:
            wrong = False
        if wrong and at >= bucket:
            return at
    return None


def _recent(shown: list[tuple[int, float | None, str]], at: int) -> tuple[float | None, list[float]]:
    """A picture's rate at this time, and its rates within the last ten seconds."""
    recent = [rate for start, rate, _ in shown if at - BUCKET_MS < start <= at and rate is not None]
    return next(rate for start, rate, _ in shown if start == at), recent


def _jerky(shown: list[tuple[int, float | None, str]], at: int, slow: float) -> bool | None:
    """Whether a picture is slow at this time, or its rate has swung by more than 5 within the last ten seconds."""
    now, recent = _recent(shown, at)
    return None if now is None else now < slow or round(max(recent) - min(recent), 3) > 5


def _low(shown: list[tuple[int, float | None, str]], at: int, slow: float) -> bool:
    """Whether a picture is the slow one of a swing, or slow at all."""
    now, recent = _recent(shown, at)
    return now is not None and (now < slow or now < max(recent) - 5)
