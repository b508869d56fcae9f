"""Getting requests to ingest: each sender's in order, all of them in the end, with as many at a time as allowed."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from http import HTTPStatus
from random import Random
from typing import TYPE_CHECKING

import aiohttp
import msgspec
from msgspec import Struct

from services.simulator.tally import Refusal

if TYPE_CHECKING:
    from services.simulator.tally import Tally
    from services.simulator.traffic.items import Item
    from services.simulator.wire import Request, Wire

AGAIN = frozenset({429, 500, 502, 503, 504})
STOP = frozenset({401, 403})
FIRST_WAIT_S = 0.1
LONGEST_WAIT_S = 5.0
LONGEST_RETRY_AFTER_S = 60.0
ANSWER_WITHIN_S = 30.0
NEW_APPLICATION_WITHIN_S = 10.0
"""A new application reaches ingest within seconds; so long a refusal of its key is not believed."""
QUEUED_PER_CONNECTION = 8

Acknowledged = Callable[["Item", frozenset[int]], None]
"""Told of every item that ingest took, with the indices in it that were rejected."""


class RefusedByIngest(Exception):
    """Ingest does not know the application or its key, or is no ingest; nothing that follows would be taken."""


class _Rejected(Struct, rename="pascal"):
    index: int
    field: str | None = None
    code: str = ""
    reason: str = ""


class _Answer(Struct, rename="pascal"):
    accepted: int = 0
    rejected: list[_Rejected] = []


class _Error(Struct, rename="pascal"):
    code: str = ""
    reason: str = ""
    field: str | None = None


class _ErrorAnswer(Struct, rename="pascal"):
    error: _Error


class Sender:
    """Sends items and repeats them, byte for byte, until ingest has said yes or no to each.

    Items of one lane go out one after the other; lanes go side by side. Memory is bounded: `submit` waits.
    """

    def __init__(
        self, base_url: str, wire: Wire, tally: Tally, *, concurrency: int, acknowledged: Acknowledged | None = None
    ) -> None:
        self._base_url = base_url.rstrip("/")
        self._wire = wire
        self._tally = tally
        self._concurrency = concurrency
        self._acknowledged = acknowledged
        self._space = asyncio.Semaphore(concurrency * QUEUED_PER_CONNECTION)
        self._lanes: dict[str, deque[Item]] = {}
        self._ready: asyncio.Queue[str] = asyncio.Queue()
        self._idle = asyncio.Event()
        self._idle.set()
        self._known = False
        self._jitter = Random()  # noqa: S311 - spreads retries

    async def work(self) -> None:
        """Send what is submitted, until cancelled. Raises `RefusedByIngest`."""
        try:
            async with (
                aiohttp.ClientSession(
                    connector=aiohttp.TCPConnector(limit=self._concurrency),
                    timeout=aiohttp.ClientTimeout(total=ANSWER_WITHIN_S),
                ) as http,
                asyncio.TaskGroup() as group,
            ):
                for _ in range(self._concurrency):
                    group.create_task(self._work(http))
        except* RefusedByIngest as refusals:
            raise refusals.exceptions[0] from None

    async def submit(self, item: Item) -> None:
        """Take an item; wait while too many are underway."""
        await self._space.acquire()
        self._idle.clear()
        lane = self._lanes.get(item.lane)
        if lane is None:
            self._lanes[item.lane] = deque((item,))
            self._ready.put_nowait(item.lane)
        else:
            lane.append(item)

    async def drain(self) -> None:
        """Return when everything has its answer."""
        await self._idle.wait()

    async def _work(self, http: aiohttp.ClientSession) -> None:
        while True:
            name = await self._ready.get()
            lane = self._lanes[name]
            await self._deliver(http, self._wire.request(lane.popleft()))
            self._space.release()
            if lane:
                self._ready.put_nowait(name)
                continue
            del self._lanes[name]
            if not self._lanes:
                self._idle.set()

    async def _deliver(self, http: aiohttp.ClientSession, request: Request) -> None:
        """Send until there is a final answer."""
        began = asyncio.get_running_loop().time()
        wait_s = FIRST_WAIT_S
        while True:
            status, body, retry_after_s = await self._post(http, request)
            if status == HTTPStatus.OK:
                self._took(request, body)
                return
            if status in STOP:
                error = _error_of(body)
                if self._known or asyncio.get_running_loop().time() - began > NEW_APPLICATION_WITHIN_S:
                    raise RefusedByIngest(f"{self._base_url} answers {status} {error.code}: {error.reason}")
            elif status and status not in AGAIN:
                error = _error_of(body)
                self._tally.requests += 1
                self._tally.refused += 1
                self._refuse(request, status, error.code, error.field, error.reason)
                return
            self._tally.retries += 1
            await asyncio.sleep(max(retry_after_s, wait_s * (0.5 + self._jitter.random())))
            wait_s = min(LONGEST_WAIT_S, wait_s * 2)

    async def _post(self, http: aiohttp.ClientSession, request: Request) -> tuple[int, bytes, float]:
        """Status (0 where there was no answer), body, and how long ingest asks to wait."""
        try:
            async with http.post(
                self._base_url + request.path, data=request.body, headers=request.headers, allow_redirects=False
            ) as answer:
                body = await answer.read()
                self._tally.bytes_sent += len(request.body)
                return answer.status, body, _seconds(answer.headers.get("Retry-After", ""))
        except (aiohttp.ClientError, TimeoutError, OSError):
            return 0, b"", 0.0

    def _took(self, request: Request, body: bytes) -> None:
        self._known = True
        try:
            answer = msgspec.json.decode(body, type=_Answer)
        except msgspec.DecodeError as error:
            raise RefusedByIngest(f"{self._base_url} answers 200 with what no ingest says: {body[:80]!r}") from error
        tally = self._tally
        tally.requests += 1
        tally.accepted += answer.accepted
        tally.rejected += len(answer.rejected)
        for rejected in answer.rejected:
            self._refuse(request, 200, rejected.code, rejected.field, rejected.reason)
        if self._acknowledged is not None:
            self._acknowledged(request.item, frozenset(rejected.index for rejected in answer.rejected))

    def _refuse(self, request: Request, status: int, code: str, field: str | None, reason: str) -> None:
        self._tally.refuse(Refusal(path=request.path, status=status, code=code, field=field or "", reason=reason))


def _error_of(body: bytes) -> _Error:
    with contextlib.suppress(msgspec.DecodeError):
        return msgspec.json.decode(body, type=_ErrorAnswer).error
    return _Error(reason=body[:200].decode(errors="replace"))


def _seconds(retry_after: str) -> float:
    return min(LONGEST_RETRY_AFTER_S, float(retry_after)) if retry_after.isdigit() else 0.0
