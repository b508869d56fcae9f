"""Reading what a request asks for, and answering it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

import msgspec

from services.console.errors import ApiError
from services.console.store import UnknownApplication
from services.runtime.web import json_answer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiohttp import web

    from schemas.applications import Application
    from services.console.store import ApplicationStore

T = TypeVar("T")

MAX_DIGITS = 16
MAX_SEARCH = 64
"""Characters; the longest room id has as many."""
MAX_TIME_MS = 4_102_444_800_000
MAX_BODY_BYTES = 256 * 1024
COMPRESS_FROM_BYTES = 1024


async def application_of(request: web.Request, store: ApplicationStore) -> Application:
    """The application that the path names."""
    digits = request.match_info["id"]
    try:
        return await asyncio.to_thread(store.get, int(digits) if len(digits) <= MAX_DIGITS else 0)
    except UnknownApplication as error:
        raise ApiError(404, "ResourceNotFound", f"there is no application {digits[:MAX_DIGITS]}", "SdkAppId") from error


def text(
    request: web.Request, name: str, *, allowed: Sequence[str] | None = None, max_characters: int = MAX_SEARCH
) -> str:
    """A parameter that is a text, empty by default."""
    value = request.query.get(name, "")
    if allowed is not None and value not in allowed:
        raise ApiError(400, "InvalidParameter", f"one of {', '.join(filter(None, allowed))}", name)
    if len(value) > max_characters or not value.isprintable():
        raise ApiError(400, "InvalidParameter", f"a text of at most {max_characters} printable characters", name)
    return value


def number(request: web.Request, name: str, *, default: int, low: int, high: int) -> int:
    """A parameter that is a whole number."""
    value = request.query.get(name)
    if value is None:
        return default
    if not (value.isascii() and value.isdigit() and len(value) <= MAX_DIGITS and low <= int(value) <= high):
        raise ApiError(400, "InvalidParameter", f"a whole number from {low} to {high}", name)
    return int(value)


async def body(request: web.Request, kind: type[T]) -> T:
    """The JSON of a request's body.

    The media type is insisted on: a page of another site cannot send it without asking first, and nobody answers that.
    """
    if request.content_type != "application/json":
        raise ApiError(415, "InvalidParameter", "Content-Type must be application/json")
    content = bytearray()
    async for chunk in request.content.iter_any():
        content += chunk
        if len(content) > MAX_BODY_BYTES:
            raise ApiError(413, "RequestSizeLimitExceeded", f"a body of at most {MAX_BODY_BYTES} bytes")
    try:
        return msgspec.json.decode(content, type=kind)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ApiError(400, "InvalidParameter", str(error)) from error


def answer(value: object, *, status: int = 200) -> web.Response:
    """A JSON answer that nobody keeps, compressed where it is long."""
    response = json_answer(value, status=status, headers={"Cache-Control": "no-store"})
    if isinstance(response.body, bytes) and len(response.body) >= COMPRESS_FROM_BYTES:
        response.enable_compression()
    return response
