"""Ingest as a service: listen at once, serve when Kafka and the applications are there, end without losing anything."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog
from aiohttp import web
from aiokafka.errors import KafkaError

from services.ingest.answers import Runner, answer
from services.ingest.authentication import Gate
from services.ingest.batches import Batcher
from services.ingest.outlet import Budget, Outlet
from services.ingest.routes import Routes
from services.runtime.applications import ApplicationTable
from services.runtime.clock import now_ms
from services.runtime.service import CannotStart
from services.runtime.topics import TopicMismatch, ensure_topics
from services.runtime.web import add_health_routes

if TYPE_CHECKING:
    from services.runtime.settings import Settings

log = structlog.get_logger(__name__)
_PAUSE_S = 1.0
_DRAIN_S = 1.0


async def run(settings: Settings, stopping: asyncio.Event) -> None:
    """Serve until `stopping` is set. Raises `CannotStart` where topics contradict the catalogue."""
    applications = ApplicationTable(settings)
    outlet = Outlet(settings)
    budget = Budget(settings.ingest_waiting_bytes)
    batcher = Batcher(settings, outlet, budget)

    async def readiness() -> dict[str, bool]:
        return {"Kafka": outlet.ready, "Applications": applications.ready, "Running": not stopping.is_set()}

    app = web.Application(middlewares=[answer])
    routes = Routes(settings, gate=Gate(applications), outlet=outlet, batcher=batcher, budget=budget, clock=now_ms)
    routes.add_to(app)
    add_health_routes(app, readiness)
    runner = Runner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, settings.host, settings.ingest_port, backlog=1024).start()
        connecting = asyncio.create_task(_connect(settings, applications, outlet))
        waiting = asyncio.create_task(stopping.wait())
        await asyncio.wait([connecting, waiting], return_when=asyncio.FIRST_COMPLETED)
        if connecting.done():
            connecting.result()
            await waiting
        connecting.cancel()
        waiting.cancel()
    finally:
        # Whoever waits for Kafka gets an answer; new requests are told to go elsewhere.
        routes.close()
        for site in list(runner.sites):
            await site.stop()
        batcher.flush()
        await outlet.drain(_DRAIN_S)
        await asyncio.gather(outlet.stop(), applications.stop(), runner.cleanup())


async def _connect(settings: Settings, applications: ApplicationTable, outlet: Outlet) -> None:
    while True:
        try:
            await ensure_topics(settings)
            break
        except TopicMismatch as error:
            raise CannotStart(str(error)) from error
        except (KafkaError, OSError) as error:
            log.warning("waiting for Kafka", bootstrap=settings.kafka_bootstrap, error=str(error))
            await asyncio.sleep(_PAUSE_S)
    outlet.start()
    await applications.start()
