"""The processor as a service: wait for Kafka and ClickHouse, work until asked to stop, begin anew when Faust breaks."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from typing import TYPE_CHECKING

import aiohttp
import structlog
from aiohttp import web
from aiokafka.errors import KafkaError
from clickhouse_connect.driver.exceptions import ClickHouseError, Error
from faust.types import TP

from schemas.topics import TOUCHED
from services.processor.app import build_app
from services.processor.catalogue import Catalogue
from services.processor.jobs import CoarserRollups, PresenceHours, PresentUsers, run_jobs
from services.processor.limits import Limits
from services.processor.recompute import Recomputer
from services.processor.retention import Retention
from services.processor.rollups import DAYS, HOURS, MINUTES
from services.processor.store import Store
from services.processor.touching import Toucher
from services.processor.usage.jobs import AvUsage, TasksUsage
from services.runtime.clickhouse import migrate
from services.runtime.instance import instance_name
from services.runtime.journal import Journal, largest_record
from services.runtime.service import CannotStart
from services.runtime.topics import TopicMismatch, ensure_topics
from services.runtime.web import add_health_routes, start_site

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import faust

    from services.processor.jobs import Job
    from services.runtime.settings import Settings

log = structlog.get_logger(__name__)

_PAUSE_S = 1.0
_STOP_WITHIN_S = 3.0
_COLLECT_EVERY_S = 60.0


class ProcessorService:
    """Everything that the processor holds over its life; `work` is one life of its Kafka clients."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._instance = instance_name(settings, "processor", settings.processor_port)
        self._catalogue = Catalogue(settings)
        self._retention = Retention(settings, lambda: self._catalogue.complete)
        self._app: faust.App | None = None
        self._store: Store | None = None

    async def readiness(self) -> dict[str, bool]:
        """What the processor needs to do its work."""
        return {
            "Partitions": self._app is not None and bool(self._app.consumer.assignment()) and not self._app.rebalancing,
            "ClickHouse": self._store is not None and not self._store.failing,
        }

    def _is_chosen(self) -> bool:
        """Whether this worker does the periodic jobs: one of all has the first partition."""
        return self._app is not None and TP(TOUCHED.name, 0) in self._app.consumer.assignment()

    async def prepare(self) -> None:
        """Wait until topics and tables are there. Raises `CannotStart` where they are not as they must be."""
        await self._until_there("Kafka", lambda: ensure_topics(self._settings))
        await self._until_there("ClickHouse", lambda: migrate(self._settings))
        await self._catalogue.start()

    async def close(self) -> None:
        """Let go of what outlives `work`."""
        await self._catalogue.stop()

    async def work(self) -> None:
        """Process until cancelled, or until Faust has crashed."""
        self._store = store = Store(self._settings)
        try:
            async with Journal(self._settings, largest=await largest_record(self._settings, TOUCHED)) as journal:
                toucher = Toucher(journal, await journal.partitions(TOUCHED.name))
                app = build_app(self._settings, self._instance, store, toucher, Recomputer(store, toucher))
                app.finalize()
                try:
                    await app.start()
                    self._app = app
                    jobs = [
                        asyncio.create_task(run_jobs(some, store, self._is_chosen))
                        # Deleting may take long, and nobody has to wait for it.
                        for some in (self._jobs(toucher), [self._retention])
                    ]
                    try:
                        await _crashed(app)
                    finally:
                        for task in jobs:
                            task.cancel()
                    log.error("Faust has crashed", reason=repr(app.crash_reason))
                finally:
                    self._app = None
                    await asyncio.wait([asyncio.create_task(app.stop())], timeout=_STOP_WITHIN_S)
        finally:
            await store.close()

    async def work_for_ever(self) -> None:
        """Begin anew from what Kafka has whenever something breaks, as a process that is started again would."""
        while True:
            try:
                await self.work()
            except (KafkaError, OSError) as error:
                log.warning("Kafka is out of reach, trying again", error=str(error))
            except Exception:
                log.exception("the processor begins anew")
            await asyncio.sleep(_PAUSE_S)

    def _jobs(self, toucher: Toucher) -> list[Job]:
        return [
            self._catalogue,
            Limits(self._settings),
            PresentUsers(toucher),
            PresenceHours(),
            AvUsage(),
            TasksUsage(),
            CoarserRollups(MINUTES, every_s=60),
            CoarserRollups(HOURS, every_s=300),
            CoarserRollups(DAYS, every_s=1800),
        ]

    async def _until_there(self, what: str, attempt: Callable[[], Awaitable[object]]) -> None:
        while True:
            try:
                await attempt()
            except TopicMismatch as error:
                raise CannotStart(str(error)) from error
            except (KafkaError, ClickHouseError, Error, aiohttp.ClientError, OSError, TimeoutError) as error:
                log.warning(f"waiting for {what}", error=str(error))
                await asyncio.sleep(_PAUSE_S)
            else:
                return


async def run(settings: Settings, stopping: asyncio.Event) -> None:
    """Process until `stopping` is set."""
    # A turn makes hundreds of thousands of objects and no cycles: looking for some at every turn doubles its time.
    gc.disable()
    service = ProcessorService(settings)
    app = web.Application()
    add_health_routes(app, service.readiness)
    runner = await start_site(app, settings, settings.processor_port)
    task = asyncio.create_task(_serve(service))
    collecting = asyncio.create_task(_collect_garbage())
    waiting = asyncio.create_task(stopping.wait())
    try:
        await asyncio.wait([task, waiting], return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
    finally:
        waiting.cancel()
        collecting.cancel()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await service.close()
        await runner.cleanup()


async def _serve(service: ProcessorService) -> None:
    await service.prepare()
    await service.work_for_ever()


async def _collect_garbage() -> None:
    while True:
        await asyncio.sleep(_COLLECT_EVERY_S)
        gc.collect()


async def _crashed(app: faust.App) -> None:
    """Return when the app or a part of it has crashed."""
    while not app.should_stop:  # noqa: ASYNC110 -- the event itself belongs to a library's inside
        await asyncio.sleep(0.2)
