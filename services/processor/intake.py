"""Reports into the tables: the facts, then the rows of ten seconds that follow, then whoever depends on those."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import structlog

from services.processor import metrics
from services.processor.memory import SessionMemory, Turn
from services.processor.quality import EpisodeMemory, QualityFacts
from services.processor.reload import reload
from services.processor.tables import UNFIT

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from schemas.reports import AcceptedReport
    from services.processor.exceptions import Thresholds
    from services.processor.store import Store
    from services.processor.touching import Toucher


log = structlog.get_logger(__name__)


class QualityRecord(NamedTuple):
    """A record of topic `quality`, and where it was."""

    partition: int
    offset: int
    reports: Sequence[AcceptedReport]


class QualityIntake:
    """Takes in records in the order of their partitions. What it keeps is a cache of what is stored."""

    def __init__(self, store: Store, toucher: Toucher, thresholds: Thresholds) -> None:
        self._store = store
        self._toucher = toucher
        self._episodes = EpisodeMemory()
        self._sessions = SessionMemory(thresholds)

    async def take(self, records: Iterable[QualityRecord]) -> None:
        """Return when all that follows from the records is in ClickHouse or on its way in Kafka."""
        turn = Turn()
        fitting: list[AcceptedReport] = []
        records = list(records)
        try:
            for record in records:
                fitting += record.reports
            facts = QualityFacts(fitting)
        except UNFIT:
            records = [record._replace(reports=_fitting(record.reports)) for record in records]
            facts = QualityFacts([report for record in records for report in record.reports])
        for partition, offset, reports in records:
            self._sessions.take(turn, partition, offset, reports)
        stutters = self._episodes.rows(facts)
        self._sessions.take_stutters(turn, stutters, facts.episodes)
        for table, rows in facts.tables.items():
            await self._store.insert_arrow(table, rows)
        await self._store.insert("stutters", stutters)
        self._episodes.remember(facts)

        rows = self._sessions.rows(turn)
        for found in await reload(self._store, turn.wanted, self._sessions.thresholds):
            rows += found.rows
            if found.session is not None:
                self._sessions.adopt(turn, found.key, found.session)
        self._sessions.sweep(turn)
        await self._store.insert("user_10s", rows)
        await self._toucher.applications({(app, bucket) for app, bucket, *_ in rows})

        metrics.SAMPLES.inc(facts.samples)
        metrics.SESSIONS.set(len(self._sessions))
        metrics.RELOADED.inc(len(turn.wanted))


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
