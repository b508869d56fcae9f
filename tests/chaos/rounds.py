"""Rounds of callbacks in which somebody is killed while many of them are in the air."""

from __future__ import annotations

import asyncio
import signal
import time
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Literal, Self

import structlog

from schemas.topics import DELIVERIES, EVENTS
from services.runtime.topics import ensure_topics
from tests.chaos.endpoint import KEY, Endpoint
from tests.integration.dispatching import World, room_event
from tests.support.clickhouse import ClickHouseServer, free_port
from tests.support.kafka import KafkaBroker
from tests.support.lag import drained
from tests.support.stack import Stack

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from schemas.applications import Application

log = structlog.get_logger(__name__)

Victim = Literal["dispatcher", "kafka", "clickhouse"]
VICTIMS: tuple[tuple[Victim, ...], ...] = (
    ("dispatcher",),
    ("kafka",),
    ("dispatcher",),
    ("clickhouse",),
    ("dispatcher", "kafka", "clickhouse"),
)
"""Who is killed in one round after another."""
IN_THE_AIR = 100
"""Callbacks that have no answer at every kill, at least."""
_APPLICATIONS = 10
_ROOMS = 50
_WITHIN_S = 180.0


@dataclass
class Round:
    """What a round came to."""

    victims: tuple[Victim, ...]
    in_the_air: int
    """At the kill."""
    answered: int
    """Events of the round that had their 200 at the kill."""
    duplicates: int
    """Requests of the round for an event whose 200 the dispatcher had received before."""
    lost: list[str]
    seconds: float


class Rounds:
    """An installation whose applications ask for the durable schedule, with short times, and half of them for order.

    Rounds follow each other.
    """

    def __init__(self, data: Path, *, seed: int) -> None:
        self._random = Random(seed)
        self.endpoint = Endpoint(Random(seed + 1))
        self.rounds: list[Round] = []
        self.events = 0
        self._stack = Stack(
            data,
            kafka=KafkaBroker(data / "kafka", free_port()),
            clickhouse=ClickHouseServer(data / "clickhouse"),
            ROOMPULSE_CALLBACK_DURABLE_BASE_S="0.1",
            ROOMPULSE_CALLBACK_DURABLE_CAP_S="2",
        )
        self._applications: list[Application] = []

    async def __aenter__(self) -> Self:
        stack = self._stack
        await asyncio.to_thread(stack.kafka.start)
        await asyncio.to_thread(stack.clickhouse.start)
        await ensure_topics(stack.settings)
        await self.endpoint.__aenter__()
        self._world = await World(stack.settings).__aenter__()
        secret = "whsec_" + "QUJD" * 8
        self._applications = [
            await self._world.application(
                key=KEY,
                webhook_secret=secret,
                room_url=self.endpoint.url(f"{number}"),
                schedule="durable",
                ordered=number % 2 == 1,
            )
            for number in range(_APPLICATIONS)
        ]
        self.endpoint.ordered = {str(one.sdk_app_id) for one in self._applications if one.callback.ordered}
        await asyncio.to_thread(stack.start, "processor", "dispatcher")
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._world.__aexit__(*error)
        await asyncio.to_thread(self._stack.stop)
        for server in (self._stack.clickhouse, self._stack.kafka):
            await asyncio.to_thread(server.stop)
        await self.endpoint.__aexit__(*error)

    async def round(self, victims: tuple[Victim, ...], callbacks: int) -> Round:
        """Publish events, kill, and return when everything has been delivered and nothing is left to do."""
        began = time.monotonic()
        number = len(self.rounds)
        requests, duplicates = self.endpoint.requests, self.endpoint.duplicates
        names = [f"r{number}-{place}" for place in range(callbacks)]
        publishing = asyncio.create_task(self._publish(names))
        # Somewhere between the first requests and the last ones.
        after = requests + int(self._random.uniform(0.05, 0.7) * callbacks)
        await self._when(lambda: self.endpoint.requests >= after and self.endpoint.in_the_air >= IN_THE_AIR)
        in_the_air = self.endpoint.in_the_air
        self._kill(victims)
        answered = sum(bool(self.endpoint.answered[name]) for name in names)
        await self._revive(victims)
        await publishing
        lost: list[str] = []
        try:
            await self._when(lambda: all(self.endpoint.answered[name] for name in names))
        except TimeoutError:
            lost = [name for name in names if not self.endpoint.answered[name]]
        self.events += callbacks
        await drained(self._stack.settings.kafka_bootstrap, "dispatcher", [EVENTS.name], within_s=_WITHIN_S)
        ended = Round(
            victims, in_the_air, answered, self.endpoint.duplicates - duplicates, lost, time.monotonic() - began
        )
        self.rounds.append(ended)
        log.info("round", number=number, **{name: getattr(ended, name) for name in Round.__annotations__})
        return ended

    async def recorded(self) -> int:
        """Events that ClickHouse has as delivered, when the processor has nothing left to do."""
        settings = self._stack.settings
        await drained(settings.kafka_bootstrap, "processor", [DELIVERIES.name], within_s=_WITHIN_S)
        found = await asyncio.to_thread(
            self._stack.clickhouse.query,
            f"SELECT uniqExact(EventId) FROM {settings.clickhouse_database}.deliveries WHERE Outcome = 'delivered'",
        )
        return int(found)

    async def waiting(self) -> int:
        """Callbacks that are left in the retry lane."""
        return sum([len(await self._world.lane(application.sdk_app_id)) for application in self._applications])

    async def _publish(self, names: list[str]) -> None:
        for start in range(0, len(names), 500):
            events = [
                room_event(self._applications[number % _APPLICATIONS], 1 + number // _APPLICATIONS % _ROOMS, name)
                for number, name in enumerate(names[start : start + 500], start)
            ]
            await self._world.publish(*events)

    def _kill(self, victims: tuple[Victim, ...]) -> None:
        dispatcher = self._stack.services["dispatcher"]
        self.endpoint.may_repeat = None
        if "dispatcher" in victims:
            assert dispatcher.process is not None
            dispatcher.process.send_signal(signal.SIGSTOP)
            self.endpoint.leave_out_unread()
            dispatcher.kill9()
        if "kafka" in victims:
            self._stack.kafka.kill9()
        if "clickhouse" in victims:
            self._stack.clickhouse.kill9()

    async def _revive(self, victims: tuple[Victim, ...]) -> None:
        await asyncio.sleep(self._random.random())
        if "kafka" in victims:
            await asyncio.to_thread(self._stack.kafka.start)
        if "dispatcher" in victims:
            self.endpoint.may_repeat = {event.user_id or "" for event in await self._world.unfinished()}
            self._stack.services["dispatcher"].launch()
        if "clickhouse" in victims:
            await asyncio.to_thread(self._stack.clickhouse.start)

    async def _when(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(_WITHIN_S):
            while not holds():
                await asyncio.sleep(0.01)
