"""What the processor does by the clock: look what changed since the last time, and compute what follows from it.

A job may run twice, or in two processes at once, and changes nothing by that. How far it is stands in table `progress`.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Protocol

import structlog

from schemas.touched import BUCKET_MS
from services.processor import metrics
from services.processor.presence import AHEAD_MS, HOUR_MS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from services.processor.rollups import Coarser
    from services.processor.store import Store
    from services.processor.touching import Toucher

log = structlog.get_logger(__name__)

OVERLAP_US = 65_000_000
"""An insert may need so long until its rows can be read, and they are older by then."""
_PAUSE_S = 0.5
_MISSED_MS = 24 * 3_600_000


class Job(Protocol):
    """Something that is done again and again."""

    name: str
    every_s: float

    async def run(self, store: Store) -> None:
        """Do it once."""


class Progress:
    """How far a job is, by the database's clock in Unix microseconds."""

    def __init__(self, name: str) -> None:
        self._name = name

    async def begin(self, store: Store) -> tuple[int, int]:
        """Since when there is something to do, 0 at the first time, and the time that it is now."""
        ((until, now),) = await store.query(
            "progress",
            "SELECT toUnixTimestamp64Micro(maxOrDefault(Until)) AS Until, toUnixTimestamp64Micro(now64(6)) "
            "FROM progress WHERE Name = {name:String}",
            {"name": self._name},
        )
        return until, now

    async def done(self, store: Store, until_us: int) -> None:
        """Note that what was computed before this time is done."""
        await store.execute(
            "progress",
            "INSERT INTO progress (Name, Until) SELECT {name:String}, fromUnixTimestamp64Micro({until:Int64}, 'UTC')",
            {"name": self._name, "until": until_us},
        )


def since_of(until_us: int) -> str:
    """From when on a job has to look for what changed, as a parameter of ClickHouse."""
    return f"{max(0, until_us - OVERLAP_US) / 1e6:.6f}"


class CoarserRollups:
    """Keeps the rollups of one length of buckets up to date."""

    def __init__(self, coarser: Coarser, every_s: float) -> None:
        self.name = f"rollups of {coarser.suffix}"
        self.every_s = every_s
        self._coarser = coarser
        self._progress = Progress(self.name)

    async def run(self, store: Store) -> None:
        """Compute the buckets of which something finer was computed."""
        until_us, now_us = await self._progress.begin(store)
        since = {"since": since_of(until_us)}
        await store.execute(f"{self.name}, users", self._coarser.users, since)
        await store.execute(f"{self.name}, applications", self._coarser.applications, since)
        await self._progress.done(store, now_us)


class PresentUsers:
    """Touches the applications that have somebody in a room: an open stay changes numbers by the passing of time."""

    name = "present users"
    every_s = 5.0

    def __init__(self, toucher: Toucher) -> None:
        self._toucher = toucher
        self._progress = Progress(self.name)

    async def run(self, store: Store) -> None:
        """Touch every bucket since the last time."""
        until_us, now_us = await self._progress.begin(store)
        now = now_us // 1000
        first = max(until_us // 1000, now - _MISSED_MS) if until_us else now
        buckets = range(first - first % BUCKET_MS - BUCKET_MS, now, BUCKET_MS)
        found = await store.query(
            "present users",
            "SELECT DISTINCT SdkAppId FROM presence FINAL WHERE NOT Removed "
            "AND HourTime >= toStartOfHour(fromUnixTimestamp64Milli({first:Int64}, 'UTC')) "
            "AND (ExitTime IS NULL OR ExitTime >= fromUnixTimestamp64Milli({first:Int64}, 'UTC'))",
            {"first": buckets.start},
        )
        await self._toucher.applications((app, bucket) for (app,) in found for bucket in buckets)
        await self._progress.done(store, now_us)


class PresenceHours:
    """Gives open stays their row of table `presence` for the hour that comes."""

    name = "presence of the next hour"
    every_s = 60.0

    def __init__(self) -> None:
        self._progress = Progress(self.name)

    async def run(self, store: Store) -> None:
        """Add rows hour by hour since the last time; rows that are there stay as they are."""
        until_us, now_us = await self._progress.begin(store)
        last = (now_us // 1000 + AHEAD_MS) // HOUR_MS * HOUR_MS
        first = last if not until_us else max(until_us // 1000, now_us // 1000 - _MISSED_MS) // HOUR_MS * HOUR_MS
        for hour in range(first, last + 1, HOUR_MS):
            await store.execute(self.name, _NEXT_HOUR, {"hour": hour // 1000})
        await self._progress.done(store, now_us)


# With the time of the row that they come from: what was computed since wins.
_NEXT_HOUR = """
INSERT INTO presence (SdkAppId, HourTime, RoomId, RoomIdType, UserId, EnterTime, ExitTime, SessionId, Removed,
    ComputedTime)
SELECT SdkAppId, toDateTime({hour:UInt32}, 'UTC'), RoomId, RoomIdType, UserId, EnterTime, NULL, SessionId, false,
    ComputedTime
FROM presence FINAL
WHERE HourTime = toDateTime({hour:UInt32}, 'UTC') - INTERVAL 1 HOUR AND NOT Removed AND ExitTime IS NULL
    AND (SdkAppId, RoomId, RoomIdType, UserId, EnterTime) NOT IN (
        SELECT SdkAppId, RoomId, RoomIdType, UserId, EnterTime FROM presence
        WHERE HourTime = toDateTime({hour:UInt32}, 'UTC'))
"""


async def run_jobs(jobs: Sequence[Job], store: Store, chosen: Callable[[], bool]) -> None:
    """Run each job at its times, one after the other, while this worker is the chosen one. Ends by cancellation."""
    due = dict.fromkeys((job.name for job in jobs), 0.0)
    while True:
        for job in jobs:
            if chosen() and due[job.name] <= time.monotonic():
                due[job.name] = time.monotonic() + job.every_s
                began = time.perf_counter()
                try:
                    await job.run(store)
                except Exception:
                    metrics.FAILED_JOBS.labels(job.name).inc()
                    log.exception("job failed, trying again at its next time", job=job.name)
                metrics.JOB_SECONDS.labels(job.name).observe(time.perf_counter() - began)
        await asyncio.sleep(_PAUSE_S)
