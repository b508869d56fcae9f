"""One simulation from its first request to its summary."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Literal

from services.runtime.clock import Clock, now_ms
from services.simulator.record import EventRecorder
from services.simulator.sender import Sender
from services.simulator.tally import Summary, Tally
from services.simulator.traffic.stream import traffic
from services.simulator.wire import Wire

if TYPE_CHECKING:
    from services.runtime.settings import Settings
    from services.simulator.options import SimulationOptions
    from services.simulator.traffic.items import Item

FINISH_WITHIN_S = 2.0
"""What an interrupted simulation gives requests that are underway."""


async def simulate(settings: Settings, options: SimulationOptions, *, stopping: asyncio.Event | None = None) -> Summary:
    """Run a simulation to its end, or until `stopping` is set.

    Whatever ingest does not take now is sent again until it does. Raises `RefusedByIngest` where ingest does not know
    the application or its key.
    """
    return await Simulation(settings, options).run(stopping or asyncio.Event())


class Simulation:
    """A simulation whose numbers can be watched."""

    def __init__(self, settings: Settings, options: SimulationOptions, *, clock: Clock = now_ms) -> None:
        self._options = options
        self._clock = clock
        self._url = options.ingest_url or f"http://{settings.host}:{settings.ingest_port}"
        scenario = options.scenario
        self.tally = Tally(options.sdk_app_id, scenario.seed, scenario.start_ms)

    async def run(self, stopping: asyncio.Event) -> Summary:
        """Send everything, or what has its time before `stopping` is set."""
        options = self._options
        recorder = EventRecorder(options.record, options.sdk_app_id) if options.record is not None else None
        sender = Sender(
            self._url,
            Wire(options.sdk_app_id, options.secret_key),
            self.tally,
            concurrency=options.concurrency,
            acknowledged=recorder.acknowledged if recorder is not None else None,
        )
        working = asyncio.create_task(sender.work())
        sending = asyncio.create_task(self._send_all(sender))
        stopped = asyncio.create_task(stopping.wait())
        tasks: list[asyncio.Task[None] | asyncio.Task[Literal[True]]] = [working, sending, stopped]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            interrupted = not working.done() and not sending.done()
            if interrupted:
                sending.cancel()
                tasks.append(asyncio.create_task(sender.drain()))
                await asyncio.wait({working, tasks[-1]}, timeout=FINISH_WITHIN_S, return_when=asyncio.FIRST_COMPLETED)
            for task in (working, sending):
                if task.done() and not task.cancelled():
                    task.result()
            return self.tally.summary(interrupted=interrupted)
        finally:
            for running in tasks:
                running.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            if recorder is not None:
                recorder.close()

    async def _send_all(self, sender: Sender) -> None:
        began_ms = self._clock()
        for send_ms, item in traffic(self._options.scenario):
            await self._wait_for(began_ms, send_ms, item)
            self.tally.made(send_ms, item)
            await sender.submit(item)
        await sender.drain()

    async def _wait_for(self, began_ms: int, send_ms: int, item: Item) -> None:
        """Keep time: by the speed, and never tell of anything that the clock has not reached."""
        speed = self._options.speed
        due_ms = item.made_ms
        if speed is not None:
            due_ms = max(due_ms, began_ms + round((send_ms - self._options.scenario.start_ms) / speed))
        wait_ms = due_ms - self._clock()
        if wait_ms > 0:
            await asyncio.sleep(wait_ms / 1000)
