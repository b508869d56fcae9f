"""Rows of `user_10s` from the facts that ClickHouse has, where memory does not hold them."""

from __future__ import annotations

import asyncio
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from schemas.reports import LocalStream, RemoteStream, Sample
from schemas.touched import BUCKET_MS
from services.processor.exceptions import LOOK_BACK_MS
from services.processor.memory import rows_of
from services.processor.session import Session
from services.processor.store import external
from services.processor.tables import STREAM_NUMBERS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from schemas.words import StreamType
    from services.processor.exceptions import Thresholds
    from services.processor.memory import SessionKey
    from services.processor.store import Store
    from services.processor.tables import Row

_SESSIONS_AT_ONCE = 4_000
_TOGETHER_MS = 60_000
"""Buckets no further apart are read with all that lies between them."""
_STREAMS: dict[str, StreamType] = {"audio": "audio", "big": "big", "small": "small", "sub": "sub"}

_STRUCTURE = (
    "SdkAppId UInt32, RoomId String, RoomIdType UInt8, UserShard UInt8, UserId String, SessionId String, "
    "BucketTime DateTime('UTC')"
)
_SESSION = "SdkAppId, RoomId, RoomIdType, UserShard, UserId, SessionId"


def _near(time: str) -> str:
    """First by the primary key, then exactly."""
    return f"""
    (SdkAppId, toStartOfTenMinutes({time}), RoomId, RoomIdType, UserShard) IN (
        SELECT SdkAppId, toStartOfTenMinutes(BucketTime), RoomId, RoomIdType, UserShard FROM touched)
    AND ({_SESSION}, toDateTime(intDiv(toUnixTimestamp({time}), 10) * 10, 'UTC')) IN (
        SELECT {_SESSION}, BucketTime FROM touched)
"""  # noqa: S608 -- put together from constants of this module alone


_SAMPLES = f"""
SELECT {_SESSION}, toUnixTimestamp64Milli(StartTime) AS StartMs, DurMs, SysCpu, SdkTaskMs, Rtt, UpLoss, DownLoss
FROM samples FINAL
WHERE {_near("StartTime")}
ORDER BY StartMs
"""  # noqa: S608

_STREAMS_OF = f"""
SELECT {_SESSION}, toUnixTimestamp64Milli(StartTime) AS StartMs, PeerId, Stream, Bitrate, Loss, Width, Height, CapFps,
    EncFps, SendFps, RecFps, DecFps, RenderFps, DelayMs, Volume, PlayMs, Muted
FROM streams FINAL
WHERE {_near("StartTime")}
ORDER BY StartMs, PeerId, Stream
"""  # noqa: S608

_STUTTERS = f"""
SELECT {_SESSION}, PeerId, Stream, toUnixTimestamp64Milli(EpisodeTime) AS BegunMs, max(stutters.EpisodeMs) AS Length
FROM stutters
WHERE {_near("BucketTime")}
GROUP BY {_SESSION}, PeerId, Stream, BegunMs
"""  # noqa: S608

_ENDS = """
SELECT SdkAppId, RoomId, RoomIdType, any(s.UserShard), UserId, SessionId, toUnixTimestamp64Milli(max(s.LastTime))
FROM sessions AS s
WHERE (SdkAppId, RoomId, RoomIdType, UserId, SessionId) IN (
    SELECT SdkAppId, RoomId, RoomIdType, UserId, SessionId FROM touched)
GROUP BY SdkAppId, RoomId, RoomIdType, UserId, SessionId
"""


class Reloaded(NamedTuple):
    """What the facts say of one session."""

    key: SessionKey
    rows: list[Row]
    session: Session | None
    """The session as of now, None where there are later facts than were asked for."""
    last_ms: int
    """End of the last sample of all."""


async def reload(store: Store, wanted: Mapping[SessionKey, Collection[int]], thresholds: Thresholds) -> list[Reloaded]:
    """Compute these buckets of sessions from the facts."""
    found: list[Reloaded] = []
    keys = iter(wanted)
    while part := list(islice(keys, _SESSIONS_AT_ONCE)):
        spans = {key: list(spans_of(wanted[key])) for key in part}
        buckets = [
            (*key, bucket // 1000)
            for key, known in spans.items()
            for first, last in known
            for bucket in range(first - LOOK_BACK_MS, last + 1, BUCKET_MS)
        ]
        asked = external(_STRUCTURE, buckets)
        samples, streams, stutters, last = await asyncio.gather(
            store.rows("sessions' samples", _SAMPLES, asked),
            store.rows("sessions' streams", _STREAMS_OF, asked),
            store.rows("sessions' stutters", _STUTTERS, asked),
            store.rows("sessions' ends", _ENDS, asked),
        )
        facts = _Facts(samples, streams, stutters)
        ends = {tuple(row[:6]): row[6] for row in last}
        for key in part:
            rows: list[Row] = []
            session: Session | None = None
            for first, until in spans[key]:
                session = facts.session(key, first - LOOK_BACK_MS, until + BUCKET_MS, thresholds)
                rows += rows_of(key, session, [at for at in wanted[key] if first <= at <= until], thresholds)
            last_ms = ends.get(key, 0)
            if session is not None and last_ms > session.next_ms:
                session = None
            found.append(Reloaded(key, rows, session, last_ms))
    return found


def spans_of(buckets: Collection[int]) -> Iterator[tuple[int, int]]:
    """First and last of buckets that are near one another."""
    ordered = sorted(buckets)
    first = last = ordered[0]
    for bucket in ordered[1:]:
        if bucket - last > _TOGETHER_MS or bucket - first > 10 * _TOGETHER_MS:
            yield first, last
            first = bucket
        last = bucket
    yield first, last


class _Facts:
    """Rows of several sessions, by session."""

    def __init__(
        self, samples: Sequence[Sequence[Any]], streams: Sequence[Sequence[Any]], stutters: Sequence[Sequence[Any]]
    ) -> None:
        self._samples: dict[tuple[Any, ...], dict[int, Sample]] = {}
        self._stutters: dict[tuple[Any, ...], list[tuple[str, int, int, int]]] = {}
        for row in samples:
            start, duration, cpu, task, rtt, up_loss, down_loss = row[6:]
            self._samples.setdefault(tuple(row[:6]), {})[start] = Sample(
                start_ms=start,
                dur_ms=duration,
                sys_cpu=cpu,
                sdk_task_ms=task,
                rtt=rtt,
                up_loss=up_loss,
                down_loss=down_loss,
            )
        for row in streams:
            sample = self._samples.get(tuple(row[:6]), {}).get(row[6])
            if sample is not None:
                _add_stream(sample, row[7:])
        for row in stutters:
            peer, kind, begun, length = row[6:]
            self._stutters.setdefault(tuple(row[:6]), []).append((peer, STREAM_NUMBERS[kind], begun, length))

    def session(self, key: SessionKey, since_ms: int, until_ms: int, thresholds: Thresholds) -> Session:
        session = Session(since_ms)
        for start, sample in self._samples.get(key, {}).items():
            if since_ms <= start < until_ms:
                session.add(sample, thresholds)
        for peer, kind, begun, length in self._stutters.get(key, []):
            session.add_episode(peer, kind, begun, length)
        return session


def _add_stream(sample: Sample, columns: Sequence[Any]) -> None:
    peer, kind, bitrate, loss, width, height, captured, encoded, sent, received, decoded, rendered, *rest = columns
    delay, volume, playing, muted = rest
    if peer == "":
        sample.local.append(
            LocalStream(
                type=_STREAMS[kind],
                loss=loss,
                cap_fps=captured,
                enc_fps=encoded,
                send_fps=sent,
                volume=volume,
                muted=muted,
            )
        )
    else:
        sample.remote.append(
            RemoteStream(
                user_id=peer,
                type=_STREAMS[kind],
                bitrate=bitrate,
                loss=loss,
                width=width,
                height=height,
                rec_fps=received,
                dec_fps=decoded,
                render_fps=rendered,
                delay_ms=delay,
                volume=volume,
                play_ms=playing,
                muted=muted,
            )
        )
