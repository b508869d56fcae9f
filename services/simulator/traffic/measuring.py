"""From what a user sends and receives to the samples its SDK measures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from schemas.reports import LocalStream, RemoteStream, Sample
from services.simulator.traffic.hearing import Hearing, Part, cells
from services.simulator.traffic.seeds import random_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from services.simulator.traffic.plan import Call, Stay, Trouble

BASE_RTT_MS = {"WiFi": 28, "4G": 55, "5G": 35, "3G": 160, "Wired": 12}
FEWEST_FPS = 3.0


def samples_of(call: Call, stay: Stay, hearing: Hearing) -> Iterator[Sample]:
    """The samples of a stay, in order, without a gap from entering to its end."""
    meter = _Meter(call, stay)
    edges = set(hearing.cuts)
    local: list[Part] = []
    remote: list[Part] = []
    stale = True
    for start_ms, end_ms in cells(stay, hearing.cuts):
        if stale or start_ms in edges:
            local = [part for part in hearing.sent if part.start_ms <= start_ms < part.end_ms]
            remote = [part for part in hearing.received if part.start_ms <= start_ms < part.end_ms]
            stale = False
        yield meter.sample(start_ms, end_ms, local, remote)


class _Meter:
    def __init__(self, call: Call, stay: Stay) -> None:
        self._call = call
        self._stay = stay
        self._rng = random_of(*call.path, "meter", stay.user_id, stay.number)
        self._random = self._rng.random
        self._is_phone = stay.profile.mobile
        self._is_browser = stay.profile.user_type == 1
        self._memory = 140 + int(260 * self._random())
        self._load = 12 + 25 * self._random()

    def sample(self, start_ms: int, end_ms: int, local: list[Part], remote: list[Part]) -> Sample:
        """What was measured in [start_ms, end_ms)."""
        random = self._random
        duration = end_ms - start_ms
        trouble = _at(self._stay.troubles, start_ms)
        kind = trouble.kind if trouble is not None else ""
        severity = trouble.severity if trouble is not None else 0.0
        rtt = BASE_RTT_MS[self._network(start_ms)] * (0.8 + 0.4 * random())
        up_loss = down_loss = 0.0
        if random() < 0.15:
            up_loss = round(1.5 * random(), 1)
        if kind == "downlink":
            down_loss = round(4 + 26 * severity * random(), 1)
            rtt *= 1 + 6 * severity * random()
        elif kind == "uplink":
            up_loss = round(4 + 26 * severity * random(), 1)
            rtt *= 1 + 4 * severity * random()
        busy = kind == "processor"
        sent = [self._local(part, kind, severity, up_loss) for part in local]
        received = [self._remote(part, start_ms, end_ms, kind, severity, down_loss) for part in remote]
        sample = Sample(
            start_ms=start_ms,
            dur_ms=duration,
            rtt=int(rtt),
            up_loss=up_loss,
            down_loss=down_loss,
            sent_bytes=sum(stream.bitrate or 0 for stream in sent) * duration // 8000,
            received_bytes=sum(stream.bitrate or 0 for stream in received) * duration // 8000,
            local=sent,
            remote=received,
        )
        if self._stay.profile.reads_cpu:
            system = 87 + 12 * random() if busy else self._load + 18 * random()
            sample.sys_cpu = round(system, 1)
            sample.app_cpu = round(system * (0.3 + 0.3 * random()), 1)
        elif not self._is_browser:
            # Where a phone does not tell its load, how long the SDK's tasks take does.
            sample.sdk_task_ms = int(65 + 60 * random()) if busy else int(4 + 22 * random())
        if not self._is_browser:
            sample.memory_mb = self._memory + int(20 * random())
            sample.gateway_rtt = int(rtt * 0.3) if self._is_phone else None
        return sample

    def _network(self, at_ms: int) -> str:
        switch = self._stay.network_switch
        return switch[1] if switch is not None and at_ms >= switch[0] else self._stay.profile.network_type

    def _local(self, part: Part, kind: str, severity: float, loss: float) -> LocalStream:
        random = self._random
        bitrate = int(part.bitrate * (0.94 + 0.12 * random()))
        if part.type == "audio":
            silent = part.muted or kind == "silent-microphone"
            return LocalStream(
                type="audio",
                bitrate=bitrate // 8 if part.muted else bitrate,
                loss=loss,
                volume=0.0 if silent else round(35 + 45 * random(), 1),
                sample_rate=48_000,
                muted=part.muted,
            )
        captured = float(part.fps)
        if kind == "camera" and part.type != "sub":
            captured = FEWEST_FPS + 5 * random()
        encoded = captured
        if kind == "processor":
            encoded = min(captured, FEWEST_FPS + 8 * (1 - severity) + random())
        if kind == "uplink":
            bitrate = int(bitrate * (1 - 0.6 * severity))
        return LocalStream(
            type=part.type,
            bitrate=bitrate,
            loss=loss,
            width=part.width,
            height=part.height,
            cap_fps=round(captured, 1) if part.type != "small" else None,
            enc_fps=round(encoded, 1),
            send_fps=round(encoded * (1 - 0.2 * severity if kind == "uplink" else 1), 1),
        )

    def _remote(self, part: Part, start_ms: int, end_ms: int, kind: str, severity: float, loss: float) -> RemoteStream:
        random = self._random
        bitrate = int(part.bitrate * (0.93 + 0.12 * random()))
        sender = _at(self._call.uplink_troubles.get(part.peer, ()), start_ms)
        if sender is not None:
            bitrate = int(bitrate * (1 - 0.6 * sender.severity))
            loss = max(loss, round(10 * sender.severity * random(), 1))
        troubled = kind == "downlink" or sender is not None
        jitter = int((12 + 20 * random()) * (1 + (9 * severity if troubled else 0)))
        delay = int((90 + 60 * random()) * (1 + (4 * severity if troubled else 0)))
        duration = end_ms - start_ms
        stutters = [
            (begun, min(begun + length, end_ms) - begun)
            for begun, length in part.stutters
            if begun < end_ms and begun + length > start_ms
        ]
        if part.type == "audio":
            silent = part.muted or kind == "silent-speaker"
            return RemoteStream(
                user_id=part.peer,
                type="audio",
                bitrate=bitrate // 8 if part.muted else bitrate,
                loss=loss,
                jitter_ms=jitter,
                delay_ms=delay,
                volume=0.0 if silent else round(30 + 45 * random(), 1),
                play_ms=0 if part.muted else duration,
                muted=part.muted,
                stutters=stutters,
            )
        standing = sum(begun + length - max(begun, start_ms) for begun, length in stutters)
        rendered = part.fps * (0.96 + 0.04 * random()) * (1 - standing / duration)
        decoded = rendered
        if kind == "processor":
            rendered = min(rendered, FEWEST_FPS + 6 * random())
        return RemoteStream(
            user_id=part.peer,
            type=part.type,
            bitrate=int(bitrate * (1 - standing / duration)),
            loss=loss,
            width=part.width,
            height=part.height,
            rec_fps=round(part.fps * (1 - loss / 100), 1),
            dec_fps=round(decoded, 1),
            render_fps=round(rendered, 1),
            jitter_ms=jitter,
            delay_ms=delay,
            play_ms=duration,
            stutters=stutters,
        )


def _at(troubles: tuple[Trouble, ...], at_ms: int) -> Trouble | None:
    for trouble in troubles:
        if trouble.start_ms <= at_ms:
            if at_ms < trouble.end_ms:
                return trouble
        else:
            break
    return None
