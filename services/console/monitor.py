"""What the console knows of an application's rooms and callbacks, read from ClickHouse."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, TypedDict, cast

import aiohttp
import structlog
from clickhouse_connect.driver.exceptions import ClickHouseError, Error

from services.console import queries
from services.console.buckets import Point, bucket_of, is_provisional, window_start
from services.console.metrics import QUERY_FAILURES, QUERY_SECONDS
from services.console.queries import ANY
from services.runtime.clickhouse import connect

if TYPE_CHECKING:
    from clickhouse_connect.driver.asyncclient import AsyncClient

    from services.console.queries import Narrowed, Query
    from services.runtime.settings import Settings

log = structlog.get_logger(__name__)

CONNECT_TIMEOUT_S = 3
ANSWER_TIMEOUT_S = 10
HISTORY_MS = (10 * 60_000, 6 * 3_600_000, 14 * 86_400_000)
"""How far back the list of callbacks reaches. It is read a little at first, since the log may be long."""
_SETTINGS = {"readonly": 2, "max_execution_time": ANSWER_TIMEOUT_S}


class Unavailable(Exception):
    """What an answer is made of cannot be had now; the message says why in a few words that are safe to show."""


class Room(TypedDict):
    """One room in one bucket. Rates are per cent, None where nobody played."""

    RoomId: str
    RoomIdType: int
    OnlineUsers: int
    AbnormalUsers: int
    VideoStutterRate: float | None
    AudioStutterRate: float | None


class Attempt(TypedDict):
    """One attempt to deliver a callback, named like `schemas.deliveries.DeliveryAttempt`; times in Unix ms."""

    DeliveryId: str
    Attempt: int
    RequestId: str
    EventId: str
    EventGroupId: int
    EventType: int
    EventTime: int
    AcceptedTime: int
    RoomId: str
    RoomIdType: int | None
    UserId: str
    TaskId: str
    Url: str
    CallbackTime: int
    StartedTime: int
    DurationMs: int
    Status: int
    Outcome: str
    ErrorClass: str
    Error: str
    Response: str


class PostedEvent(TypedDict):
    """An event as a media server posted it; `EventInfo` and `Extra` are JSON."""

    EventId: str
    EventGroupId: int
    EventType: int
    EventTime: int
    ArrivalTime: int
    RoomId: str
    RoomIdType: int | None
    UserId: str
    TaskId: str
    EventInfo: str
    Extra: str


class Monitor:
    """Reads the tables. A server that is away is tried again with the next question; every method raises
    `Unavailable`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._client: AsyncClient | None = None
        self._connecting = asyncio.Lock()

    async def close(self) -> None:
        """Let the connections go."""
        if self._client is not None:
            await self._client.close()
            self._client = None

    async def reachable(self) -> bool:
        """Whether ClickHouse answers and has the tables."""
        try:
            await self.points(0, 0, last_bucket_ms=0)
        except Unavailable:
            return False
        return True

    async def points(self, sdk_app_id: int, now_ms: int, *, last_bucket_ms: int | None = None) -> list[Point]:
        """The known points of the chart that ends with a bucket, by default that of now."""
        last = bucket_of(now_ms) if last_bucket_ms is None else last_bucket_ms
        rows = await self._rows("points", queries.points(sdk_app_id, window_start(last), last))
        return [cast("Point", {**row, "Provisional": is_provisional(row["BucketTime"], now_ms)}) for row in rows]

    async def rooms(
        self, sdk_app_id: int, bucket_ms: int, *, page: int, size: int, search: str = ""
    ) -> tuple[list[Room], int]:
        """One page of the rooms of a bucket, pages count from 1, and how many rooms there are in all.

        With `search`, only rooms whose id holds that text.
        """
        offset = (page - 1) * size
        rows, counts = await asyncio.gather(
            self._rows("rooms", queries.rooms(sdk_app_id, bucket_ms, offset=offset, size=size, search=search)),
            self._rows("room_count", queries.room_count(sdk_app_id, bucket_ms, search=search)),
        )
        return cast("list[Room]", rows), counts[0]["Total"]

    async def attempts(
        self,
        sdk_app_id: int,
        *,
        until_ms: int,
        limit: int,
        since_ms: int | None = None,
        narrowed: Narrowed = ANY,
    ) -> list[Attempt]:
        """The last attempts before a time, the newest first."""
        rows: list[dict[str, Any]] = []
        for since in [since_ms] if since_ms is not None else [until_ms - span for span in HISTORY_MS]:
            query = queries.attempts(
                sdk_app_id, since_ms=max(0, since), until_ms=until_ms, limit=limit, narrowed=narrowed
            )
            rows = await self._rows("attempts", query)
            if len(rows) == limit:
                break
        return cast("list[Attempt]", rows)

    async def event(self, sdk_app_id: int, event_id: str, *, room: str | None = None) -> PostedEvent | None:
        """One event, None where the tables do not have it; quicker where its room is known."""
        rows = await self._rows("event", queries.event(sdk_app_id, event_id, room=room))
        return cast("PostedEvent", rows[0]) if rows else None

    async def _rows(self, name: str, query: Query) -> list[dict[str, Any]]:
        began = time.perf_counter()
        try:
            client = await self._connected()
            result = await client.query(query.sql, parameters=dict(query.parameters), settings=_SETTINGS)
        except (ClickHouseError, aiohttp.ClientError, OSError, TimeoutError) as error:
            QUERY_FAILURES.labels(name).inc()
            log.debug("query failed", query=name, error=str(error))
            raise Unavailable(_reason(error)) from error
        QUERY_SECONDS.labels(name).observe(time.perf_counter() - began)
        return list(result.named_results())

    async def _connected(self) -> AsyncClient:
        async with self._connecting:
            if self._client is None:
                self._client = await connect(
                    self._settings, connect_timeout=CONNECT_TIMEOUT_S, send_receive_timeout=ANSWER_TIMEOUT_S
                )
            return self._client


def _reason(error: BaseException) -> str:
    """Server messages can hold addresses and SQL: only what kind of failure it is goes to the page."""
    name = error.name if isinstance(error, Error) else None
    if name in ("UNKNOWN_TABLE", "UNKNOWN_DATABASE"):
        return "ClickHouse has no tables of Roompulse yet; the command migrate makes them"
    if name:
        return f"ClickHouse answers with {name}"
    return "ClickHouse is out of reach"
