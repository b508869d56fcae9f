"""Collecting reports: one Kafka record carries all that arrive for one partition within some milliseconds."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from schemas.keys import report_partition
from schemas.topics import QUALITY
from services.ingest import metrics
from services.ingest.items import Record
from services.ingest.refusals import Refusal, unavailable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from schemas.reports import AcceptedReport
    from services.ingest.outlet import Budget
    from services.runtime.settings import Settings

_BUSY = 2000
"""Reports a second from which on it pays to wait the whole time for others; who has few can do without."""
_SHORTEST = 0.1
_HEAD, _TAIL = b'{"Reports":[', b"]}"


class Sink(Protocol):
    """Where full batches go."""

    quality_partitions: int
    """0 while it is not known."""

    def send(self, records: Sequence[Record]) -> asyncio.Task[None]:
        """A task that ends when the records are safe. Raises `Refusal` where nothing can be sent."""


class _Batch:
    __slots__ = ("partition", "reports", "size", "waiters")

    def __init__(self, partition: int) -> None:
        self.partition = partition
        self.reports: list[bytes] = []
        self.waiters: list[asyncio.Future[None]] = []
        self.size = 0


class Batcher:
    """Puts encoded reports into records. Who adds a report waits until Kafka has its record."""

    def __init__(self, settings: Settings, outlet: Sink, budget: Budget) -> None:
        self._linger_s = settings.ingest_linger_ms / 1000
        self._share = _SHORTEST
        self._added = 0
        self._flushed_at = 0.0
        self._max_reports = settings.ingest_batch_reports
        self._max_bytes = settings.ingest_batch_bytes
        self._ack_timeout_s = settings.ingest_ack_timeout_s
        self._outlet = outlet
        self._budget = budget
        self._open: dict[int, _Batch] = {}
        self._timer: asyncio.TimerHandle | None = None

    def add(self, report: AcceptedReport, encoded: bytes) -> asyncio.Future[None]:
        """A future that is done when Kafka has the report, and fails with a `Refusal` where it is to be sent again."""
        partitions = self._outlet.quality_partitions
        if not partitions:
            raise unavailable("Kafka is out of reach")
        self._budget.take(len(encoded))
        partition = report_partition(report.sdk_app_id, str(report.room_id), report.user_id, partitions)
        batch = self._open.get(partition)
        if batch is not None and batch.size + len(encoded) > self._max_bytes:
            self._send(batch)
            batch = None
        loop = asyncio.get_running_loop()
        if batch is None:
            batch = self._open[partition] = _Batch(partition)
            if self._timer is None:
                self._timer = loop.call_later(self._linger_s * self._share, self.flush)
        self._added += 1
        waiter: asyncio.Future[None] = loop.create_future()
        batch.reports.append(encoded)
        batch.waiters.append(waiter)
        batch.size += len(encoded) + 1
        if len(batch.reports) >= self._max_reports or batch.size >= self._max_bytes:
            self._send(batch)
        return waiter

    def flush(self) -> None:
        """Send everything that was collected now."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        now = asyncio.get_running_loop().time()
        self._share = share_of_linger(self._added, now - self._flushed_at)
        self._added, self._flushed_at = 0, now
        for batch in list(self._open.values()):
            self._send(batch)

    def _send(self, batch: _Batch) -> None:
        del self._open[batch.partition]
        held = sum(map(len, batch.reports))
        value = b"".join((_HEAD, b",".join(batch.reports), _TAIL))
        metrics.BATCH_REPORTS.observe(len(batch.reports))
        batch.reports.clear()
        try:
            task = self._outlet.send([Record(QUALITY.name, value, partition=batch.partition)])
        except Refusal as refusal:
            self._budget.give(held)
            _fail(batch.waiters, refusal.reason)
            return
        too_late = asyncio.get_running_loop().call_later(
            self._ack_timeout_s, _fail, batch.waiters, "Kafka did not acknowledge in time"
        )

        def delivered(task: asyncio.Task[None]) -> None:
            too_late.cancel()
            self._budget.give(held)
            if task.cancelled() or task.exception() is not None:
                _fail(batch.waiters, "Kafka did not take the report")
                return
            for waiter in batch.waiters:
                if not waiter.done():
                    waiter.set_result(None)

        task.add_done_callback(delivered)


def share_of_linger(reports: int, seconds: float) -> float:
    """How much of the linger is worth its wait, by the reports of the last seconds."""
    return min(1.0, max(_SHORTEST, reports / max(seconds, 0.001) / _BUSY))


def _fail(waiters: list[asyncio.Future[None]], reason: str) -> None:
    for waiter in waiters:
        if not waiter.done():
            waiter.set_exception(unavailable(reason))
