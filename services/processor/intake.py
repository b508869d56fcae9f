"""Reports into the tables: the facts, then the rows of ten seconds that follow, then whoever depends on those."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa
import structlog

from services.processor import metrics
from services.processor.calls import ROOM_EVENTS
from services.processor.memory import SessionMemory, Turn
from services.processor.portions import portions
from services.processor.quality import QUALITY_TABLES, EpisodeMemory, QualityFacts, longest
from services.processor.reload import reload
from services.processor.tables import UNFIT
from services.processor.vanished import Heard, buckets_of_late
from services.runtime.clock import now_ms

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from schemas.events import EventRecord
    from schemas.reports import AcceptedReport
    from services.processor.exceptions import Thresholds
    from services.processor.memory import SessionKey
    from services.processor.store import Store
    from services.processor.tables import Row
    from services.processor.touching import Calls, Toucher


log = structlog.get_logger(__name__)
SAMPLES_A_PART = 1_000
"""What fits the processor's cache once it is decoded: going over a whole turn again and again costs half more."""


class QualityRecord(NamedTuple):
    """A record of topic `quality`, and where it was."""

    partition: int
    offset: int
    reports: Sequence[AcceptedReport]


class QualityIntake:
    """Takes in records in the order of their partitions. What it keeps is a cache of what is stored."""

    def __init__(
        self, store: Store, toucher: Toucher, thresholds: Thresholds, samples_a_part: int = SAMPLES_A_PART
    ) -> None:
        self._samples_a_part = samples_a_part
        self._store = store
        self._toucher = toucher
        self._episodes = EpisodeMemory()
        self._sessions = SessionMemory(thresholds)

    async def take(self, records: Iterable[QualityRecord]) -> None:
        """Return when all that follows from the records is in ClickHouse or on its way in Kafka."""
        turn = Turn()
        parts: list[QualityFacts] = []
        for part in portions(records, _samples_of, self._samples_a_part):
            parts.append(self._take_part(turn, part))
            await asyncio.sleep(0)
        if not parts:
            return
        episodes = longest(facts.episodes for facts in parts)
        stutters = self._episodes.rows(episodes)
        self._sessions.take_stutters(turn, stutters, episodes)
        await asyncio.gather(
            self._store.insert("stutters", stutters),
            *(
                self._store.insert_arrow(
                    table, pa.concat_tables([facts.tables[table] for facts in parts]).combine_chunks()
                )
                for table in QUALITY_TABLES
            ),
        )
        self._episodes.remember(episodes)

        rows = self._sessions.rows(turn)
        reloaded = await reload(self._store, turn.wanted, self._sessions.thresholds)
        for found in reloaded:
            rows += found.rows
            if found.session is not None:
                self._sessions.adopt(turn, found.key, found.session)
        self._sessions.sweep(turn)
        heard = [Heard(key, min(found), session.next_ms, True) for key, (session, found) in turn.known.items() if found]
        heard += [Heard(one.key, min(turn.wanted[one.key]), one.last_ms, False) for one in reloaded]
        await self._store.insert("user_10s", rows)
        late = await buckets_of_late(self._store, heard, now_ms())
        await self._toucher.applications({(app, bucket) for app, bucket, *_ in rows} | late)
        await self._toucher.calls(calls_of(turn.wanted))

        metrics.SAMPLES.inc(sum(facts.samples for facts in parts))
        metrics.SESSIONS.set(len(self._sessions))
        metrics.RELOADED.inc(len(turn.wanted))

    def _take_part(self, turn: Turn, records: list[QualityRecord]) -> QualityFacts:
        try:
            facts = _facts_of(records)
        except UNFIT:
            records = [record._replace(reports=_fitting(record.reports)) for record in records]
            facts = _facts_of(records)
        for partition, offset, reports in records:
            self._sessions.take(turn, partition, offset, reports)
        return facts


async def take_events(store: Store, toucher: Toucher, records: Iterable[tuple[EventRecord, Row]]) -> None:
    """Events, each with its row: into the table first, then to those who compute calls from them."""
    calls: Calls = {}
    rows: list[Row] = []
    for record, row in records:
        rows.append(row)
        if record.event_type in ROOM_EVENTS and record.room_id is not None:
            key = record.sdk_app_id, record.room_id
            calls[key] = min(calls.get(key, record.event_ms_ts), record.event_ms_ts)
    await store.insert("events", rows)
    await toucher.calls(calls)


def calls_of(wanted: Mapping[SessionKey, Iterable[int]]) -> Calls:
    """The rooms of sessions that are new or came out of order: reports may tell of a stay that no event tells."""
    calls: Calls = {}
    for (app, room_id, *_), buckets in wanted.items():
        first = min(buckets)
        calls[app, room_id] = min(calls.get((app, room_id), first), first)
    return calls


def _samples_of(record: QualityRecord) -> int:
    return sum(len(report.samples) for report in record.reports)


def _facts_of(records: Iterable[QualityRecord]) -> QualityFacts:
    return QualityFacts([report for record in records for report in record.reports])


def _fitting(reports: Iterable[AcceptedReport]) -> list[AcceptedReport]:
    """Without those that no column can hold: only records that ingest did not make have such."""
    fitting = []
    for report in reports:
        try:
            QualityFacts([report])
        except UNFIT as error:
            metrics.UNFIT.labels("samples").inc()
            log.error("report does not fit the tables, left out", report=repr(report)[:500], error=str(error))
        else:
            fitting.append(report)
    return fitting
