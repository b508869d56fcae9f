"""The console's HTTP interface, as the page uses it: read parameters, ask, answer."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING, Any, get_args

from aiohttp import web

from schemas.deliveries import Outcome
from services.console import sse
from services.console.buckets import BUCKET_MS, POINTS, at_point, bucket_of, dense, latest, window_start
from services.console.errors import ApiError
from services.console.queries import Narrowed
from services.console.store import UnknownApplication
from services.runtime.web import json_answer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from schemas.applications import Application
    from services.console.buckets import Latest
    from services.console.feeds import Feeds
    from services.console.monitor import Monitor, Room
    from services.console.store import ApplicationStore
    from services.runtime.clock import Clock

MAX_ATTEMPTS = 200
MAX_ROOMS_A_PAGE = 100
MAX_DIGITS = 16
MAX_PAGE = 1_000_000
MAX_SEARCH = 64
"""Characters; the longest room id has as many."""
MAX_TIME_MS = 4_102_444_800_000
WRITE_TIMEOUT_S = 30.0
"""A viewer who takes nothing for this long is dropped; the page comes back by itself."""
END_WITHIN_S = 1.0
SEND_BUFFER_BYTES = 128 * 1024
"""What the system may hold back for a viewer who is slow, beside as much in this process."""
COMPRESS_FROM_BYTES = 1024


class Api:
    """Handlers of `/api/…`. Times are Unix milliseconds, rates per cent, null is unknown."""

    def __init__(self, store: ApplicationStore, monitor: Monitor, feeds: Feeds, clock: Clock) -> None:
        self._store = store
        self._monitor = monitor
        self._feeds = feeds
        self._clock = clock
        self._streams: dict[asyncio.Transport, asyncio.Future[None]] = {}
        """Connections of viewers, and what is done when their stream has ended."""

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Add the routes."""
        application = "/api/applications/{id:[0-9]+}"
        router.add_get("/api/applications", self.applications)
        router.add_get(f"{application}/live", self.live)
        router.add_get(f"{application}/charts", self.charts)
        router.add_get(f"{application}/rooms", self.rooms)
        router.add_get(f"{application}/deliveries", self.deliveries)
        router.add_get(f"{application}/stream", self.stream, allow_head=False)

    async def end_streams(self) -> None:
        """End all streams; who does not take the end within `END_WITHIN_S` is cut off."""
        await self._feeds.close()
        if self._streams:
            await asyncio.wait(self._streams.values(), timeout=END_WITHIN_S)
        for transport in self._streams:
            transport.abort()

    async def applications(self, request: web.Request) -> web.Response:
        """Every application, its secrets masked."""
        applications = await asyncio.to_thread(self._store.all)
        return _answer({"Applications": [masked(application) for application in applications]})

    async def live(self, request: web.Request) -> web.Response:
        """The tiles: newest settled bucket, or the bucket `at`."""
        sdk_app_id = await self._application(request)
        return _answer({"SdkAppId": sdk_app_id, "Now": self._clock(), **await self._latest(request, sdk_app_id)})

    async def charts(self, request: web.Request) -> web.Response:
        """64 minutes that end with the present bucket, or with `at`: 384 points, unknown ones too."""
        sdk_app_id = await self._application(request)
        now = self._clock()
        last = _bucket(request, default=bucket_of(now))
        points = await self._monitor.points(sdk_app_id, now, last_bucket_ms=last)
        return _answer(
            {
                "SdkAppId": sdk_app_id,
                "Now": now,
                "StartTime": window_start(last),
                "Step": BUCKET_MS,
                "Count": POINTS,
                "Points": dense(points, last, now),
            }
        )

    async def rooms(self, request: web.Request) -> web.Response:
        """Rooms with users in the newest settled bucket, or in the bucket `at`, paged; `search` in their ids."""
        sdk_app_id = await self._application(request)
        page = _number(request, "page", default=1, low=1, high=MAX_PAGE)
        size = _number(request, "size", default=10, low=1, high=MAX_ROOMS_A_PAGE)
        search = _text(request, "search")
        bucket: int | None
        if "at" in request.query:
            bucket = _bucket(request, default=0)
        else:
            tiles = await self._latest(request, sdk_app_id)
            bucket = None if tiles["State"] in ("none", "stale") else tiles["BucketTime"]
        rooms: list[Room] = []
        total = 0
        if bucket is not None:
            rooms, total = await self._monitor.rooms(sdk_app_id, bucket, page=page, size=size, search=search)
        return _answer(
            {
                "SdkAppId": sdk_app_id,
                "BucketTime": bucket,
                "Page": page,
                "Size": size,
                "Total": total,
                "Rooms": rooms,
            }
        )

    async def deliveries(self, request: web.Request) -> web.Response:
        """The last attempts to deliver callbacks, one row an attempt; with `at`, those until the end of that bucket.

        `outcome` and `search` (in room ids) narrow them down.
        """
        sdk_app_id = await self._application(request)
        limit = _number(request, "limit", default=50, low=1, high=MAX_ATTEMPTS)
        outcome = _text(request, "outcome", allowed=("", *get_args(Outcome)))
        search = _text(request, "search")
        until = _bucket(request, default=bucket_of(self._clock()) + BUCKET_MS) + BUCKET_MS
        narrowed = Narrowed(outcome=outcome, search=search)
        attempts = await self._monitor.attempts(sdk_app_id, until_ms=until, limit=limit, narrowed=narrowed)
        return _answer({"SdkAppId": sdk_app_id, "Deliveries": attempts})

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """Server-sent events: a snapshot, then what changes. Resumes after `Last-Event-ID`."""
        sdk_app_id = await self._application(request)
        last_event_id = request.headers.get("Last-Event-ID", "") or request.query.get("lastEventId", "")
        response = web.StreamResponse(
            headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        )
        with self._feeds.watched(sdk_app_id) as feed:
            await response.prepare(request)
            try:
                with self._ended_at_shutdown(request):
                    _bound_send_buffer(request)
                    await response.write(sse.preamble())
                    async with contextlib.aclosing(feed.messages(last_event_id)) as messages:
                        async for event in messages:
                            async with asyncio.timeout(WRITE_TIMEOUT_S):
                                await response.write(event.encode())
            except (ConnectionResetError, TimeoutError):
                # The viewer went away, or takes nothing: both are theirs to mend.
                if request.transport is not None:
                    request.transport.abort()
        return response

    @contextlib.contextmanager
    def _ended_at_shutdown(self, request: web.Request) -> Iterator[None]:
        transport = request.transport
        if transport is None:
            raise ConnectionResetError
        self._streams[transport] = asyncio.get_running_loop().create_future()
        try:
            yield
        finally:
            self._streams.pop(transport).set_result(None)

    async def _application(self, request: web.Request) -> int:
        text = request.match_info["id"]
        try:
            sdk_app_id = int(text) if len(text) <= MAX_DIGITS else 0
            return (await asyncio.to_thread(self._store.get, sdk_app_id)).sdk_app_id
        except UnknownApplication as error:
            raise ApiError(
                404, "ResourceNotFound", f"there is no application {text[:MAX_DIGITS]}", "SdkAppId"
            ) from error

    async def _latest(self, request: web.Request, sdk_app_id: int) -> Latest:
        now = self._clock()
        if "at" not in request.query:
            return latest(await self._monitor.points(sdk_app_id, now), now)
        bucket = _bucket(request, default=0)
        points = await self._monitor.points(sdk_app_id, now, last_bucket_ms=bucket)
        return at_point(next((point for point in points if point["BucketTime"] == bucket), None), now)


def _bound_send_buffer(request: web.Request) -> None:
    connection = request.get_extra_info("socket")
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)


def masked(application: Application) -> dict[str, Any]:
    """An application for people to see: that there are keys, not which."""
    callback = application.callback
    return {
        "SdkAppId": application.sdk_app_id,
        "Name": application.name,
        "Status": application.status,
        "CreatedTime": application.created_ms,
        "SDKSecretKey": "*****",
        "CallbackKey": "*****" if application.callback_key else "",
        "NextCallbackKey": "*****" if application.next_callback_key else "",
        "WebhookSecret": "*****" if application.webhook_secret else "",
        "NextWebhookSecret": "*****" if application.next_webhook_secret else "",
        "RoomCallbackUrl": callback.room_url,
        "MediaCallbackUrl": callback.media_url,
        "RecordingCallbackUrl": callback.recording_url,
        "RelayCallbackUrl": callback.relay_url,
        "GroupCallbackUrls": callback.group_urls,
        "CallbackSchedule": callback.schedule,
    }


def _answer(value: object) -> web.Response:
    response = json_answer(value, headers={"Cache-Control": "no-store"})
    if isinstance(response.body, bytes) and len(response.body) >= COMPRESS_FROM_BYTES:
        response.enable_compression()
    return response


def _bucket(request: web.Request, *, default: int) -> int:
    """The bucket that `at` falls into."""
    return bucket_of(_number(request, "at", default=default, low=0, high=MAX_TIME_MS))


def _text(request: web.Request, name: str, *, allowed: Sequence[str] | None = None) -> str:
    text = request.query.get(name, "")
    if allowed is not None and text not in allowed:
        raise ApiError(400, "InvalidParameter", f"one of {', '.join(filter(None, allowed))}", name)
    if len(text) > MAX_SEARCH or not text.isprintable():
        raise ApiError(400, "InvalidParameter", f"a text of at most {MAX_SEARCH} printable characters", name)
    return text


def _number(request: web.Request, name: str, *, default: int, low: int, high: int) -> int:
    text = request.query.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS and low <= int(text) <= high):
        raise ApiError(400, "InvalidParameter", f"a whole number from {low} to {high}", name)
    return int(text)
