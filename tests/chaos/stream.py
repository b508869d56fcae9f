"""The sending side: a simulation that can be held, with a count of what ingest has not answered."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec

from schemas.events import read_event
from services.simulator.sender import Sender
from services.simulator.tally import Tally
from services.simulator.traffic.items import Events
from services.simulator.traffic.stream import traffic
from services.simulator.wire import Wire

if TYPE_CHECKING:
    import aiohttp

    from schemas.applications import Application
    from services.simulator.traffic.items import Item
    from services.simulator.traffic.scenario import Scenario
    from services.simulator.wire import Request


class Stream:
    """The traffic of a scenario, sent as `roompulse simulate --speed max` sends it."""

    def __init__(self, url: str, application: Application, scenario: Scenario, *, concurrency: int = 16) -> None:
        self._app = application.sdk_app_id
        self._scenario = scenario
        self._tally = Tally(self._app, scenario.seed, scenario.start_ms)
        self._sender = _Sender(
            url,
            Wire(self._app, application.secret_key),
            self._tally,
            concurrency=concurrency,
            acknowledged=self._acknowledged,
        )
        self._limit: int | None = None
        self._moved = asyncio.Condition()
        self.event_ids: set[str] = set()
        """Ids of the events that were acknowledged with 200."""
        self.contents: set[str] = set()
        """What these events say, since callbacks carry no id."""

    @property
    def samples(self) -> int:
        """Samples that were handed to the sender."""
        return self._tally.samples

    @property
    def retries(self) -> int:
        """Requests that were sent once more, since there was no answer or 503."""
        return self._tally.retries

    @property
    def unanswered(self) -> int:
        """Requests on their way that ingest has not answered."""
        return self._sender.open

    async def run(self) -> None:
        """Send everything; return when ingest has taken it all."""
        working = asyncio.create_task(self._sender.work())
        sending = asyncio.create_task(self._send())
        try:
            await asyncio.wait([working, sending], return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                working.result()
            sending.result()
        finally:
            for task in (working, sending):
                task.cancel()
            await asyncio.gather(working, sending, return_exceptions=True)
        assert not self._tally.rejected
        assert not self._tally.refused

    async def hold_at(self, samples: int | None) -> None:
        """Send no more than so many samples until told otherwise."""
        async with self._moved:
            self._limit = samples
            self._moved.notify_all()

    async def reached(self, samples: int) -> None:
        """Return when so many samples were sent."""
        async with self._moved:
            await self._moved.wait_for(lambda: self.samples >= samples)

    async def _send(self) -> None:
        for send_ms, item in traffic(self._scenario):
            async with self._moved:
                await self._moved.wait_for(lambda: self._limit is None or self.samples < self._limit)
                self._tally.made(send_ms, item)
                self._moved.notify_all()
            await self._sender.submit(item)
        await self._sender.drain()

    def _acknowledged(self, item: Item, rejected: frozenset[int]) -> None:
        if isinstance(item.content, Events):
            for index, posted in enumerate(item.content.events):
                if index not in rejected:
                    self.event_ids.add(read_event(self._app, msgspec.json.encode(posted), 0).event_id)
                    self.contents.add(content_of(self._app, posted))


class _Sender(Sender):
    """Counts the requests that are out."""

    open = 0

    async def _post(self, http: aiohttp.ClientSession, request: Request) -> tuple[int, bytes, float]:
        self.open += 1
        try:
            return await super()._post(http, request)
        finally:
            self.open -= 1


def content_of(sdk_app_id: int, event: dict[str, Any]) -> str:
    """What stands for all that an event says, its id excepted."""
    content = {name: event[name] for name in ("EventGroupId", "EventType", "EventInfo")}
    return read_event(sdk_app_id, msgspec.json.encode(content), 0).event_id
