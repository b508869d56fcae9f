"""Duplicates, reordering and late reports, by the scenario's shares."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.simulator.traffic.roomevents import event_time
from services.simulator.traffic.seeds import random_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from random import Random

    from services.simulator.traffic.items import Event
    from services.simulator.traffic.plan import Room, Stay
    from services.simulator.traffic.scenario import Scenario

    Posted = tuple[int, Event, bool]
    """When it is posted, the event, whether it was posted before."""

DUPLICATE_WITHIN_MS = 30_000
OVERTAKEN_FOR_MS = (1000, 8000)


class Disorder:
    """Decides for one room what is sent late, and what twice."""

    def __init__(self, scenario: Scenario, room: Room) -> None:
        self._scenario = scenario
        self._room = room
        self._rng = random_of(scenario.seed, "disorder", room.index)

    def of_events(self, events: list[Event]) -> list[Posted]:
        """The events in the order of posting. Without disorder that is the order of happening."""
        scenario, rng = self._scenario, self._rng
        posted: list[Posted] = []
        for event in events:
            at_ms = event_time(event)
            if scenario.reorder and rng.random() < scenario.reorder:
                at_ms += rng.randrange(*OVERTAKEN_FOR_MS)
            posted.append((at_ms, event, False))
            if scenario.duplicates and rng.random() < scenario.duplicates:
                posted.append((at_ms + rng.randrange(1, DUPLICATE_WITHIN_MS), event, True))
        posted.sort(key=lambda entry: entry[0])
        return posted

    def of_reports(self, stay: Stay) -> Iterator[tuple[int, ...]]:
        """For each report of a stay, how long after its making it is sent; more than one where it is sent again."""
        rng = random_of(self._scenario.seed, "disorder", self._room.index, stay.user_id, stay.join_ms)
        while True:
            yield self._delays(rng)

    def _delays(self, rng: Random) -> tuple[int, ...]:
        scenario = self._scenario
        delay = 0
        if scenario.late and rng.random() < scenario.late:
            delay = rng.randrange(1, max(2, scenario.late_max_ms))
        elif scenario.reorder and rng.random() < scenario.reorder:
            delay = rng.randrange(*OVERTAKEN_FOR_MS)
        if scenario.duplicates and rng.random() < scenario.duplicates:
            return delay, delay + rng.randrange(1, DUPLICATE_WITHIN_MS)
        return (delay,)
