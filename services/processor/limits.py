"""The limits that are settings, as a table: views judge by what the processor judges by."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from services.processor.store import Store
    from services.processor.tables import Row
    from services.runtime.settings import Settings

_SETTING = "exception_"


class Limits:
    """Writes table `limits` once. Where processors have different settings, the one that began last is right."""

    name = "limits"
    every_s = 60.0

    def __init__(self, settings: Settings) -> None:
        self._rows = limit_rows(settings)

    async def run(self, store: Store) -> None:
        """Write them, if that has not been done."""
        await store.insert("limits", self._rows)
        self._rows = []


def limit_rows(settings: Settings) -> list[Row]:
    """Rows of table `limits`."""
    return [
        (name.removeprefix(_SETTING), float(getattr(settings, name)))
        for name in type(settings).model_fields
        if name.startswith(_SETTING)
    ]
