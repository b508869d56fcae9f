"""Killing in the middle of the work: stop those who could change the numbers, count, kill."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

import psutil
import structlog

from schemas.topics import DELIVERIES, EVENTS, QUALITY, TASKS, TOUCHED
from services.embedded.kafka import wait_ready
from tests.support.lag import group_lag

if TYPE_CHECKING:
    from random import Random

    from tests.chaos.customer import Customer
    from tests.chaos.stream import Stream
    from tests.support.stack import Up

log = structlog.get_logger(__name__)

Victim = Literal["ingest", "processor", "dispatcher", "clickhouse", "kafka", "everything"]
Plan = tuple[tuple[int, Victim], ...]
"""Who is killed, and after how many samples."""
PROCESSED = [topic.name for topic in (QUALITY, EVENTS, TASKS, DELIVERIES, TOUCHED)]
"""The topics of the processor."""
TRIES = 30
FLOW = 1_000
"""Samples that are sent at most for each try to find the middle of the work."""
BACK_WITHIN_S = 120.0
_WRITING_S = 0.05
_STALL_S = 1.2
"""Longer than the processor waits between two commits."""


@dataclass
class Kill:
    """What was outstanding at a kill."""

    victim: Victim
    samples: int
    """Samples sent so far."""
    requests: int
    """Requests on their way to ingest and not answered."""
    callbacks: int
    """Callbacks on their way to the customer and not answered."""
    processor: dict[str, int]
    """By topic, records that the processor had not committed."""
    dispatcher: int
    """Events that the dispatcher had not committed."""
    back_s: float = 0.0
    """Seconds until all that had to was ready again."""

    @property
    def in_the_middle(self) -> bool:
        """Whether requests and offsets were outstanding, above all those that the victim works on."""
        callbacks = bool(self.callbacks and self.dispatcher)
        samples = bool(self.processor[QUALITY.name])
        match self.victim:
            case "ingest" | "kafka":
                chosen = any(self.processor.values())
            case "processor" | "clickhouse":
                chosen = samples
            case "dispatcher":
                chosen = callbacks
            case "everything":
                chosen = callbacks and samples
        return self.requests > 0 and chosen


class Killer:
    """Kills parts of an installation that has work to do."""

    def __init__(self, up: Up, stream: Stream, customer: Customer, random: Random) -> None:
        self._up = up
        self._stream = stream
        self._customer = customer
        self._random = random
        self._bootstrap = up.settings.kafka_bootstrap

    async def kill(self, victim: Victim) -> Kill:
        """Kill at some moment at which there is something outstanding. The stream is held soon after."""
        kill: Kill | None = None
        for _ in range(TRIES):
            # By samples and not by time: a quick machine would be through with them, a slow one not at work yet.
            begun = self._stream.samples
            await self._stream.hold_at(begun + FLOW)
            await self._stream.reached(begun + int(self._random.random() * FLOW))
            kill = await self._kill_unless_idle(victim)
            if kill.in_the_middle:
                return kill
        raise AssertionError(f"never in the middle of the work: {kill}")

    async def revive(self, kill: Kill) -> None:
        """Return when the victim is at work again, and whoever cannot work without it."""
        began = time.monotonic()
        if kill.victim == "everything":
            await asyncio.to_thread(self._up.start)
        if kill.victim == "kafka":
            await wait_ready(self._bootstrap, BACK_WITHIN_S)
        everybody = kill.victim in ("kafka", "everything")
        names = ("ingest", "processor", "dispatcher", "clickhouse") if everybody else (kill.victim,)
        while not all([await asyncio.to_thread(self._up.ready, name) for name in names]):
            assert time.monotonic() < began + BACK_WITHIN_S, f"not back: {kill}"
            await asyncio.sleep(0.1)
        kill.back_s = round(time.monotonic() - began, 1)
        log.info("killed", **asdict(kill))

    async def _kill_unless_idle(self, victim: Victim) -> Kill:
        parts = self._up.parts()
        stopped = ["ingest", "clickhouse"]
        try:
            for name in stopped:
                parts[name].suspend()
            if victim == "processor":
                # It gets stuck between two inserts, and has committed since.
                await asyncio.sleep(self._random.random() * _STALL_S)
            for name in ("processor", "dispatcher"):
                parts[name].suspend()
                stopped.append(name)
            # What the customer answers to a stopped dispatcher nobody reads.
            callbacks = self._customer.in_the_air
            kill = await self._outstanding(victim, callbacks)
            if kill.in_the_middle and victim == "everything":
                await asyncio.to_thread(self._up.kill9_everything)
            elif kill.in_the_middle:
                if victim == "kafka":
                    # It dies while it is being written to, not only while somebody waits to write.
                    parts["ingest"].resume()
                    await self._stream.hold_at(None)
                    await asyncio.sleep(self._random.random() * _WRITING_S)
                parts[victim].kill()
                await asyncio.to_thread(parts[victim].wait)
            return kill
        finally:
            for name in stopped:
                with contextlib.suppress(psutil.NoSuchProcess):
                    parts[name].resume()

    async def _outstanding(self, victim: Victim, callbacks: int) -> Kill:
        processor, dispatcher = await asyncio.gather(
            group_lag(self._bootstrap, "processor", PROCESSED), group_lag(self._bootstrap, "dispatcher", [EVENTS.name])
        )
        stream = self._stream
        return Kill(victim, stream.samples, stream.unanswered, callbacks, processor, dispatcher[EVENTS.name])
