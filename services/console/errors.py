"""Answers that say what went wrong, in one shape: `{"Error": {"Code", "Reason", "Field"?}, "RequestId"}`."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import structlog
from aiohttp import web

from services.console.metrics import REQUESTS
from services.console.monitor import Unavailable
from services.console.store import DatabaseUnusable
from services.runtime.web import json_answer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

log = structlog.get_logger(__name__)

REQUEST_ID = web.RequestKey("request_id", str)
_CODES = {404: "ResourceNotFound", 405: "UnsupportedOperation", 413: "RequestSizeLimitExceeded"}


class ApiError(Exception):
    """A request that cannot be answered as asked."""

    def __init__(self, status: int, code: str, reason: str, field: str = "") -> None:
        super().__init__(reason)
        self.status = status
        self.code = code
        self.reason = reason
        self.field = field


@web.middleware
async def answer_errors(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Turn exceptions into answers, and count every request."""
    request[REQUEST_ID] = uuid.uuid4().hex
    try:
        response = await handler(request)
    except ApiError as error:
        response = _answer(request, error)
    except (Unavailable, DatabaseUnusable) as error:
        response = _answer(request, ApiError(503, "ServiceUnavailable", str(error)), {"Retry-After": "2"})
    except web.HTTPException as error:
        if error.status < 400:
            raise
        code = _CODES.get(error.status, "InvalidParameter")
        response = _answer(request, ApiError(error.status, code, error.reason), _allow(error))
    except Exception:
        log.exception("request failed", path=request.path, request_id=request[REQUEST_ID])
        response = _answer(request, ApiError(500, "InternalError", "unexpected error; the console's log has more"))
    resource = request.match_info.route.resource
    REQUESTS.labels(resource.canonical if resource else "none", response.status).inc()
    return response


async def mark_response(request: web.Request, response: web.StreamResponse) -> None:
    """Add the request's id; a signal, since streams send their headers before the middleware sees them."""
    response.headers["X-Request-Id"] = request.get(REQUEST_ID, "")


def _allow(error: web.HTTPException) -> dict[str, str]:
    return {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}


def _answer(request: web.Request, error: ApiError, headers: dict[str, str] | None = None) -> web.Response:
    what = {"Code": error.code, "Reason": error.reason}
    if error.field:
        what["Field"] = error.field
    body = {"Error": what, "RequestId": request[REQUEST_ID]}
    return json_answer(body, status=error.status, headers=headers)
