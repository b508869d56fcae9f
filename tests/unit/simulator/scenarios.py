"""Scenarios that the tests of the simulator share."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from services.simulator.traffic.items import ClientReport, Events, Tasks
from services.simulator.traffic.scenario import Scenario
from services.simulator.traffic.stream import traffic

if TYPE_CHECKING:
    from schemas.reports import Report
    from schemas.tasks import TaskInterval
    from services.simulator.traffic.items import Item

START_MS = 1_700_000_000_123
SEEDS = (1, 2, 3)


def scenario(seed: int = 1, **changes: Any) -> Scenario:
    """Twelve rooms for ten minutes: long enough for several calls of a room, of every kind."""
    return Scenario(**{"seed": seed, "start_ms": START_MS, "duration_ms": 600_000, "rooms": 12, **changes})


@cache
def sent(scenario: Scenario) -> list[tuple[int, Item]]:
    """The whole traffic."""
    return list(traffic(scenario))


def events_of(scenario: Scenario) -> list[dict[str, Any]]:
    """All events, in the order of sending."""
    return [event for _, item in sent(scenario) if isinstance(item.content, Events) for event in item.content.events]


def reports_of(scenario: Scenario) -> list[Report]:
    """All reports, in the order of sending."""
    return [item.content.report for _, item in sent(scenario) if isinstance(item.content, ClientReport)]


def intervals_of(scenario: Scenario) -> list[TaskInterval]:
    """All task intervals, in the order of sending."""
    return [
        interval for _, item in sent(scenario) if isinstance(item.content, Tasks) for interval in item.content.intervals
    ]
