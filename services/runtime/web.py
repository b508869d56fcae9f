"""What every service shows over HTTP beside its own work: health, readiness, metrics."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import orjson
from aiohttp import web
from prometheus_client import REGISTRY
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

if TYPE_CHECKING:
    from services.runtime.settings import Settings

Readiness = Callable[[], Awaitable[dict[str, bool]]]
"""Gives each thing that a service depends on, and whether it is there."""


def add_health_routes(app: web.Application, readiness: Readiness) -> None:
    """Add `/healthz` (the process answers), `/readyz` (it can do its work, else 503) and `/metrics`."""

    async def healthz(_: web.Request) -> web.Response:
        return web.json_response({"Status": "ok"})

    async def readyz(_: web.Request) -> web.Response:
        checks = await readiness()
        ready = all(checks.values())
        return json_answer({"Ready": ready, "Checks": checks}, status=200 if ready else 503)

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(REGISTRY), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/metrics", metrics)


def json_answer(value: object, *, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """A JSON response."""
    return web.Response(body=orjson.dumps(value), status=status, content_type="application/json", headers=headers)


async def start_site(app: web.Application, settings: Settings, port: int) -> web.AppRunner:
    """Serve an application. Raises `OSError` where the port is taken."""
    # A peer that takes nothing must not hold up the end of a service; aiohttp would wait a minute for it.
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=3.0)
    await runner.setup()
    await web.TCPSite(runner, settings.host, port).start()
    return runner
