"""The console as a service: the page and its interface, and telling every service about applications at start."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import structlog
from aiohttp import web
from aiokafka.errors import KafkaError
from sqlalchemy.exc import SQLAlchemyError

from services.console.api import Api
from services.console.errors import answer_errors, mark_response
from services.console.feeds import POLL_S, Feeds
from services.console.monitor import Monitor
from services.console.pages import DIST, add_pages, add_security_headers
from services.console.publisher import publish_applications
from services.console.store import ApplicationStore
from services.runtime.clock import Clock, now_ms
from services.runtime.service import CannotStart
from services.runtime.web import add_health_routes, start_site

if TYPE_CHECKING:
    from pathlib import Path

    from services.runtime.settings import Settings

log = structlog.get_logger(__name__)

PUBLISH_AGAIN_S = 2.0


async def run(settings: Settings, stopping: asyncio.Event) -> None:
    """Serve until the event is set. Raises `CannotStart` where the control-plane database cannot be used."""
    try:
        store = await asyncio.to_thread(ApplicationStore, settings)
        await asyncio.to_thread(store.all)
    except (SQLAlchemyError, OSError) as error:
        raise CannotStart(f"the control-plane database cannot be used: {error}") from error
    monitor = Monitor(settings)
    publishing = asyncio.create_task(_publish_all(settings, store), name="publish applications")

    async def readiness() -> dict[str, bool]:
        return {"ApplicationsPublished": publishing.done(), "ClickHouse": await monitor.reachable()}

    app = build_app(store, monitor)
    add_health_routes(app, readiness)
    try:
        runner = await start_site(app, settings, settings.console_port)
        try:
            log.info("console is up", url=f"http://{settings.host}:{settings.console_port}")
            await stopping.wait()
        finally:
            await runner.cleanup()
    finally:
        publishing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await publishing
        await monitor.close()
        store.close()


def build_app(
    store: ApplicationStore, monitor: Monitor, *, clock: Clock = now_ms, poll_s: float = POLL_S, dist: Path = DIST
) -> web.Application:
    """Everything that is served beside health, readiness and metrics."""
    app = web.Application(middlewares=[answer_errors])
    feeds = Feeds(monitor, clock, poll_s=poll_s)

    async def end_streams(_: web.Application) -> None:
        await feeds.close()

    app.on_response_prepare.append(add_security_headers)
    app.on_response_prepare.append(mark_response)
    app.on_shutdown.append(end_streams)
    Api(store, monitor, feeds, clock).add_routes(app.router)
    add_pages(app.router, dist)
    return app


async def _publish_all(settings: Settings, store: ApplicationStore) -> None:
    """Publish every application, deleted ones too, however long Kafka takes to come up."""
    told = False
    while True:
        try:
            applications = await asyncio.to_thread(store.all, with_deleted=True)
            await publish_applications(settings, applications)
        except (KafkaError, OSError) as error:
            if not told:
                log.warning("applications cannot be published yet, trying again", error=str(error))
                told = True
            await asyncio.sleep(PUBLISH_AGAIN_S)
        else:
            log.info("applications published", applications=len(applications))
            return
