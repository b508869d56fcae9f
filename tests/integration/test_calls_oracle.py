"""Drawn room events and reports through the processor's code and the real engine, compared with the oracle of calls.

`ORACLE_SCENARIOS=3000` draws more of them, `ORACLE_SEED` others.
"""

from __future__ import annotations

import os
from random import Random
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from schemas.events import read_event
from services.processor.intake import take_events
from services.processor.records import event_row
from services.processor.store import Store
from services.runtime.clock import now_ms
from tests.oracle.calls import name_of, online, rooms_of, shown_call, shown_end, spans_of
from tests.oracle.drawn_calls import DrawnCalls, draw_calls
from tests.support.processing import Worker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from services.processor.tables import Row
    from services.runtime.settings import Settings

SCENARIOS = int(os.environ.get("ORACLE_SCENARIOS", "60"))
FIRST_SEED = int(os.environ.get("ORACLE_SEED", "1"))
TOGETHER = 60
"""Scenarios of one run, each an application."""


class Died(Exception):
    """A worker's end."""


class MortalStore(Store):
    """Dies before it inserts into a table that is named, once."""

    dies_before = ""

    async def insert(self, table: str, rows: Sequence[Row]) -> None:
        """As `Store.insert`."""
        if table == self.dies_before:
            raise Died
        await super().insert(table, rows)


@pytest.fixture(scope="module")
async def store(tables: Settings) -> AsyncIterator[MortalStore]:
    store = MortalStore(tables)
    yield store
    await store.close()


@pytest.mark.timeout(0)
@pytest.mark.parametrize("first", range(FIRST_SEED, FIRST_SEED + SCENARIOS, TOGETHER))
async def test_calls_stays_and_online_users_are_as_the_oracle_says(store: MortalStore, first: int) -> None:
    seeds = range(first, min(first + TOGETHER, FIRST_SEED + SCENARIOS))
    now = now_ms()
    drawn = {1_600_000_000 + seed: draw_calls(seed, 1_600_000_000 + seed, now) for seed in seeds}
    await _process(store, drawn, Random(first))
    await _compare(store, drawn)


async def _process(store: MortalStore, drawn: Mapping[int, DrawnCalls], random: Random) -> None:
    """A worker takes in what comes, and crashes: what it took since the last time comes again."""
    worker = Worker(store)
    committed = dict.fromkeys(drawn, 0)
    while any(committed[app] < len(scenario.coming) for app, scenario in drawn.items()):
        events = []
        reports: list[tuple[int, int, list[dict[str, Any]]]] = []
        ends = {}
        for app, scenario in drawn.items():
            begin = committed[app]
            ends[app] = end = min(len(scenario.coming), begin + random.choice([1, 3, 6, 12]))
            for offset in range(begin, end):
                told, posted = scenario.coming[offset]
                if told:
                    record = read_event(app, msgspec.json.encode(posted), 0)
                    events.append((record, event_row(record, 0, offset)))
                else:
                    before = sum(not is_event for is_event, _ in scenario.coming[:offset])
                    reports.append((app, before, [posted]))
        halves = [take_events(store, worker.toucher, events), worker.take(reports)]
        for half in random.sample(halves, 2):
            await half
        # It may die before it commits: all that it took in comes again, and what it touched on the way is in Kafka.
        store.dies_before = random.choice(["", "", "", "", "presence", "stay_rows", "call_rows"])
        try:
            touched = [*worker.journal.entries]
            await worker.recompute()
        except Died:
            touched += worker.journal.entries
            worker = Worker(store)
            worker.journal.entries += touched
        else:
            committed |= ends
        store.dies_before = ""


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
    _equal(found_stays, stays)
    _equal(found_calls, calls)
    _equal(found_users, users)


def _equal(found: dict[Any, Any], expected: dict[Any, Any]) -> None:
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
