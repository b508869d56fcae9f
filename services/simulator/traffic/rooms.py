"""Rooms: which there are, and all that one of them says, call after call."""

from __future__ import annotations

import heapq
from itertools import chain, groupby
from typing import TYPE_CHECKING

from services.simulator.traffic.casting import plan_call
from services.simulator.traffic.disorder import Disorder
from services.simulator.traffic.items import Events, Item, Tasks
from services.simulator.traffic.plan import Room
from services.simulator.traffic.recording import record_call
from services.simulator.traffic.relaying import relay_call
from services.simulator.traffic.reporting import reports_of
from services.simulator.traffic.roomevents import CREATED_BEFORE_ENTRY_MS, event_time, room_events
from services.simulator.traffic.seeds import random_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from schemas.tasks import TaskInterval
    from schemas.words import RoomId
    from services.simulator.traffic.disorder import Posted
    from services.simulator.traffic.items import Event
    from services.simulator.traffic.plan import Call, Stay
    from services.simulator.traffic.scenario import Scenario

FIRST_ROOM = 810_000
FLUSH_MS = 200
"""A media server posts what happened in one such span at once."""
FIRST_CALLS_WITHIN_MS = 20_000
LONGEST_PAUSE_MS = 45_000
LEAST_FOR_A_CALL_MS = 5_000


def room_of(index: int) -> Room:
    """The room of an index. The second of four has the text of the first one's number: two rooms, one name."""
    kinds: tuple[RoomId, ...] = (
        FIRST_ROOM + index,
        str(FIRST_ROOM + index - 1),
        FIRST_ROOM + index,
        f"lobby-{index}",
    )
    return Room(
        index=index,
        room_id=kinds[index % 4],
        scene="live" if index % 3 == 1 else "call",
        names_events=index % 2 == 0,
        # With a twin of the same text nobody could find out.
        names_type=index % 4 < 2 or index % 8 == 2,
    )


def calls_of(scenario: Scenario, room: Room) -> Iterator[Call]:
    """The room's calls, one after the other, to the end of the scenario."""
    rng = random_of(scenario.seed, "room", room.index)
    pause_ms = LONGEST_PAUSE_MS
    first_within_ms = FIRST_CALLS_WITHIN_MS
    if scenario.duration_ms is not None:
        first_within_ms = max(1, min(first_within_ms, scenario.duration_ms // 4))
    start_ms = scenario.start_ms + rng.randrange(first_within_ms)
    number = 0
    while scenario.end_ms is None or start_ms + LEAST_FOR_A_CALL_MS <= scenario.end_ms or number == 0:
        call = plan_call(scenario, room, number, start_ms)
        yield call
        number += 1
        start_ms = _after(call) + rng.randrange(9000, pause_ms)


def items_of(scenario: Scenario, room: Room) -> Iterator[Item]:
    """Everything that is sent about a room, in the order in which it is made."""
    disorder = Disorder(scenario, room)
    rest: Iterator[Item] = iter(())
    for call in calls_of(scenario, room):
        # What was held back of the call before may come in the midst of this one.
        for item in rest:
            if item.made_ms >= call.start_ms - CREATED_BEFORE_ENTRY_MS:
                rest = chain((item,), rest)
                break
            yield item
        rest = heapq.merge(rest, _call_items(call, disorder), key=_made)
    yield from rest


def _after(call: Call) -> int:
    """When all is said about a call, but for what is held back."""
    tails = [stay.tail_ms for stay in call.stays if stay.tail_ms is not None]
    return max(call.closed_ms, call.last_removal_ms, call.end_ms + 6500, *tails, 0)


def _call_items(call: Call, disorder: Disorder) -> Iterator[Item]:
    events = room_events(call)
    intervals: list[tuple[int, TaskInterval]] = []
    turn = call.room.index + call.number
    if turn % 3 == 0:
        _extend(events, intervals, record_call(call))
    if turn % 4 == 1:
        _extend(events, intervals, relay_call(call, "relay"))
    if turn % 5 == 2:
        _extend(events, intervals, relay_call(call, "mix"))
    sources = [
        _event_items(call, disorder.of_events(events)),
        _task_items(call, intervals),
        *(_report_items(call, stay, disorder) for stay in call.stays),
    ]
    return heapq.merge(*sources, key=_made)


def _made(item: Item) -> int:
    return item.made_ms


def _extend(
    events: list[Event],
    intervals: list[tuple[int, TaskInterval]],
    more: tuple[list[Event], list[tuple[int, TaskInterval]]],
) -> None:
    events += more[0]
    events.sort(key=event_time)
    intervals += more[1]


def _event_items(call: Call, posted: list[Posted]) -> Iterator[Item]:
    for slot, group in groupby(posted, key=lambda entry: entry[0] // FLUSH_MS):
        at_ms = (slot + 1) * FLUSH_MS
        together = list(group)
        yield Item(
            made_ms=at_ms,
            send_ms=(at_ms,),
            lane=f"media server of {call.room.index}",
            content=Events([event for _, event, _ in together], copies=sum(copy for _, _, copy in together)),
        )


def _task_items(call: Call, intervals: list[tuple[int, TaskInterval]]) -> Iterator[Item]:
    intervals.sort(key=lambda pair: pair[0])
    for at_ms, group in groupby(intervals, key=lambda pair: pair[0]):
        yield Item(
            made_ms=at_ms,
            send_ms=(at_ms,),
            lane=f"tasks of {call.room.index}",
            content=Tasks([interval for _, interval in group]),
        )


def _report_items(call: Call, stay: Stay, disorder: Disorder) -> Iterator[Item]:
    delays = disorder.of_reports(stay)
    for content in reports_of(call, stay):
        made_ms = content.report.sent_ms
        yield Item(
            made_ms=made_ms,
            send_ms=tuple(made_ms + delay for delay in next(delays)),
            lane=content.report.session_id,
            content=content,
        )
