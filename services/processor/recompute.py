"""Recomputing what was touched: rollups inside ClickHouse, calls here from the events that ClickHouse has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from services.processor import metrics, rollups
from services.processor.roomlife import recompute_calls
from services.processor.store import external
from services.processor.touching import Merged

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from schemas.touched import Touched
    from services.processor.store import Store
    from services.processor.touching import Toucher

_ROWS_AT_ONCE = 20_000
_ROOMS_AT_ONCE = 500


class Recomputer:
    """Brings everything that records of topic `touched` name up to date; afterwards they may be committed."""

    def __init__(self, store: Store, toucher: Toucher) -> None:
        self._store = store
        self._toucher = toucher

    async def recompute(self, records: Iterable[Touched]) -> None:
        """Calls first; applications that a stay changes are touched once more, since they may have another owner."""
        merged = Merged(records)
        for calls in _chunks(sorted(merged.calls.items()), _ROOMS_AT_ONCE):
            await recompute_calls(self._store, self._toucher, dict(calls))
        for applications in _chunks(merged.applications, _ROWS_AT_ONCE):
            rows = [(app, bucket // 1000) for app, bucket in applications]
            asked = external(rollups.APPLICATION_STRUCTURE, rows)
            await self._store.recompute("present users", rollups.PRESENT, asked)
            await self._store.recompute("applications", rollups.APPLICATIONS, asked)
        for scope, touched in (("application", merged.applications), ("call", merged.calls)):
            metrics.TOUCHED.labels(scope).set(len(touched))


def _chunks(rows: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    for start in range(0, len(rows), size):
        yield rows[start : start + size]
