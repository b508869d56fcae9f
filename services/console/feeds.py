"""Live feeds: one poller an application serves everybody who looks at it."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import structlog

from services.console.board import SHOWN_ATTEMPTS, Board
from services.console.metrics import FEEDS, VIEWERS
from services.console.monitor import Unavailable
from services.console.sse import Event

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

    from services.console.monitor import Attempt, Monitor
    from services.runtime.clock import Clock

log = structlog.get_logger(__name__)

POLL_S = 2.0
HEARTBEAT_S = 5.0
LINGER_S = 60.0
"""A feed outlives its last viewer by this long, so that one who comes back can resume."""
RECENT_MS = 10 * 60_000
"""Callbacks are looked for this far back; now and then everything is, since the log can arrive late."""
FULL_READ_EVERY = 30
MAX_DIGITS = 16


class Feed:
    """Polls one application. Viewers follow it by `messages`; nothing of a viewer is kept here."""

    def __init__(self, monitor: Monitor, sdk_app_id: int, clock: Clock, *, poll_s: float) -> None:
        self.sdk_app_id = sdk_app_id
        self.viewers = 0
        self._monitor = monitor
        self._clock = clock
        self._poll_s = poll_s
        self._board = Board(clock())
        self._epoch = f"{clock():x}"
        self._problem: str | None = None
        self._version = 0
        """Counts what there was to tell: changes of the board, ClickHouse lost and found. 0: nothing was read yet."""
        self._closed = False
        self._changed = asyncio.Condition()

    async def run(self) -> None:
        """Poll until nobody has looked for `LINGER_S`, or until cancelled."""
        idle_s = 0.0
        reads = 0
        while idle_s < LINGER_S:
            changed = await self._poll(full=reads % FULL_READ_EVERY == 0)
            if self._problem is None:
                reads += 1
            if changed:
                await self._announce()
            await asyncio.sleep(self._poll_s)
            idle_s = 0.0 if self.viewers else idle_s + self._poll_s

    async def close(self) -> None:
        """End every viewer's messages."""
        self._closed = True
        await self._announce()

    async def messages(self, last_event_id: str) -> AsyncGenerator[Event, None]:
        """What a viewer has to be told, without end: a snapshot, or from the last event on where that is still known;
        then updates, and heartbeats while nothing happens."""
        seen_revision = self._resumed_revision(last_event_id)
        seen_version = 0
        while not self._closed:
            try:
                async with asyncio.timeout(HEARTBEAT_S):
                    await self._newer_than(seen_version)
            except TimeoutError:
                yield Event("heartbeat", {"Now": self._clock()})
                continue
            seen_version = self._version
            event = self._event(seen_revision)
            seen_revision = self._board.revision or None
            yield event

    async def _poll(self, *, full: bool) -> bool:
        now = self._clock()
        try:
            points, attempts = await asyncio.gather(
                self._monitor.points(self.sdk_app_id, now), self._recent_attempts(now, full=full)
            )
        except Unavailable as error:
            before, self._problem = self._problem, str(error)
            if before is None:
                log.warning("live numbers cannot be read, trying again", reason=self._problem)
            return before != self._problem
        recovered = self._problem is not None
        self._problem = None
        if recovered:
            log.info("live numbers can be read again")
        return self._board.apply(points, attempts, now) or recovered

    async def _recent_attempts(self, now: int, *, full: bool) -> list[Attempt]:
        return await self._monitor.attempts(
            self.sdk_app_id,
            since_ms=None if full else now - RECENT_MS,
            until_ms=now + RECENT_MS,  # a dispatcher's clock may be ahead of ours
            limit=SHOWN_ATTEMPTS,
        )

    def _event(self, seen_revision: int | None) -> Event:
        data = {"SdkAppId": self.sdk_app_id, "Now": self._clock(), "Problem": self._problem}
        revision = self._board.revision
        if revision == 0:
            return Event("problem", data)
        name = "snapshot" if seen_revision is None else "update"
        return Event(name, {**data, **self._board.since(seen_revision or 0)}, id=f"{self._epoch}-{revision}")

    def _resumed_revision(self, last_event_id: str) -> int | None:
        epoch, _, revision = last_event_id.partition("-")
        if epoch != self._epoch or not revision.isdecimal() or len(revision) > MAX_DIGITS:
            return None
        return int(revision) if int(revision) <= self._board.revision else None

    async def _announce(self) -> None:
        self._version += 1
        async with self._changed:
            self._changed.notify_all()

    async def _newer_than(self, version: int) -> None:
        async with self._changed:
            await self._changed.wait_for(lambda: self._closed or self._version > version)


class Feeds:
    """The feeds that somebody looks at."""

    def __init__(self, monitor: Monitor, clock: Clock, *, poll_s: float = POLL_S) -> None:
        self._monitor = monitor
        self._clock = clock
        self._poll_s = poll_s
        self._feeds: dict[int, tuple[Feed, asyncio.Task[None]]] = {}
        self._closed = False

    @contextlib.contextmanager
    def watched(self, sdk_app_id: int) -> Iterator[Feed]:
        """The application's feed, kept running for as long as the block. Raises `Unavailable` at the end of all."""
        if self._closed:
            raise Unavailable("the console is stopping")
        feed = self._feed(sdk_app_id)
        feed.viewers += 1
        VIEWERS.inc()
        try:
            yield feed
        finally:
            feed.viewers -= 1
            VIEWERS.dec()

    async def close(self) -> None:
        """End all feeds and their viewers' messages."""
        self._closed = True
        feeds = list(self._feeds.values())
        for feed, task in feeds:
            task.cancel()
            await feed.close()
        await asyncio.gather(*(task for _, task in feeds), return_exceptions=True)

    def _feed(self, sdk_app_id: int) -> Feed:
        if sdk_app_id not in self._feeds:
            feed = Feed(self._monitor, sdk_app_id, self._clock, poll_s=self._poll_s)
            task = asyncio.create_task(self._run(feed), name=f"feed of {sdk_app_id}")
            self._feeds[sdk_app_id] = (feed, task)
        return self._feeds[sdk_app_id][0]

    async def _run(self, feed: Feed) -> None:
        FEEDS.inc()
        try:
            await feed.run()
        except Exception:
            log.exception("a live feed ended")
            raise
        finally:
            FEEDS.dec()
            del self._feeds[feed.sdk_app_id]
            await feed.close()
