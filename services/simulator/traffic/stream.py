"""All rooms together: the one stream of requests that a scenario is."""

from __future__ import annotations

import heapq
from itertools import count
from typing import TYPE_CHECKING

from services.simulator.traffic.rooms import items_of, room_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from services.simulator.traffic.items import Item
    from services.simulator.traffic.scenario import Scenario


def traffic(scenario: Scenario) -> Iterator[tuple[int, Item]]:
    """(when it is sent, item), in the order of sending. Holds the calls that are going on and what is held back."""
    rooms = (items_of(scenario, room_of(index)) for index in range(scenario.rooms))
    made = heapq.merge(*rooms, key=lambda item: item.made_ms)
    return in_order_of_sending(_limited(made, scenario.samples))


def in_order_of_sending(items: Iterable[Item]) -> Iterator[tuple[int, Item]]:
    """Hold items back until their time has come; the times of making give the time."""
    held: list[tuple[int, int, Item]] = []
    arrivals = count()
    for item in items:
        for send_ms in item.send_ms:
            heapq.heappush(held, (send_ms, next(arrivals), item))
        while held and held[0][0] <= item.made_ms:
            send_ms, _, due = heapq.heappop(held)
            yield send_ms, due
    while held:
        send_ms, _, due = heapq.heappop(held)
        yield send_ms, due


def _limited(items: Iterable[Item], samples: int | None) -> Iterator[Item]:
    made = 0
    for item in items:
        yield item
        made += item.samples
        if samples is not None and made >= samples:
            return
