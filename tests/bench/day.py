"""A simulated day of calls: what its users report, resampled from recorded calls.

Every stream of the day follows a stretch of a recorded stream of the same kind and network, from a place of its own,
and has noise of its own: no two streams have the same values. What a browser cannot tell and native clients do (CPU,
rendered frames, the way to the gateway) is not in the recording, and drawn for half of the users. Identifiers are drawn
too, as long as those that applications use: some number their users, others have UUIDs.
"""

from __future__ import annotations

import heapq
import math
import uuid
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from schemas.reports import AcceptedReport, Client, ClientEvent, LocalStream, RemoteStream, Sample
from tests.bench.recording import (
    GRID_MS,
    Recording,
    common,
    noisy_fps,
    noisy_loss,
    pick,
    resampled,
    values,
    whole,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from schemas.words import StreamType

APP = 1_400_000_001
DAY_MS = 86_400_000
SAMPLES_A_REPORT = 5
NETWORKS = {"wired": 0.35, "wifi": 0.4, "mobile": 0.2, "poor": 0.05}
REGIONS = ("Europe", "North America", "South America", "East Asia", "South Asia", "unknow")
ISPS = ("Example Telecom", "Sample Mobile", "Test Cable", "Fibre Co", "unknow")
DEVICES = ("Pixel 8 Pro", "iPhone15,3", "Chrome 131", "Firefox 132", "Redmi Note 12", "MacBookPro18,1", "Edge 131")


class Kind(NamedTuple):
    """A kind of room: who is in it and what they send."""

    share: float
    """Of all rooms."""
    users: int
    sending: int
    """How many of the users send anything."""
    cameras: int
    screens: int
    minutes: float
    """Half of the rooms last longer."""


KINDS = (
    Kind(0.45, 2, 2, 2, 0, 8),
    Kind(0.25, 4, 4, 4, 0, 15),
    Kind(0.12, 8, 8, 4, 1, 30),
    Kind(0.10, 2, 2, 0, 0, 6),
    Kind(0.08, 16, 2, 2, 0, 30),
)


class User(NamedTuple):
    """One stay of a user in a room."""

    user_id: str
    session_id: str
    network: str
    native: bool
    first_ms: int
    """Start of the first sample, on the grid."""
    samples: int
    sends: tuple[StreamType, ...]


class Room(NamedTuple):
    """One call."""

    room_id: int | str
    users: list[User]


class Day:
    """Rooms of one day and what is reported of them."""

    def __init__(self, first_ms: int, streams: int, seed: int = 1) -> None:
        self.first_ms = first_ms
        self._draw = np.random.default_rng(seed)
        self._recording = Recording()
        self.rooms: list[Room] = []
        self.streams = 0
        """Stream samples of all rooms."""
        while self.streams < streams:
            self.rooms.append(self._room())

    @property
    def origin(self) -> str:
        """Where the recorded values come from."""
        return str(self._recording.origin["Origin"])

    def reports(self) -> Iterator[AcceptedReport]:
        """All reports in the order of their arrival."""
        starts = sorted(
            ((user.first_ms, number, room, user) for number, room in enumerate(self.rooms) for user in room.users),
            key=lambda start: start[0],
        )
        # By the arrival of what each user sends next; the number of the user decides where two arrive at once.
        following: list[tuple[int, int, AcceptedReport, Iterator[AcceptedReport]]] = []
        for ticket, (begins, _, room, user) in enumerate(starts):
            yield from _until(begins, following)
            _push(following, ticket, self._reports_of(room, user))
        yield from _until(self.first_ms + 2 * DAY_MS, following)

    def _room(self) -> Room:
        draw = self._draw
        kind = KINDS[draw.choice(len(KINDS), p=[kind.share for kind in KINDS])]
        samples = int(min(4 * 60, kind.minutes * math.exp(draw.normal(0, 0.7))) * 60_000 / GRID_MS) + 5
        # Few calls at four in the morning, most in the afternoon.
        while True:
            begins = int(draw.integers(0, DAY_MS - samples * GRID_MS) // GRID_MS * GRID_MS)
            if draw.random() < 0.55 - 0.45 * math.cos(2 * math.pi * (begins / DAY_MS - 1 / 6)):
                break
        users = []
        for number in range(kind.users):
            late = int(draw.integers(0, 15))
            sends: list[StreamType] = []
            if number < kind.sending:
                sends.append("audio")
            if number < kind.cameras:
                sends.append("big")
            if number < kind.screens:
                sends.append("sub")
            users.append(
                User(
                    f"u{draw.integers(10**8, 10**9)}" if draw.random() < 0.5 else uuid.UUID(bytes=draw.bytes(16)).hex,
                    str(uuid.UUID(bytes=draw.bytes(16), version=4)),
                    str(draw.choice(list(NETWORKS), p=list(NETWORKS.values()))),
                    bool(draw.random() < 0.5),
                    self.first_ms + begins + late * GRID_MS,
                    max(3, samples - late - int(draw.integers(0, 5))),
                    tuple(sends),
                )
            )
        for user in users:
            self.streams += user.samples * len(user.sends)
            for other in users:
                if other is not user:
                    self.streams += len(other.sends) * len(_overlap(user, other))
        number = int(draw.integers(1, 2**31))
        return Room(number if draw.random() < 0.5 else f"room-{number:x}", users)

    def _reports_of(self, room: Room, user: User) -> Iterator[AcceptedReport]:
        draw = np.random.default_rng(int(self._draw.integers(0, 2**62)))
        samples = self._samples(draw, room, user)
        cut = int(draw.integers(1, SAMPLES_A_REPORT + 1))
        parts = [
            samples[:cut],
            *(samples[at : at + SAMPLES_A_REPORT] for at in range(cut, len(samples), SAMPLES_A_REPORT)),
        ]
        region, isp = str(draw.choice(REGIONS)), str(draw.choice(ISPS))
        begins, ends = user.first_ms, samples[-1].start_ms + samples[-1].dur_ms
        client = Client(
            role=20 if user.sends else 21,
            terminal_type=int(draw.integers(1, 5)),
            user_type=3 if user.native else 1,
            sdk_type="native" if user.native else "webrtc",
            sdk_version="12.3.4" if user.native else "1.0.0",
            device_model=str(draw.choice(DEVICES)),
            os="Android 15",
            network_type="wifi",
            join_ms=begins,
            join_cost_ms=int(draw.integers(80, 3_000)),
            join_result=0,
        )
        for seq, part in enumerate(parts, 1):
            last = seq == len(parts)
            sent_ms = part[-1].start_ms + part[-1].dur_ms + int(draw.integers(5, 60))
            events = [ClientEvent(begins, 5003, 0, 1), ClientEvent(begins + 40, 3001, 0, 0)] if seq == 1 else []
            yield AcceptedReport(
                sdk_app_id=APP,
                user_id=user.user_id,
                room_id=room.room_id,
                session_id=user.session_id,
                seq=seq,
                sent_ms=sent_ms,
                arrival_ms=sent_ms + int(draw.gamma(3, 25)),
                region=region,
                isp=isp,
                client=client if seq == 1 else Client(leave_ms=ends, leave_reason=1) if last else None,
                samples=part,
                events=events,
            )

    def _samples(self, draw: np.random.Generator, room: Room, user: User) -> list[Sample]:
        """All samples of a stay; the first begins and the last ends within its cell of the grid."""
        count = user.samples
        starts = user.first_ms + GRID_MS * np.arange(count)
        begun = int(draw.integers(0, GRID_MS - 100))
        durations = np.full(count, GRID_MS)
        starts[0] += begun
        durations[0] -= begun
        durations[-1] = int(draw.integers(100, GRID_MS))
        sent = [self._sent(draw, user, kind, count) for kind in user.sends]
        received = [
            (_overlap(user, other), self._received(draw, user, other, kind))
            for other in room.users
            if other is not user
            for kind in other.sends
        ]
        recorded = pick(draw, self._recording.users[user.network])
        known, _ = resampled(draw, recorded, count)
        rtt = known["Rtt"] + abs(draw.normal(0, 25)) + draw.normal(0, 1.5, count)
        cpu = np.clip(draw.normal(18, 8) + np.cumsum(draw.normal(0, 1, count)), 1, 70)
        columns = [
            starts.tolist(),
            durations.tolist(),
            values(cpu if user.native else None, 1, count),
            values(np.clip(cpu * 1.8 + draw.normal(0, 2, count), 2, 99) if user.native else None, 1, count),
            whole(draw.normal(120, 30) + np.cumsum(draw.normal(0.05, 0.7, count))),
            whole(known["SdkTaskMs"] * np.exp(draw.normal(0, 0.3, count))),
            whole(rtt),
            whole(np.clip(draw.normal(4, 2, count), 1, 40)) if user.native else [None] * count,
            values(noisy_loss(draw, known["UpLoss"]), 2, count),
            values(noisy_loss(draw, known["DownLoss"]), 2, count),
            _bytes(draw, [[stream.bitrate for stream in streams] for streams in sent], durations),
            [0] * count,
        ]
        samples = [Sample(*row) for row in zip(*columns, strict=True)]
        for streams in sent:
            for sample, stream in zip(samples, streams, strict=True):
                sample.local.append(stream)
        for cells, seen in received:
            for cell, remote in zip(cells, seen, strict=True):
                sample = samples[cell]
                if remote.play_ms is not None:
                    remote.play_ms = min(remote.play_ms, sample.dur_ms)
                remote.stutters = [(sample.start_ms + since, length) for since, length in remote.stutters]
                sample.remote.append(remote)
        for sample in samples:
            bits = sum(stream.bitrate or 0 for stream in sample.remote)
            sample.received_bytes = int(bits * sample.dur_ms / 8000 * 1.06 * (1 + 0.01 * draw.standard_normal()))
        return samples

    def _sent(self, draw: np.random.Generator, user: User, kind: StreamType, count: int) -> list[LocalStream]:
        series = pick(draw, self._recording.stream(user.network, received=False, kind=kind))
        known, _ = resampled(draw, series, count)
        bitrate, loss, width, height, volume = common(draw, kind, known, count)
        rates = [values(noisy_fps(draw, known[name]), 2, count) for name in ("CapFps", "EncFps", "SendFps")]
        rate, muted = whole(known["SampleRate"]), [False] * count
        rows = zip([kind] * count, bitrate, loss, width, height, *rates, volume, rate, muted, strict=True)
        return [LocalStream(*row) for row in rows]

    def _received(self, draw: np.random.Generator, user: User, other: User, kind: StreamType) -> list[RemoteStream]:
        count = len(_overlap(user, other))
        if not count:
            return []
        # What one receives suffers from the own network and from the sender's: the worse of the two.
        network = max(user.network, other.network, key=list(NETWORKS).index)
        series = pick(draw, self._recording.stream(network, received=True, kind=kind))
        known, stutters = resampled(draw, series, count)
        bitrate, loss, width, height, volume = common(draw, kind, known, count)
        got, decoded = (noisy_fps(draw, known[name]) for name in ("RecFps", "DecFps"))
        delay = known["DelayMs"] + abs(draw.normal(0, 40)) + draw.normal(0, 4, count)
        rows = zip(
            *([other.user_id] * count, [kind] * count, bitrate, loss, width, height),
            *(values(got, 2, count), values(decoded, 2, count)),
            values(decoded if user.native and kind != "audio" else None, 2, count),
            *(whole(known["JitterMs"] * np.exp(draw.normal(0, 0.25, count))), whole(delay), volume),
            *(whole(known["PlayMs"]), [False] * count, stutters),
            strict=True,
        )
        return [RemoteStream(*row) for row in rows]


def _push(following: list[Any], ticket: int, more: Iterator[AcceptedReport]) -> None:
    if (report := next(more, None)) is not None:
        heapq.heappush(following, (report.arrival_ms, ticket, report, more))


def _until(time_ms: int, following: list[Any]) -> Iterator[AcceptedReport]:
    """What arrives before a time."""
    while following and following[0][0] < time_ms:
        _, ticket, report, more = heapq.heappop(following)
        yield report
        _push(following, ticket, more)


def _overlap(user: User, other: User) -> range:
    """The samples of one user in which the other was there, by number."""
    first = max(user.first_ms, other.first_ms)
    until = min(user.first_ms + GRID_MS * user.samples, other.first_ms + GRID_MS * other.samples)
    return range((first - user.first_ms) // GRID_MS, max(0, until - user.first_ms) // GRID_MS)


def _bytes(draw: np.random.Generator, bitrates: list[list[Any]], durations: Any) -> list[int]:
    bits = np.sum(np.array(bitrates, float), axis=0) if bitrates else np.zeros(len(durations))
    wire = np.nan_to_num(bits) * durations / 8000 * 1.06 * (1 + 0.01 * draw.standard_normal(len(durations)))
    return [int(value) for value in wire]
