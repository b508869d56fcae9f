"""Drawn room events and reports through the processor's code and the real engine, compared with the oracle of calls."""

from __future__ import annotations

from contextlib import contextmanager
from random import Random
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from services.runtime.clock import now_ms
from tests.oracle.calls import name_of, online, rooms_of, shown_call, shown_end, spans_of
from tests.oracle.drawn_calls import draw_calls

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence

    from services.processor.store import Store
    from services.processor.tables import Row
    from tests.oracle.drawn_calls import DrawnCalls
    from tests.support.processing import Worker


CALM, HASTY = (1, 3, 6, 12), (5, 20, 40)
"""How much comes at once."""


class Died(Exception):
    """A worker's end."""


async def check_calls(
    store: Store, seeds: Sequence[int], first_app: int, worker_type: type[Worker], *, hasty: bool = False
) -> None:
    """Process the scenarios of these seeds, each as an application of its own. Raises where a row is wrong.

    Where it is hasty, much comes at once.
    """
    now = now_ms()
    drawn = {app: draw_calls(seed, app, now) for app, seed in enumerate(seeds, first_app)}
    await process(store, drawn, Random(seeds[0]), worker_type, HASTY if hasty else CALM)
    await _compare(store, drawn)


async def process(
    store: Store,
    drawn: Mapping[int, DrawnCalls],
    random: Random,
    worker_type: type[Worker],
    sizes: Sequence[int],
    after_turn: Callable[[Worker], Awaitable[None]] | None = None,
) -> None:
    """A worker takes in what comes, and crashes: what it took since the last time comes again."""
    worker = worker_type(store)
    committed = dict.fromkeys(drawn, 0)
    while any(committed[app] < len(scenario.coming) for app, scenario in drawn.items()):
        events: dict[int, list[tuple[int, dict[str, Any]]]] = {}
        tasks: dict[int, list[dict[str, Any]]] = {}
        reports: list[tuple[int, int, list[dict[str, Any]]]] = []
        ends = {}
        for app, scenario in drawn.items():
            begin = committed[app]
            ends[app] = end = min(len(scenario.coming), begin + random.choice(sizes))
            for offset in range(begin, end):
                kind, posted = scenario.coming[offset]
                if kind == "event":
                    events.setdefault(app, []).append((offset, posted))
                elif kind == "task":
                    tasks.setdefault(app, []).append(posted)
                else:
                    before = sum(other == "report" for other, _ in scenario.coming[:offset])
                    reports.append((app, before, [posted]))
        halves = [worker.take_many_events(events), worker.take(reports)]
        for half in random.sample(halves, 2):
            await half
        for app, intervals in tasks.items():
            await worker.take_tasks(app, *intervals)
        # It may die before it commits: all that it took in comes again, and what it touched on the way is in Kafka.
        with _dying(store, random.choice(["", "", "", "", "presence", "stay_rows", "call_rows"])):
            try:
                touched = [*worker.journal.entries]
                await worker.recompute()
            except Died:
                touched += worker.journal.entries
                worker = worker_type(store)
                worker.journal.entries += touched
            else:
                committed |= ends
        if after_turn is not None and random.random() < 0.3:
            await after_turn(worker)
    if after_turn is not None:
        await after_turn(worker)


@contextmanager
def _dying(store: Store, table: str) -> Iterator[None]:
    """Who inserts into this table dies."""
    right = store.insert

    async def insert(name: str, rows: Sequence[Row]) -> None:
        if name == table:
            raise Died
        await right(name, rows)

    with patch.object(store, "insert", insert):
        yield


async def _compare(store: Store, drawn: Mapping[int, DrawnCalls]) -> None:
    calls: dict[Any, Any] = {}
    stays: dict[Any, Any] = {}
    users: dict[Any, Any] = {}
    for app, scenario in drawn.items():
        rooms = rooms_of(scenario.events, scenario.reports)
        spans = spans_of(scenario.reports)
        for room, found in rooms.items():
            mine = spans.get(room, [])
            for call in found:
                calls[app, *room, call.start] = (
                    *(name_of(app, room, call), call.creator, call.scene, *shown_call(call, mine)),
                    *(len({stay.user for stay in call.stays}), call.by_reports),
                )
                for stay in call.stays:
                    stays[app, *room, call.start, stay.user, stay.enter, stay.session] = (
                        *(shown_end(stay, mine), stay.role, stay.changes, stay.reason, stay.exit_reason),
                    )
        for bucket, present in online(rooms, scenario.reports, scenario.until).items():
            users[app, bucket] = (len(present), len({room for room, _ in present}))
    scope = {"first": min(drawn), "last": max(drawn)}
    found_calls = {tuple(row[:4]): tuple(row[4:]) for row in await store.query("calls", _CALLS, scope)}
    found_stays = {
        tuple(row[:7]): (*row[7:9], list(zip(row[9], row[10], strict=True)), *row[11:])
        for row in await store.query("stays", _STAYS, scope)
    }
    found_users = {
        (app, bucket): tuple(numbers)
        for app, bucket, *numbers in await store.query("online users", _USERS, scope)
        if bucket < drawn[app].until
    }
    equal(found_stays, stays)
    equal(found_calls, calls)
    equal(found_users, users)


def equal(found: dict[Any, Any], expected: dict[Any, Any]) -> None:
    """Raises where they differ, or where there is nothing at all."""
    keys = found.keys() | expected.keys()
    wrong = [(key, found.get(key), expected.get(key)) for key in keys if found.get(key) != expected.get(key)]
    apps = sorted({key[0] for key, *_ in wrong})
    assert not wrong, f"{len(wrong)} of {len(expected)} rows, of {apps} (key, found, expected): {sorted(wrong)[:3]}"
    assert expected


_SCOPE = "SdkAppId BETWEEN {first:UInt32} AND {last:UInt32}"
_CALLS = f"""
SELECT SdkAppId, RoomId, RoomIdType, toUnixTimestamp64Milli(StartTime), CommId, CreatorId, RoomScene,
    toUnixTimestamp64Milli(FirstEntryTime), toUnixTimestamp64Milli(LastExitTime), toUnixTimestamp64Milli(CloseTime),
    JoinedUsers, FromReports
FROM calls WHERE {_SCOPE}
"""
_STAYS = f"""
SELECT SdkAppId, RoomId, RoomIdType, toUnixTimestamp64Milli(CallTime), UserId, toUnixTimestamp64Milli(EnterTime),
    SessionId, toUnixTimestamp64Milli(ExitTime), Role, arrayMap(at -> toUnixTimestamp64Milli(at), RoleTimes), Roles,
    EnterReason, ExitReason
FROM stays WHERE {_SCOPE}
"""
_USERS = f"""
SELECT SdkAppId, toUnixTimestamp64Milli(BucketTime), OnlineUsers, OnlineRooms FROM app_10s FINAL
WHERE {_SCOPE} AND OnlineUsers > 0
"""
