"""The console's HTTP interface, as the page uses it: read parameters, ask, answer."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING, Any

from aiohttp import web

from services.console import sse
from services.console.buckets import BUCKET_MS, POINTS, at_point, bucket_of, dense, latest, window_start
from services.console.described import keys_and_callbacks
from services.console.parameters import MAX_TIME_MS, answer, application_of, number, text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from schemas.applications import Application
    from services.console.buckets import Latest
    from services.console.feeds import Feeds
    from services.console.monitor import Monitor, Room
    from services.console.store import ApplicationStore
    from services.runtime.clock import Clock

MAX_ROOMS_A_PAGE = 100
MAX_PAGE = 1_000_000
WRITE_TIMEOUT_S = 30.0
"""A viewer who takes nothing for this long is dropped; the page comes back by itself."""
END_WITHIN_S = 1.0
SEND_BUFFER_BYTES = 128 * 1024
"""What the system may hold back for a viewer who is slow, beside as much in this process."""


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
        return answer({"Applications": [masked(application) for application in applications]})

    async def live(self, request: web.Request) -> web.Response:
        """The tiles: newest settled bucket, or the bucket `at`."""
        sdk_app_id = await self._application(request)
        return answer({"SdkAppId": sdk_app_id, "Now": self._clock(), **await self._latest(request, sdk_app_id)})

    async def charts(self, request: web.Request) -> web.Response:
        """64 minutes that end with the present bucket, or with `at`: 384 points, unknown ones too."""
        sdk_app_id = await self._application(request)
        now = self._clock()
        last = _bucket(request, default=bucket_of(now))
        points = await self._monitor.points(sdk_app_id, now, last_bucket_ms=last)
        return answer(
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
        page = number(request, "page", default=1, low=1, high=MAX_PAGE)
        size = number(request, "size", default=10, low=1, high=MAX_ROOMS_A_PAGE)
        search = text(request, "search")
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
        return answer(
            {
                "SdkAppId": sdk_app_id,
                "BucketTime": bucket,
                "Page": page,
                "Size": size,
                "Total": total,
                "Rooms": rooms,
            }
        )

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
        return (await application_of(request, self._store)).sdk_app_id

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
    return {
        "SdkAppId": application.sdk_app_id,
        "Name": application.name,
        "Status": application.status,
        "CreatedTime": application.created_ms,
        **keys_and_callbacks(application, with_keys=False),
    }


def _bucket(request: web.Request, *, default: int) -> int:
    """The bucket that `at` falls into."""
    return bucket_of(number(request, "at", default=default, low=0, high=MAX_TIME_MS))
