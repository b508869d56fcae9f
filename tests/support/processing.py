"""The processor's work without Kafka and Faust: records are handed in, everything else is real."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from schemas.reports import AcceptedReport
from schemas.touched import Touched
from services.processor.exceptions import Thresholds
from services.processor.intake import QualityIntake, QualityRecord
from services.processor.recompute import Recomputer
from services.processor.touching import Toucher

if TYPE_CHECKING:
    from collections.abc import Iterable

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
        self.journal = MemoryJournal()
        self.toucher = Toucher(self.journal, 1)  # type: ignore[arg-type]
        self._intake = QualityIntake(store, self.toucher, Thresholds())
        self._recomputer = Recomputer(store, self.toucher)

    async def take(self, records: Iterable[tuple[int, int, list[dict[str, Any]]]]) -> None:
        """Take in (partition, offset, reports as posted)."""
        await self._intake.take(
            QualityRecord(partition, offset, [_accepted(report) for report in reports])
            for partition, offset, reports in records
        )

    async def recompute(self) -> None:
        """Do what was touched."""
        while records := self.journal.take():
            await self._recomputer.recompute(records)


def _accepted(report: dict[str, Any]) -> AcceptedReport:
    return msgspec.convert({**report, "ArrivalMs": report["SentMs"] + 50}, AcceptedReport)
