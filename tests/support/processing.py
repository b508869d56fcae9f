"""The processor's work without Kafka and Faust: records are handed in, everything else is real."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from schemas.events import read_event
from schemas.reports import AcceptedReport
from schemas.tasks import read_task
from schemas.touched import Touched
from services.processor.exceptions import Thresholds
from services.processor.intake import QualityIntake, QualityRecord, take_events
from services.processor.recompute import Recomputer
from services.processor.records import event_row, task_row
from services.processor.touching import Toucher
from services.processor.usage.jobs import AvUsage, TasksUsage

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from services.processor.store import Store
    from services.runtime.journal import Entry


class MemoryJournal:
    """Keeps what topic `touched` would carry."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []

    async def write(self, *entries: Entry) -> list[int]:
        """As `Journal.write`."""
        self.entries += entries
        return list(range(len(entries)))

    def take(self) -> list[Touched]:
        """The records since the last time."""
        records = [msgspec.json.decode(entry.value or b"", type=Touched) for entry in self.entries]
        self.entries.clear()
        return records


class Worker:
    """One processor."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.journal = MemoryJournal()
        self.toucher = Toucher(self.journal, 1)  # type: ignore[arg-type]
        self._intake = QualityIntake(store, self.toucher, Thresholds(), samples_a_part=20)
        self._recomputer = Recomputer(store, self.toucher)
        self._usage = AvUsage(), TasksUsage()

    async def take(self, records: Iterable[tuple[int, int, list[dict[str, Any]]]]) -> None:
        """Take in (partition, offset, reports as posted)."""
        await self._intake.take(
            QualityRecord(partition, offset, [accepted(report) for report in reports])
            for partition, offset, reports in records
        )

    async def take_events(self, sdk_app_id: int, *posted: dict[str, Any], offset: int = 0) -> None:
        """Take in events as posted, in the order of their offsets."""
        await self.take_many_events({sdk_app_id: list(enumerate(posted, offset))})

    async def take_many_events(self, posted: Mapping[int, Iterable[tuple[int, dict[str, Any]]]]) -> None:
        """Take in (offset, event as posted) of applications at once."""
        records = [
            (read_event(app, msgspec.json.encode(event), 0), offset)
            for app, events in posted.items()
            for offset, event in events
        ]
        rows = [(record, event_row(record, 0, offset)) for record, offset in records]
        await take_events(self._store, self.toucher, rows)

    async def take_tasks(self, sdk_app_id: int, *posted: dict[str, Any]) -> None:
        """Take in task intervals as posted."""
        records = [read_task(sdk_app_id, msgspec.json.encode(interval), 0) for interval in posted]
        await self._store.insert("task_intervals", [task_row(record) for record in records])

    async def compute_usage(self) -> None:
        """Do what the clock does for usage."""
        for job in self._usage:
            await job.run(self._store)

    async def recompute(self) -> None:
        """Do what was touched."""
        while records := self.journal.take():
            await self._recomputer.recompute(records)


def accepted(report: dict[str, Any]) -> AcceptedReport:
    """A report as posted, as ingest lets it through."""
    return msgspec.convert({**report, "ArrivalMs": report["SentMs"] + 50}, AcceptedReport)
