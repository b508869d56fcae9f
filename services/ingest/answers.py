"""Every answer of ingest in one shape, whoever makes it: with a request id, and JSON that says what is wrong."""

from __future__ import annotations

import itertools
import secrets
from functools import lru_cache
from time import perf_counter
from typing import TYPE_CHECKING

import msgspec
import structlog
from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from schemas.answers import ErrorAnswer, ErrorDetail
from services.ingest import metrics
from services.ingest.refusals import Refusal
from services.runtime.clock import now_ms

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiohttp.web_request import BaseRequest
    from prometheus_client import Counter, Histogram

log = structlog.get_logger(__name__)
FOR_BROWSERS = frozenset({"/v1/reports", "/v1/time"})
"""Paths that pages of any origin may use."""
_CODES = {404: "ResourceNotFound", 405: "UnsupportedOperation", 413: "BodyTooLarge", 417: "ExpectationFailed"}
_PREFIX = secrets.token_hex(6)
_numbers = itertools.count(1)
_CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Expose-Headers": "X-Request-Id, Retry-After",
}
_PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, POST",
    "Access-Control-Allow-Headers": "Content-Type, Content-Encoding",
    "Access-Control-Max-Age": "86400",
}


def new_request_id() -> str:
    """An id that no other request of any process has."""
    return f"{_PREFIX}-{next(_numbers):x}"


def error_body(refusal: Refusal, request_id: str, path: str) -> bytes:
    """The body of an answer that says no."""
    return msgspec.json.encode(
        ErrorAnswer(
            error=ErrorDetail(code=refusal.code, reason=refusal.reason, field=refusal.field or None),
            request_id=request_id,
            rejected=refusal.rejected,
            server_ms=now_ms() if path == "/v1/reports" else None,
        )
    )


@web.middleware
async def answer(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Name the request, turn exceptions into answers, count."""
    began = perf_counter()
    request_id = new_request_id()
    try:
        response = await handler(request)
    except Refusal as refusal:
        response = refuse(refusal, request_id, request.path)
    except web.HTTPException as error:
        response = _translated(error, request_id, request.path)
    except Exception:
        log.exception("request failed", path=request.path, request_id=request_id)
        response = refuse(Refusal(500, "InternalError", "unexpected error; the log has more"), request_id, request.path)
    response.headers["X-Request-Id"] = request_id
    if request.path in FOR_BROWSERS:
        response.headers.update(_CORS)
    resource = request.match_info.route.resource
    requests, seconds = _metrics_of(resource.canonical if resource else "none", response.status)
    requests.inc()
    seconds.observe(perf_counter() - began)
    return response


@lru_cache(256)
def _metrics_of(path: str, status: int) -> tuple[Counter, Histogram]:
    return metrics.REQUESTS.labels(path, status), metrics.REQUEST_SECONDS.labels(path)


def refuse(refusal: Refusal, request_id: str, path: str) -> web.Response:
    """The answer of a refusal."""
    headers = {} if refusal.retry_after_s is None else {"Retry-After": str(refusal.retry_after_s)}
    return web.Response(
        body=error_body(refusal, request_id, path),
        status=refusal.status,
        content_type="application/json",
        headers=headers,
    )


def _translated(error: web.HTTPException, request_id: str, path: str) -> web.Response:
    code = _CODES.get(error.status, "InvalidRequest")
    response = refuse(Refusal(error.status, code, error.reason), request_id, path)
    if "Allow" in error.headers:
        response.headers["Allow"] = error.headers["Allow"]
    return response


async def preflight(_: web.Request) -> web.Response:
    """What a browser asks before it posts anything but plain text."""
    return web.Response(status=204, headers=_PREFLIGHT)


class _Protocol(RequestHandler):
    """aiohttp's connection, but for answers that it makes without asking the application: they get our shape too."""

    __slots__ = ()

    async def finish_response(
        self, request: BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        if isinstance(resp, web.HTTPException):
            request_id = new_request_id()
            resp = _translated(resp, request_id, request.path)
            resp.headers["X-Request-Id"] = request_id
            resp.force_close()
        return await super().finish_response(request, resp, start_time)

    def handle_error(
        self, request: BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        if request.writer.output_size > 0:
            raise ConnectionError("the answer had begun")
        if status >= 500:
            log.error("connection failed", exc_info=exc)
        request_id = new_request_id()
        reason = (message or "not HTTP").strip().splitlines()[0][:200]
        response = refuse(Refusal(status, "InvalidRequest", reason), request_id, "")
        response.headers["X-Request-Id"] = request_id
        response.force_close()
        metrics.REQUESTS.labels("none", status).inc()
        return response


class _Server(web.Server):
    def __call__(self) -> RequestHandler:
        return _Protocol(self, loop=self._loop, **self._kwargs)


class Runner(web.AppRunner):
    """Serves an application with bodies as they came: nothing is unpacked before its size is known."""

    def __init__(self, app: web.Application) -> None:
        super().__init__(
            app,
            access_log=None,
            shutdown_timeout=1.0,
            auto_decompress=False,
            keepalive_timeout=75.0,
            lingering_time=2.0,
        )

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        return _Server(made.request_handler, request_factory=made.request_factory, loop=made._loop, **made._kwargs)
