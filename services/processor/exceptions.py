"""When a user meets an exception, and what it likely comes from. Arithmetic alone.

An exception begins with the second bad sample in a row and ends with the second good one. It is judged for a bucket by
the samples of the bucket and of the ten seconds before it, and by nothing else, so that the answer is a function of
stored facts. A sample that tells nothing (muted, not meant to play, unknown) is neither good nor bad: it ends what was.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from schemas.touched import BUCKET_MS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from schemas.reports import LocalStream, RemoteStream, Sample
    from services.runtime.settings import Settings

Cause = Literal["loss", "rtt", "device", "encoder", "decoder", "unknown"]

LOOK_BACK_MS = 10_000
IN_A_ROW_MS = 4_000
"""Two samples whose starts are no further apart follow one another."""
_FEW = 24
"""Points of a stream that are not worth the work of forgetting them."""


class Thresholds(NamedTuple):
    """From where on something is wrong; the defaults are those of the settings."""

    silence_ms: int = 10_000
    fps: float = 10.0
    screen_fps: float = 5.0
    fps_swing: float = 5.0
    cpu: float = 85.0
    task_ms: int = 60
    loss: float = 10.0
    """Per cent, beyond which loss is taken for the cause."""
    delay_ms: int = 400

    @classmethod
    def of(cls, settings: Settings) -> Thresholds:
        """Those of an installation."""
        return cls(
            silence_ms=round(settings.exception_silence_s * 1000),
            fps=settings.exception_fps,
            screen_fps=settings.exception_screen_fps,
            fps_swing=settings.exception_fps_swing,
            cpu=settings.exception_cpu,
            task_ms=settings.exception_task_ms,
            loss=settings.exception_loss,
            delay_ms=settings.exception_delay_ms,
        )


Picture = tuple[int, float | None, Cause]
"""Start of the sample in Unix ms, frames a second (None: unknown), cause should they be too few."""
Sound = tuple[int, int, Cause]
"""Start of the sample in Unix ms, milliseconds of silence without mute, cause should they be too many."""
Load = tuple[int, bool | None]
"""Start of the sample in Unix ms, whether the device was busy (None: unknown)."""


def busy(sample: Sample, thresholds: Thresholds) -> bool | None:
    """Whether the device was busy: by its CPU, where that is unknown by the time of an SDK task."""
    if sample.sys_cpu is not None:
        return sample.sys_cpu > thresholds.cpu
    return None if sample.sdk_task_ms is None else sample.sdk_task_ms > thresholds.task_ms


def high_cpu(points: Iterable[Load], bucket: int) -> Cause | None:
    """Whether the device was too busy in a bucket (its start in Unix ms)."""
    active, before_at, before = False, 0, None
    for at, bad in points:
        if bucket - LOOK_BACK_MS <= at < bucket + BUCKET_MS:
            active = _goes_on(active, bad, before, at - before_at)
            before_at, before = at, bad
            if active and at >= bucket:
                return "device"
    return None


class Pictures:
    """The rates of one stream, in order of time, with bounds that let most be judged without looking at each."""

    __slots__ = ("_bottom", "_slow", "_swing", "_top", "points")

    def __init__(self, kind_is_screen: bool, thresholds: Thresholds) -> None:
        self._slow = thresholds.screen_fps if kind_is_screen else thresholds.fps
        self._swing = thresholds.fps_swing
        self._top, self._bottom = 0.0, float("inf")
        self.points: list[Picture] = []

    def add(self, at: int, fps: float | None) -> bool:
        """Add a rate; whether its cause may be asked for, which `explain` then tells."""
        self.points.append((at, fps, "unknown"))
        if fps is None:
            return False
        if fps > self._top:
            self._top = fps
        if fps < self._bottom:
            self._bottom = fps
        return fps < self._slow or fps < self._top - self._swing

    def explain(self, cause: Cause) -> None:
        """The cause of the last rate."""
        at, fps, _ = self.points[-1]
        self.points[-1] = (at, fps, cause)

    def abnormal(self, bucket: int) -> Cause | None:
        """The cause of an abnormal frame rate in a bucket, None where there is none."""
        if self._bottom >= self._slow and self._top - self._bottom <= self._swing:
            return None
        return frame_rate(self.points, bucket, self._slow, self._swing)

    def forget(self, before: int) -> None:
        """Let go of rates before a time, not at once where there are few."""
        if len(self.points) > _FEW or self._bottom < self._slow or self._top - self._bottom > self._swing:
            self.points = [point for point in self.points if point[0] >= before]
            rates = [fps for _, fps, _ in self.points if fps is not None]
            self._top, self._bottom = max(rates, default=0.0), min(rates, default=float("inf"))


def frame_rate(points: Sequence[Picture], bucket: int, slow: float, swing: float) -> Cause | None:
    """The cause of an abnormal frame rate in a bucket, None where there is none.

    Bad is a rate below `slow`, and one that has swung by more than `swing` within ten seconds.
    """
    near = [point for point in points if bucket - LOOK_BACK_MS <= point[0] < bucket + BUCKET_MS]
    active, before_at = False, 0
    before: bool | None = None
    cause: Cause | None = None
    for number, (at, fps, why) in enumerate(near):
        bad = None
        if fps is not None:
            recent = [rate for when, rate, _ in near[: number + 1] if rate is not None and when > at - LOOK_BACK_MS]
            top = max(recent)
            # Rounded, since 9.8 less 4.8 may be a little more than 5 to a computer.
            bad = fps < slow or round(top - min(recent), 3) > swing
            if cause in (None, "unknown") and (fps < slow or fps < top - swing):
                cause = why
        active = _goes_on(active, bad, before, at - before_at)
        before_at, before = at, bad
        if active and at >= bucket:
            return cause or "unknown"
    return None


def no_audio(points: Iterable[Sound], bucket: int, silence_ms: int) -> Cause | None:
    """The cause of silence in a bucket, None where there was sound or not enough silence within ten seconds."""
    near = [point for point in points if bucket - LOOK_BACK_MS <= point[0] < bucket + BUCKET_MS]
    active, before_at, before = False, 0, 0
    cause: Cause = "unknown"
    for number, (at, silent, why) in enumerate(near):
        if at - before_at > IN_A_ROW_MS:
            active = False
        if silent:
            cause = why
        if sum(length for when, length, _ in near[: number + 1] if when > at - LOOK_BACK_MS) >= silence_ms:
            active = True
        elif not silent and not before:
            active = False
        before_at, before = at, silent
        if active and at >= bucket:
            return cause
    return None


def cause_of_sent(sample: Sample, stream: LocalStream, slow: float, thresholds: Thresholds) -> Cause:
    """Why a sent picture may have too few frames: looked for from the camera to the network."""
    if stream.cap_fps is not None and stream.cap_fps < slow:
        return "device"
    if stream.enc_fps is not None and stream.enc_fps < slow:
        return "device" if busy(sample, thresholds) else "encoder"
    loss = sample.up_loss if stream.loss is None else stream.loss
    return _of_network(loss, sample.rtt, thresholds) or ("device" if busy(sample, thresholds) else "unknown")


def cause_of_received(sample: Sample, stream: RemoteStream, slow: float, thresholds: Thresholds) -> Cause:
    """Why a received stream may be too slow or silent: looked for from the network to the screen."""
    loss = sample.down_loss if stream.loss is None else stream.loss
    delay = max(sample.rtt or 0, stream.delay_ms or 0)
    if cause := _of_network(loss, delay, thresholds):
        return cause
    if busy(sample, thresholds):
        return "device"
    arrived = stream.rec_fps is not None and stream.rec_fps >= slow
    if arrived and stream.dec_fps is not None and stream.dec_fps < slow:
        return "decoder"
    decoded = stream.dec_fps is not None and stream.dec_fps >= slow
    return "device" if decoded and stream.render_fps is not None and stream.render_fps < slow else "unknown"


def _goes_on(active: bool, bad: bool | None, before: bool | None, gap_ms: int) -> bool:
    if bad is None or before is None or gap_ms > IN_A_ROW_MS:
        return False
    return bad if bad == before else active


def _of_network(loss: float | None, delay_ms: int | None, thresholds: Thresholds) -> Cause | None:
    if loss is not None and loss > thresholds.loss:
        return "loss"
    return "rtt" if delay_ms is not None and delay_ms > thresholds.delay_ms else None
