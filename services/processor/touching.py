"""Telling those who recompute what new facts touched, and merging what was told."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, TypeVar

import msgspec

from schemas.topics import TOUCHED
from schemas.touched import Touched, TouchedApplication, TouchedCall, owner_of
from services.runtime.journal import Entry

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from services.runtime.journal import Journal

Item = TypeVar("Item")
_ITEMS_A_RECORD = 4_000
"""Kafka takes records of up to a megabyte, and what does not fit would be lost."""

Calls = dict[tuple[int, str], int]
"""(SdkAppId, the room's text) to the earliest event that is new, Unix ms."""


class Merged:
    """What several records touched, each row once."""

    def __init__(self, records: Iterable[Touched]) -> None:
        applications: set[tuple[int, int]] = set()
        self.calls: Calls = {}
        for record in records:
            for application in record.applications:
                applications.update((application.sdk_app_id, bucket) for bucket in application.buckets)
            for call in record.calls:
                key = call.sdk_app_id, call.room_id
                self.calls[key] = min(self.calls.get(key, call.since_ms), call.since_ms)
        self.applications = sorted(applications)
        """(SdkAppId, bucket in Unix ms)."""


class Toucher:
    """Writes to topic `touched`; a call returns when Kafka has it."""

    def __init__(self, journal: Journal, partitions: int) -> None:
        self._journal = journal
        self._partitions = partitions

    async def applications(self, touched: Iterable[tuple[int, int]]) -> None:
        """Buckets of applications."""
        by_application: defaultdict[int, list[int]] = defaultdict(list)
        for app, bucket in touched:
            by_application[app].append(bucket)
        owned: defaultdict[int, list[TouchedApplication]] = defaultdict(list)
        for app, buckets in by_application.items():
            owned[self._owner(str(app))] += [TouchedApplication(app, tuple(part)) for part in _parts(buckets)]
        await self._write(
            (owner, Touched(applications=part)) for owner, apps in owned.items() for part in _records(apps)
        )

    async def calls(self, touched: Calls) -> None:
        """Calls of rooms."""
        owned: defaultdict[int, list[TouchedCall]] = defaultdict(list)
        for (app, room_id), since_ms in touched.items():
            owned[self._owner(f"{app}/{room_id}")].append(TouchedCall(app, room_id, since_ms))
        await self._write(
            (owner, Touched(calls=list(part))) for owner, calls in owned.items() for part in _parts(calls)
        )

    def _owner(self, scope: str) -> int:
        return owner_of(scope, self._partitions)

    async def _write(self, records: Iterable[tuple[int, Touched]]) -> None:
        entries = [Entry(TOUCHED.name, b"", msgspec.json.encode(record), owner) for owner, record in records]
        if entries:
            await self._journal.write(*entries)


def _parts(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    """Of a size that fits a record."""
    for start in range(0, len(items), _ITEMS_A_RECORD):
        yield items[start : start + _ITEMS_A_RECORD]


def _records(scopes: Iterable[TouchedApplication]) -> Iterator[list[TouchedApplication]]:
    """The scopes of one record each, by the number of their buckets."""
    part: list[TouchedApplication] = []
    room = _ITEMS_A_RECORD
    for scope in scopes:
        weight = len(scope.buckets) + 1
        if part and weight > room:
            yield part
            part, room = [], _ITEMS_A_RECORD
        part.append(scope)
        room -= weight
    if part:
        yield part
