"""The recent past of one session, and its rows of `user_10s`. Arithmetic alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from schemas.touched import BUCKET_MS
from services.processor.exceptions import (
    LOOK_BACK_MS,
    Load,
    Pictures,
    Sound,
    busy,
    cause_of_received,
    cause_of_sent,
    high_cpu,
    no_audio,
)
from services.processor.quality import STUTTER_LIMIT_MS
from services.processor.tables import STREAM_NUMBERS
from services.processor.usage.tiers import Tier, tier_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from schemas.reports import LocalStream, RemoteStream, Sample
    from services.processor.exceptions import Cause, Thresholds
    from services.processor.tables import Row

AUDIO, SUB = STREAM_NUMBERS["audio"], STREAM_NUMBERS["sub"]
_KEPT_MS = LOOK_BACK_MS + BUCKET_MS
"""How long before the newest sample facts may still be needed."""
_NO_AUDIO, _FRAME_RATE, _CPU = 1, 2, 3

Stream = tuple[str, int]
"""The peer, empty for what the user sent, and the number of the stream."""


class Sums:
    """What the samples of one bucket add up to, in milliseconds."""

    __slots__ = ("audio_play", "reported", "samples", "tiers", "video_play")

    def __init__(self) -> None:
        self.samples = self.reported = self.video_play = self.audio_play = 0
        self.tiers = [0] * len(Tier)
        """By what was received, the time without a picture first."""


class Session:
    """One session from `since_ms` on, everything that is known.

    Samples are added in order of time, each once. Rows are right for buckets that begin ten seconds after `since_ms` or
    later, as long as `forget` was not called for them.
    """

    __slots__ = ("_episodes", "_loads", "_pictures", "_sounds", "_sums", "next_ms", "seen_ms", "since_ms")

    def __init__(self, since_ms: int) -> None:
        self.since_ms = since_ms
        self.next_ms = since_ms
        """No sample that was added goes on beyond it."""
        self.seen_ms = 0
        """Arrival of its last report, for those who keep sessions."""
        self._sums: dict[int, Sums] = {}
        self._pictures: dict[Stream, Pictures] = {}
        self._sounds: dict[Stream, list[Sound]] = {}
        self._loads: list[Load] = []
        self._episodes: dict[tuple[str, int, int], int] = {}

    def add(self, sample: Sample, thresholds: Thresholds) -> None:
        """Add a sample that starts at `next_ms` or later; its stutters apart."""
        start, duration = sample.start_ms, sample.dur_ms
        self.next_ms = start + duration
        bucket = start - start % BUCKET_MS
        sums = self._sums.get(bucket)
        if sums is None:
            sums = self._sums[bucket] = Sums()
        sums.samples += 1
        sums.reported += duration
        load = busy(sample, thresholds)
        if load or self._loads:
            self._loads.append((start, load))
        for local in sample.local:
            kind = STREAM_NUMBERS[local.type]
            if kind == AUDIO:
                silent = duration if local.volume == 0 and not local.muted else 0
                if silent or self._sounds:
                    self._add_sound("", start, silent, "device")
            else:
                self._add_sent(sample, local, kind, thresholds)
        pixels = 0
        for remote in sample.remote:
            kind = STREAM_NUMBERS[remote.type]
            muted = remote.muted
            playing = remote.play_ms
            if playing is None:
                playing = 0 if muted else duration
            if kind == AUDIO:
                sums.audio_play += playing
                silent = duration if remote.volume == 0 and not muted else 0
                if silent:
                    self._add_sound(remote.user_id, start, silent, cause_of_received(sample, remote, 0, thresholds))
                elif self._sounds:
                    self._add_sound(remote.user_id, start, 0, "unknown")
                continue
            sums.video_play += playing
            shown = playing and not muted
            self._add_received(sample, remote, kind, remote.render_fps if shown else None, thresholds)
            if shown and remote.bitrate != 0:
                # A picture of unknown size is a picture: no less than the smallest.
                pixels += (remote.width or 1) * (remote.height or 1)
        sums.tiers[tier_of(pixels)] += duration

    def add_episode(self, peer: str, kind: int, begun: int, length: int) -> None:
        """Note a stutter's length so far."""
        key = (peer, kind, begun)
        if length > self._episodes.get(key, 0):
            self._episodes[key] = length

    def knows(self, bucket: int) -> bool:
        """Whether all that the row of a bucket depends on is here."""
        return bucket - LOOK_BACK_MS >= self.since_ms

    def row(self, bucket: int, thresholds: Thresholds) -> Row | None:
        """The columns of a bucket from `ReportedMs` to `Version`, None where there is nothing to tell."""
        video_stutter = audio_stutter = 0
        if self._episodes:
            for (_, kind, begun), length in self._episodes.items():
                overlap = min(begun + length, bucket + BUCKET_MS) - max(begun, bucket)
                if overlap > 0 and length >= STUTTER_LIMIT_MS[kind]:
                    if kind == AUDIO:
                        audio_stutter += overlap
                    else:
                        video_stutter += overlap
        sums = self._sums.get(bucket)
        if sums is None:
            if not video_stutter and not audio_stutter:
                return None
            sums = Sums()
        before = self._sums.get(bucket - BUCKET_MS)
        samples = sums.samples + (before.samples if before else 0)
        return (
            sums.reported,
            *sums.tiers[Tier.HD :],
            video_stutter,
            sums.video_play,
            audio_stutter,
            sums.audio_play,
            self._exceptions(bucket, thresholds) if sums.samples else [],
            # Samples are only ever added and stutters only ever grow, so this does too.
            (samples << 32) + min(video_stutter + audio_stutter, 0xFFFFFFFF),
        )

    def forget(self) -> None:
        """Let go of what no row of the newest two buckets depends on."""
        newest = self.next_ms - 1
        kept = newest - newest % BUCKET_MS - _KEPT_MS
        if kept <= self.since_ms:
            return
        self.since_ms = kept
        for bucket in [bucket for bucket in self._sums if bucket < kept]:
            del self._sums[bucket]
        gone = None
        for stream, pictures in self._pictures.items():
            pictures.forget(kept)
            if not pictures.points or pictures.points[-1][0] < kept:
                gone = stream
        if gone is not None:
            # One at a time will do.
            del self._pictures[gone]
        # These are kept only while there is something wrong in them; what is absent was good.
        if self._loads:
            self._loads = [point for point in self._loads if point[0] >= kept]
            if not any(bad for _, bad in self._loads):
                self._loads.clear()
        for stream in list(self._sounds):
            sounds = self._sounds[stream] = [point for point in self._sounds[stream] if point[0] >= kept]
            if not any(silent for _, silent, _ in sounds):
                del self._sounds[stream]
        for key in [key for key, length in self._episodes.items() if key[2] + length < kept]:
            del self._episodes[key]

    def _add_sound(self, peer: str, start: int, silent: int, cause: Cause) -> None:
        """Kept from the first silence on: what is absent was good."""
        sounds = self._sounds.get((peer, AUDIO))
        if sounds is not None:
            sounds.append((start, silent, cause))
        elif silent:
            self._sounds[peer, AUDIO] = [(start, silent, cause)]

    def _add_sent(self, sample: Sample, local: LocalStream, kind: int, thresholds: Thresholds) -> None:
        captured, fps = local.cap_fps, local.send_fps
        if fps is None or (captured is not None and captured < fps):
            fps = captured
        pictures = self._pictures.get(("", kind))
        if pictures is None:
            pictures = self._pictures["", kind] = Pictures(kind == SUB, thresholds)
        if pictures.add(sample.start_ms, None if local.muted else fps):
            slow = thresholds.screen_fps if kind == SUB else thresholds.fps
            pictures.explain(cause_of_sent(sample, local, slow, thresholds))

    def _add_received(
        self, sample: Sample, remote: RemoteStream, kind: int, fps: float | None, thresholds: Thresholds
    ) -> None:
        stream = (remote.user_id, kind)
        pictures = self._pictures.get(stream)
        if pictures is None:
            pictures = self._pictures[stream] = Pictures(kind == SUB, thresholds)
        if pictures.add(sample.start_ms, fps):
            slow = thresholds.screen_fps if kind == SUB else thresholds.fps
            pictures.explain(cause_of_received(sample, remote, slow, thresholds))

    def _exceptions(self, bucket: int, thresholds: Thresholds) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for (peer, kind), sounds in self._sounds.items():
            if cause := no_audio(sounds, bucket, thresholds.silence_ms):
                found.append(_exception(_NO_AUDIO, peer, kind, cause))
        for (peer, kind), pictures in self._pictures.items():
            if cause := pictures.abnormal(bucket):
                found.append(_exception(_FRAME_RATE, peer, kind, cause))
        if self._loads and (cause := high_cpu(self._loads, bucket)):
            found.append(_exception(_CPU, "", AUDIO, cause))
        # In an order of their own, so that the row does not depend on which stream came first.
        return sorted(found, key=lambda one: (one["Exception"], one["PeerId"], one["Stream"]))


def _exception(kind: int, peer: str, stream: int, cause: str) -> dict[str, Any]:
    return {"Exception": kind, "PeerId": peer, "Stream": stream, "Cause": cause}


def buckets_of(samples: Iterable[Sample]) -> set[int]:
    """The buckets that these samples are in, and the next ones, whose exceptions may depend on them."""
    buckets = set()
    for sample in samples:
        bucket = sample.start_ms - sample.start_ms % BUCKET_MS
        buckets.add(bucket)
        buckets.add(bucket + BUCKET_MS)
    return buckets
