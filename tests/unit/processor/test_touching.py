"""What new facts touched, cut into records and merged again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from schemas.touched import Touched, owner_of
from services.processor.touching import Merged, Toucher

if TYPE_CHECKING:
    from services.runtime.journal import Entry

PARTITIONS = 3
T = 1_700_000_000_000


class Written:
    """A journal that keeps what it is given."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []

    async def write(self, *entries: Entry) -> list[int]:
        self.entries += entries
        return list(range(len(entries)))

    @property
    def records(self) -> list[tuple[int | None, Touched]]:
        return [(entry.partition, msgspec.json.decode(entry.value or b"", type=Touched)) for entry in self.entries]


def toucher() -> tuple[Toucher, Written]:
    journal = Written()
    return Toucher(journal, PARTITIONS), journal  # type: ignore[arg-type]


async def test_what_is_cut_into_records_comes_together_again() -> None:
    """An application with more buckets than a record holds, and more applications than a record holds."""
    touched = {(1, T + number * 10_000) for number in range(9_001)}
    touched |= {(app, T + late) for app in range(2, 5_002) for late in (0, 10_000)}
    sender, journal = toucher()
    await sender.applications(touched)
    merged = Merged(record for _, record in journal.records)
    assert merged.applications == sorted(touched)
    assert max(len(entry.value or b"") for entry in journal.entries) < 500_000
    assert len(journal.entries) > PARTITIONS


async def test_all_of_a_room_meets_in_the_partition_of_its_text() -> None:
    sender, journal = toucher()
    await sender.calls({(1, str(number)): T for number in range(50)})
    await sender.applications((app, T) for app in range(1, 51))
    for partition, record in journal.records:
        scopes = [f"{call.sdk_app_id}/{call.room_id}" for call in record.calls]
        scopes += [str(application.sdk_app_id) for application in record.applications]
        assert scopes
        for scope in scopes:
            assert partition == owner_of(scope, PARTITIONS)
    assert {partition for partition, _ in journal.records} == set(range(PARTITIONS))


async def test_of_one_call_the_earliest_event_counts() -> None:
    sender, journal = toucher()
    for since_ms in (T + 5, T, T + 9):
        await sender.calls({(1, "a"): since_ms})
    await sender.applications([(2, T), (1, T + 10_000), (1, T)])
    await sender.applications([(1, T)])
    merged = Merged(record for _, record in journal.records)
    assert merged.calls == {(1, "a"): T}
    assert merged.applications == [(1, T), (1, T + 10_000), (2, T)]


async def test_nothing_touched_is_nothing_written() -> None:
    sender, journal = toucher()
    await sender.applications([])
    await sender.calls({})
    assert journal.entries == []
