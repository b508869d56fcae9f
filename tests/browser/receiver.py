"""An ingest that keeps everything it gets and answers as it is told: for tests of the client alone."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Self

import msgspec
from aiohttp import web

from schemas.reports import Report

if TYPE_CHECKING:
    from collections.abc import Callable

CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Headers": "Content-Type, Content-Encoding",
    "Access-Control-Expose-Headers": "Retry-After, X-Request-Id",
}


def now_ms() -> int:
    """Unix milliseconds."""
    return time.time_ns() // 1_000_000


class Receiver:
    """`GET /v1/time` and `POST /v1/reports`. Every body is decoded with the contract's own types.

    `answer` decides on a report: a status, or an exception for a broken connection. `skew_ms` sets its clock off.
    """

    def __init__(self, *, skew_ms: int = 0) -> None:
        self.skew_ms = skew_ms
        self.reports: list[Report] = []
        self.bodies: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        self.answer: Callable[[Report], int] = lambda _: 200
        self.url = ""
        self._runner: web.AppRunner | None = None

    @property
    def clock_ms(self) -> int:
        """The server's time."""
        return now_ms() + self.skew_ms

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=8 << 20)
        app.router.add_get("/v1/time", self._time)
        app.router.add_post("/v1/reports", self._reports)
        app.router.add_options("/v1/reports", self._preflight)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    async def wait_for(self, condition: Callable[[], bool], timeout: float = 60.0) -> None:
        """Until the condition holds; raises `TimeoutError`."""
        async with asyncio.timeout(timeout):
            while not condition():
                await asyncio.sleep(0.05)

    async def _time(self, _: web.Request) -> web.Response:
        return web.json_response({"ServerMs": self.clock_ms}, headers=CORS)

    async def _preflight(self, _: web.Request) -> web.Response:
        return web.Response(status=204, headers=CORS)

    async def _reports(self, request: web.Request) -> web.Response:
        body = await request.read()
        report = msgspec.json.decode(body, type=Report)
        self.bodies.append(body)
        self.headers.append(dict(request.headers))
        self.reports.append(report)
        status = self.answer(report)
        answer = {"Accepted": 1, "Rejected": [], "Seq": report.seq, "ServerMs": self.clock_ms}
        if status != 200:
            answer = {"Error": {"Code": "told to", "Reason": "a test"}, "RequestId": "r", "ServerMs": self.clock_ms}
        return web.json_response(
            answer, status=status, headers={**CORS, **({"Retry-After": "1"} if status == 503 else {})}
        )
