"""Applications as a table: what queries have to know of them, kept in step with the topic that the console writes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.runtime.applications import ApplicationTable

if TYPE_CHECKING:
    from schemas.applications import Application
    from services.processor.store import Store
    from services.processor.tables import Row
    from services.runtime.settings import Settings


class Catalogue:
    """Keeps table `applications` up to date. Their keys stay where they are."""

    name = "applications"
    every_s = 1.0

    def __init__(self, settings: Settings) -> None:
        self._changed: dict[int, Application] = {}
        self._table = ApplicationTable(settings, on_change=self._take)

    @property
    def complete(self) -> bool:
        """Whether everything that was in the topic at the start is in the table."""
        return self._table.ready and not self._changed

    async def start(self) -> None:
        """Begin to follow the topic."""
        await self._table.start()

    async def stop(self) -> None:
        """Stop following."""
        await self._table.stop()

    async def run(self, store: Store) -> None:
        """Write what has changed since the last time."""
        changed = dict(self._changed)
        await store.insert("applications", [application_row(application) for application in changed.values()])
        for sdk_app_id, application in changed.items():
            if self._changed[sdk_app_id] is application:
                del self._changed[sdk_app_id]

    def _take(self, application: Application) -> None:
        self._changed[application.sdk_app_id] = application


def application_row(application: Application) -> Row:
    """A row of table `applications`."""
    return (
        application.sdk_app_id,
        application.name,
        application.status,
        application.monitoring_edition,
        application.utc_offset_minutes,
        application.created_ms,
        application.version,
    )
