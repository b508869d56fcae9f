"""The sessions that are going on: rows of `user_10s` for whoever reports in order, without asking ClickHouse.

What is here is a cache of facts that are stored already. Where it does not hold all that a row depends on (after a
start, for late and repeated samples), the row is wanted from the facts instead; see `reload`.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from schemas.keys import room_key, user_shard
from schemas.touched import BUCKET_MS
from services.processor.session import Session, buckets_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from schemas.reports import AcceptedReport, Sample
    from services.processor.exceptions import Thresholds
    from services.processor.quality import Episode
    from services.processor.tables import Row

SessionKey = tuple[int, str, int, int, str, str]
"""SdkAppId, room, its type, user shard, user, session."""
Wanted = defaultdict[SessionKey, set[int]]
"""Buckets of sessions, their starts in Unix ms."""

IDLE_MS = 120_000
_SWEEP_EVERY = 200


class _Partition:
    __slots__ = ("next_offset", "sessions")

    def __init__(self) -> None:
        self.next_offset = -1
        self.sessions: dict[SessionKey, Session] = {}


class Turn:
    """What one turn of the agent found: the rows that are known, and those that are wanted from the facts."""

    def __init__(self) -> None:
        self.known: dict[SessionKey, tuple[Session, set[int]]] = {}
        self.wanted: Wanted = defaultdict(set)
        self.partitions: dict[SessionKey, int] = {}
        self.newest_ms = 0
        """Latest arrival of a report."""


class SessionMemory:
    """The sessions of the partitions that this worker has."""

    def __init__(self, thresholds: Thresholds) -> None:
        self.thresholds = thresholds
        self._partitions: defaultdict[int, _Partition] = defaultdict(_Partition)
        self._turns = 0

    def __len__(self) -> int:
        return sum(len(partition.sessions) for partition in self._partitions.values())

    def take(self, turn: Turn, partition: int, offset: int, reports: Iterable[AcceptedReport]) -> None:
        """Take in one record of topic `quality`."""
        here = self._partitions[partition]
        if offset != here.next_offset:
            # Another worker may have had the partition meanwhile, or it is read again: what is here may lack facts.
            here.sessions.clear()
        here.next_offset = offset + 1
        for report in reports:
            if report.samples:
                self._take_report(turn, partition, here.sessions, report)

    def take_stutters(self, turn: Turn, rows: Iterable[Row], episodes: Mapping[Episode, int]) -> None:
        """Take in stutters with their lengths, and the rows that their table gets."""
        for (app, room_id, room_id_type, user, session_id, peer, kind, shard, begun), length in episodes.items():
            found = turn.known.get((app, room_id, room_id_type, shard, user, session_id))
            if found is not None:
                found[0].add_episode(peer, kind, begun, length)
        for app, room_id, room_id_type, user, session_id, _, _, shard, _, bucket_s, _ in rows:
            key = (app, room_id, room_id_type, shard, user, session_id)
            bucket = bucket_s * 1000
            found = turn.known.get(key)
            if found is not None and found[0].knows(bucket):
                found[1].add(bucket)
            else:
                turn.wanted[key].add(bucket)

    def rows(self, turn: Turn) -> list[Row]:
        """Rows of `user_10s` that follow from what is here."""
        rows: list[Row] = []
        for key, (session, buckets) in turn.known.items():
            rows += rows_of(key, session, buckets, self.thresholds)
            session.forget()
        return rows

    def adopt(self, turn: Turn, key: SessionKey, session: Session) -> None:
        """Go on with a session that was made from all its facts of the last while."""
        session.forget()
        partition = turn.partitions.get(key)
        if partition is not None:
            session.seen_ms = turn.newest_ms
            self._partitions[partition].sessions[key] = session

    def sweep(self, turn: Turn) -> None:
        """Every so many turns, let go of sessions that are over."""
        self._turns += 1
        if self._turns % _SWEEP_EVERY:
            return
        for partition in self._partitions.values():
            over = turn.newest_ms - IDLE_MS
            for key in [key for key, session in partition.sessions.items() if session.seen_ms < over]:
                del partition.sessions[key]

    def _take_report(
        self, turn: Turn, partition: int, sessions: dict[SessionKey, Session], report: AcceptedReport
    ) -> None:
        room_id, room_id_type = room_key(report.room_id)
        user = report.user_id
        key = (report.sdk_app_id, room_id, room_id_type, user_shard(user), user, report.session_id)
        turn.newest_ms = max(turn.newest_ms, report.arrival_ms)
        samples: Sequence[Sample] = report.samples
        if len(samples) > 1:
            samples = sorted(samples, key=_start)
        session = sessions.get(key)
        if session is not None:
            session.seen_ms = report.arrival_ms
            touched = turn.known.setdefault(key, (session, set()))[1]
            late = [sample for sample in samples if sample.start_ms < session.since_ms]
            if late:
                turn.wanted[key] |= buckets_of(late)
                samples = samples[len(late) :]
            if _in_order(samples, session.next_ms):
                for sample in samples:
                    touched.add(sample.start_ms - sample.start_ms % BUCKET_MS)
                    session.add(sample, self.thresholds)
                return
            del sessions[key]
            turn.wanted[key] |= turn.known.pop(key)[1]
        turn.partitions[key] = partition
        turn.wanted[key] |= buckets_of(samples)


def rows_of(key: SessionKey, session: Session, buckets: Iterable[int], thresholds: Thresholds) -> list[Row]:
    """Rows of `user_10s` for these buckets of a session, without those that have nothing to tell."""
    app, room_id, room_id_type, shard, user, session_id = key
    return [
        (app, bucket, room_id, room_id_type, shard, user, session_id, *columns)
        for bucket in sorted(buckets)
        if (columns := session.row(bucket, thresholds)) is not None
    ]


def _start(sample: Sample) -> int:
    return sample.start_ms


def _in_order(samples: Iterable[Sample], next_ms: int) -> bool:
    for sample in samples:
        if sample.start_ms < next_ms:
            return False
        next_ms = sample.start_ms + sample.dur_ms
    return True
