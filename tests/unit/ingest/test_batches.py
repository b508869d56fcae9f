from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec
import pytest

from schemas.reports import AcceptedReport, ReportBatch
from services.ingest.batches import Batcher, share_of_linger
from services.ingest.outlet import Budget
from services.ingest.refusals import Refusal, unavailable
from services.runtime.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.ingest.items import Record


class Memory:
    """A sink in memory; records are safe when the test says so."""

    def __init__(self, partitions: int = 4) -> None:
        self.quality_partitions = partitions
        self.records: list[Record] = []
        self.safe: asyncio.Event = asyncio.Event()
        self.failure: Exception | None = None
        self.away = False

    def send(self, records: Sequence[Record]) -> asyncio.Task[None]:
        if self.away:
            raise unavailable("away")
        self.records += records
        return asyncio.create_task(self._wait())

    async def _wait(self) -> None:
        await self.safe.wait()
        if self.failure is not None:
            raise self.failure

    @property
    def sequences(self) -> list[list[int]]:
        """The reports of each record by their numbers."""
        return [[r.seq for r in msgspec.json.decode(x.value, type=ReportBatch).reports] for x in self.records]


class Bench:
    def __init__(self, **settings: float) -> None:
        chosen = Settings(**{"ingest_linger_ms": 60_000, **settings})  # type: ignore[arg-type]
        self.sink = Memory()
        self.budget = Budget(chosen.ingest_waiting_bytes)
        self.batcher = Batcher(chosen, self.sink, self.budget)

    def add(self, seq: int, *, user: str = "alice", room: int = 1) -> asyncio.Future[None]:
        report = AcceptedReport(
            sdk_app_id=1, user_id=user, room_id=room, session_id="s", seq=seq, sent_ms=0, arrival_ms=0
        )
        return self.batcher.add(report, msgspec.json.encode(report))


async def test_a_record_is_sent_when_it_has_enough_reports() -> None:
    bench = Bench(ingest_batch_reports=3)
    waiters = [bench.add(seq) for seq in range(1, 8)]
    assert bench.sink.sequences == [[1, 2, 3], [4, 5, 6]]
    bench.sink.safe.set()
    await asyncio.gather(*waiters[:6])
    assert not waiters[6].done()
    assert bench.budget.used > 0
    bench.batcher.flush()
    await waiters[6]
    assert bench.sink.sequences[2:] == [[7]]
    assert bench.budget.used == 0


async def test_a_record_is_sent_when_it_is_large_enough_and_never_larger() -> None:
    bench = Bench(ingest_batch_bytes=1024)
    waiters = [bench.add(seq) for seq in range(1, 51)]
    bench.batcher.flush()
    bench.sink.safe.set()
    await asyncio.gather(*waiters)
    assert [seq for record in bench.sink.sequences for seq in record] == list(range(1, 51))
    assert max(len(record.value) for record in bench.sink.records) <= 1024 + 20
    assert len(bench.sink.records) < 12


async def test_a_record_is_sent_when_its_time_has_come() -> None:
    bench = Bench(ingest_linger_ms=5)
    bench.sink.safe.set()
    await asyncio.wait_for(asyncio.gather(bench.add(1), bench.add(2)), 5)
    assert bench.sink.sequences == [[1, 2]]
    await asyncio.wait_for(bench.add(3), 5)
    assert bench.sink.sequences == [[1, 2], [3]]


@pytest.mark.parametrize(
    ("reports", "seconds", "share"),
    [(0, 0, 0.1), (1, 3600, 0.1), (5, 0.01, 0.25), (50, 0.025, 1.0), (5000, 0.025, 1.0)],
)
def test_who_has_many_reports_waits_longer_for_a_fuller_record(reports: int, seconds: float, share: float) -> None:
    assert share_of_linger(reports, seconds) == pytest.approx(share)


async def test_a_user_in_a_room_stays_in_one_partition_and_a_room_spreads() -> None:
    bench = Bench()
    for seq in range(1, 201):
        bench.add(seq, user=f"user_{seq % 50}", room=1)
    bench.batcher.flush()
    users = [
        {report.user_id for report in msgspec.json.decode(record.value, type=ReportBatch).reports}
        for record in bench.sink.records
    ]
    assert len(bench.sink.records) == len({record.partition for record in bench.sink.records}) == 4
    assert sum(len(names) for names in users) == 50


async def test_every_waiter_of_a_record_that_failed_is_told_to_come_again() -> None:
    bench = Bench()
    waiters = [bench.add(seq) for seq in (1, 2)]
    bench.batcher.flush()
    bench.sink.failure = OSError("gone")
    bench.sink.safe.set()
    for waiter in waiters:
        with pytest.raises(Refusal) as refusal:
            await waiter
        assert (refusal.value.status, refusal.value.retry_after_s) == (503, 1)
    assert bench.budget.used == 0


async def test_who_waits_too_long_is_told_so_while_the_bytes_still_count() -> None:
    bench = Bench(ingest_ack_timeout_s=0.02)
    waiter = bench.add(1)
    bench.batcher.flush()
    with pytest.raises(Refusal, match="in time"):
        await asyncio.wait_for(waiter, 5)
    assert bench.budget.used > 0
    bench.sink.safe.set()
    while bench.budget.used:
        await asyncio.sleep(0)


async def test_nothing_is_taken_while_kafka_is_away() -> None:
    bench = Bench()
    waiter = bench.add(1)
    bench.sink.away = True
    bench.batcher.flush()
    with pytest.raises(Refusal, match="away"):
        await waiter
    assert bench.budget.used == 0
    bench.sink.quality_partitions = 0
    with pytest.raises(Refusal):
        bench.add(2)
    assert bench.budget.used == 0


async def test_one_that_went_away_does_not_take_the_others_along() -> None:
    bench = Bench()
    first, second = bench.add(1), bench.add(2)
    first.cancel()
    bench.batcher.flush()
    bench.sink.safe.set()
    await second
    assert bench.sink.sequences == [[1, 2]]


def test_a_budget_is_never_exceeded() -> None:
    budget = Budget(100)
    budget.take(60)
    with pytest.raises(Refusal) as refusal:
        budget.take(41)
    assert (refusal.value.status, budget.used) == (503, 60)
    assert "ingest_waiting_bytes" in refusal.value.reason
    budget.take(40)
    budget.give(100)
    assert budget.used == 0
