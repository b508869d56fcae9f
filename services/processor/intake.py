"""Reports into the tables: the facts, then the rows of ten seconds that follow, then whoever depends on those."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from services.processor import metrics
from services.processor.memory import SessionMemory, Turn
from services.processor.quality import EpisodeMemory, QualityFacts
from services.processor.reload import reload

if TYPE_CHECKING:
    from collections.abc import Iterable

    from schemas.reports import AcceptedReport
    from services.processor.exceptions import Thresholds
    from services.processor.store import Store
    from services.processor.touching import Toucher


class QualityRecord(NamedTuple):
    """A record of topic `quality`, and where it was."""

    partition: int
    offset: int
    reports: Iterable[AcceptedReport]


class QualityIntake:
    """Takes in records in the order of their partitions. What it keeps is a cache of what is stored."""

    def __init__(self, store: Store, toucher: Toucher, thresholds: Thresholds) -> None:
        self._store = store
        self._toucher = toucher
        self._episodes = EpisodeMemory()
        self._sessions = SessionMemory(thresholds)

    async def take(self, records: Iterable[QualityRecord]) -> None:
        """Return when all that follows from the records is in ClickHouse or on its way in Kafka."""
        facts = QualityFacts()
        turn = Turn()
        for partition, offset, reports in records:
            facts.add(reports)
            self._sessions.take(turn, partition, offset, reports)
        stutters = self._episodes.rows(facts)
        self._sessions.take_stutters(turn, stutters, facts.episodes)
        await self._store.insert("samples", facts.samples)
        await self._store.insert("streams", facts.streams)
        await self._store.insert("stutters", stutters)
        await self._store.insert("clients", facts.clients)
        await self._store.insert("client_events", facts.client_events)
        self._episodes.remember(facts)

        rows = self._sessions.rows(turn)
        for found in await reload(self._store, turn.wanted, self._sessions.thresholds):
            rows += found.rows
            if found.session is not None:
                self._sessions.adopt(turn, found.key, found.session)
        self._sessions.sweep(turn)
        await self._store.insert("user_10s", rows)
        await self._toucher.applications({(app, bucket) for app, bucket, *_ in rows})

        metrics.SAMPLES.inc(len(facts.samples))
        metrics.SESSIONS.set(len(self._sessions))
        metrics.RELOADED.inc(len(turn.wanted))
