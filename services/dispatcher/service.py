"""The dispatcher as a service: wait for Kafka, work until asked to stop, begin anew after what nobody expected."""

from __future__ import annotations

import asyncio
import gc
import resource
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import structlog
from aiohttp import web
from aiokafka.errors import KafkaError

from schemas.topics import DEAD_LETTERS, DELIVERIES, DISABLED_ENDPOINTS, EVENTS, RETRIES
from services.dispatcher.consumer import EventConsumer
from services.dispatcher.disabled import DisabledEndpoints
from services.dispatcher.dispatcher import Dispatcher
from services.dispatcher.monitor import Monitor
from services.dispatcher.notify import Notifier
from services.dispatcher.overflow import LaneReader
from services.dispatcher.sender import HttpSender
from services.runtime.applications import ApplicationTable
from services.runtime.clock import now_ms
from services.runtime.closing import close_soon
from services.runtime.instance import instance_name
from services.runtime.journal import Journal, largest_record
from services.runtime.service import CannotStart
from services.runtime.topics import TopicMismatch, ensure_topics
from services.runtime.web import add_health_routes, start_site

if TYPE_CHECKING:
    from schemas.applications import Application
    from services.dispatcher.scheduler import EndpointKey
    from services.runtime.settings import Settings

log = structlog.get_logger(__name__)
_PAUSE_S = 1.0
_SWEEP_S = 0.25
_LOAD_S = 0.1


class DispatcherService:
    """Everything that the dispatcher holds over its life; `work` is one life of its Kafka clients."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        try:
            HttpSender.of_settings(settings)
        except ValueError as error:
            raise CannotStart(str(error)) from error
        self._instance = instance_name(settings, "dispatcher", settings.dispatcher_port)
        self._consumer: EventConsumer | None = None
        self._dispatcher: Dispatcher | None = None
        self.applications = ApplicationTable(settings, on_change=self._application_changed)
        self.disabled = DisabledEndpoints(settings, on_disabled=self._endpoint_disabled)

    async def readiness(self) -> dict[str, bool]:
        """What the dispatcher needs to send callbacks."""
        return {
            "Applications": self.applications.ready,
            "Partitions": self._consumer is not None and self._consumer.ready,
        }

    async def work(self) -> None:
        """Deliver callbacks until cancelled. Raises what nobody expected."""
        await self.applications.wait_ready()
        await self.disabled.wait_ready()
        failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def fail(error: BaseException) -> None:
            if not failed.done():
                failed.set_exception(error)

        async with AsyncExitStack() as stack:
            sender = await stack.enter_async_context(HttpSender.of_settings(self._settings))
            largest = await largest_record(self._settings, RETRIES, DELIVERIES, DEAD_LETTERS, DISABLED_ENDPOINTS)
            journal = await stack.enter_async_context(Journal(self._settings, largest=largest))
            lane_reader = await stack.enter_async_context(LaneReader(self._settings))
            notifier = await stack.enter_async_context(Notifier(self._settings))
            self._dispatcher = dispatcher = Dispatcher(
                self._settings,
                applications=self.applications,
                journal=journal,
                lane_reader=lane_reader,
                sender=sender,
                monitor=Monitor(now_ms, instance=self._instance, notify=notifier.notify),
                disabled=self.disabled,
                clock=now_ms,
                partitions=await journal.partitions(EVENTS.name),
                on_progress=lambda: consumer.progress(),
                on_failure=fail,
            )
            stack.callback(dispatcher.close)
            consumer = EventConsumer(
                self._settings,
                lanes=await journal.partitions(RETRIES.name),
                instance=self._instance,
                clock=now_ms,
                on_adopt=dispatcher.adopt,
                on_records=dispatcher.take,
                on_release=dispatcher.release,
                on_failure=fail,
            )
            await stack.enter_async_context(consumer)
            self._consumer = consumer
            tasks = [
                asyncio.create_task(consumer.consume(), name="consume"),
                asyncio.create_task(consumer.commit(), name="commit"),
                asyncio.create_task(_sweep(dispatcher, consumer), name="sweep"),
                asyncio.create_task(_load(dispatcher, consumer), name="load"),
            ]
            for task in tasks:
                stack.callback(task.cancel)
            done, _ = await asyncio.wait([failed, *tasks], return_when=asyncio.FIRST_COMPLETED)
            for future in done:
                future.result()

    async def work_for_ever(self) -> None:
        """Begin anew from what Kafka has whenever something breaks, as a process that is started again would."""
        while True:
            try:
                await self.work()
            except (KafkaError, OSError) as error:
                log.warning("Kafka is out of reach, trying again", error=str(error))
            except Exception:
                log.exception("the dispatcher begins anew")
            finally:
                self._consumer = self._dispatcher = None
            await asyncio.sleep(_PAUSE_S)

    def _application_changed(self, application: Application) -> None:
        if self._dispatcher is not None:
            self._dispatcher.application_changed(application)

    def _endpoint_disabled(self, key: EndpointKey) -> None:
        if self._dispatcher is not None:
            self._dispatcher.endpoint_disabled(key)


async def run(settings: Settings, stopping: asyncio.Event) -> None:
    """Deliver callbacks until `stopping` is set."""
    _allow_many_connections()
    _collect_seldom()
    service = DispatcherService(settings)
    app = web.Application()
    add_health_routes(app, service.readiness)
    runner = await start_site(app, settings, settings.dispatcher_port)
    task: asyncio.Task[None] | None = None
    try:
        task = asyncio.create_task(_serve(service, settings))
        waiting = asyncio.create_task(stopping.wait())
        await asyncio.wait([task, waiting], return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if task.done():
            task.result()
    finally:
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        await close_soon(service.applications.stop(), service.disabled.stop(), runner.cleanup())


async def _serve(service: DispatcherService, settings: Settings) -> None:
    while True:
        try:
            await ensure_topics(settings)
            break
        except TopicMismatch as error:
            raise CannotStart(str(error)) from error
        except (KafkaError, OSError) as error:
            log.warning("waiting for Kafka", bootstrap=settings.kafka_bootstrap, error=str(error))
            await asyncio.sleep(_PAUSE_S)
    await service.applications.start()
    await service.disabled.start()
    await service.work_for_ever()


async def _sweep(dispatcher: Dispatcher, consumer: EventConsumer) -> None:
    while True:
        await asyncio.sleep(_SWEEP_S)
        dispatcher.sweep(consumer.partitions)


async def _load(dispatcher: Dispatcher, consumer: EventConsumer) -> None:
    while True:
        await asyncio.sleep(_LOAD_S)
        await dispatcher.load(consumer.partitions)


def _collect_seldom() -> None:
    """Look for cycles seldom: callbacks leave few, and looking took a twentieth of their CPU time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)


def _allow_many_connections() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
