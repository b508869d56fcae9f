"""The console as a service: the page and its interface, and telling every service about applications at start."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog
from aiohttp import web

from services.console.api import Api
from services.console.callbacks import CallbackApi
from services.console.errors import answer_errors, mark_response
from services.console.feeds import POLL_S, Feeds
from services.console.monitor import Monitor
from services.console.origin import is_loopback, refuse_foreign_pages
from services.console.pages import DIST, add_pages, add_security_headers
from services.console.publisher import Publisher
from services.console.replays import Replays
from services.console.store import ApplicationStore, DatabaseUnusable
from services.dispatcher.sender import HttpSender
from services.runtime.clock import Clock, now_ms
from services.runtime.service import CannotStart
from services.runtime.topics import TopicMismatch
from services.runtime.web import add_health_routes, start_site

if TYPE_CHECKING:
    from pathlib import Path

    from services.runtime.settings import Settings

log = structlog.get_logger(__name__)


async def run(settings: Settings, stopping: asyncio.Event) -> None:
    """Serve until the event is set.

    Raises `CannotStart` where the control-plane database cannot be used, a setting is none, or the topics are not as
    they must be.
    """
    try:
        HttpSender.of_settings(settings)
    except ValueError as error:
        raise CannotStart(str(error)) from error
    try:
        store = await asyncio.to_thread(ApplicationStore, settings)
        await asyncio.to_thread(store.all)
    except DatabaseUnusable as error:
        raise CannotStart(str(error)) from error
    monitor = Monitor(settings)
    publisher = Publisher(settings, store)

    async def readiness() -> dict[str, bool]:
        return {"ApplicationsPublished": publisher.ready, "ClickHouse": await monitor.reachable()}

    app = build_app(settings, store, monitor, only_local_names=is_loopback(settings.host))
    add_health_routes(app, readiness)
    try:
        runner = await start_site(app, settings, settings.console_port)
        tasks = [
            asyncio.create_task(publisher.run(), name="publish applications"),
            asyncio.create_task(stopping.wait(), name="stopping"),
        ]
        try:
            log.info("console is up", url=f"http://{settings.host}:{settings.console_port}")
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        except TopicMismatch as error:
            raise CannotStart(str(error)) from error
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await runner.cleanup()
    finally:
        await monitor.close()
        store.close()


def build_app(
    settings: Settings,
    store: ApplicationStore,
    monitor: Monitor,
    *,
    clock: Clock = now_ms,
    poll_s: float = POLL_S,
    dist: Path = DIST,
    only_local_names: bool = True,
) -> web.Application:
    """Everything that is served beside health, readiness and metrics."""
    app = web.Application(middlewares=[answer_errors, refuse_foreign_pages(only_local_names=only_local_names)])
    api = Api(store, monitor, Feeds(monitor, clock, poll_s=poll_s), clock)
    replays = Replays(settings, clock)

    async def end_streams(_: web.Application) -> None:
        await replays.close()
        await api.end_streams()

    app.on_response_prepare.append(add_security_headers)
    app.on_response_prepare.append(mark_response)
    app.on_shutdown.append(end_streams)
    api.add_routes(app.router)
    CallbackApi(settings, store, monitor, replays, clock).add_routes(app.router)
    add_pages(app.router, dist)
    return app
