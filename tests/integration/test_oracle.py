"""Drawn scenarios through the processor's code and the real engine, compared with the oracle: exactly, row for row.

`ORACLE_SCENARIOS=3000` draws more of them, `ORACLE_SEED` others.
"""

from __future__ import annotations

import os
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from services.processor.store import Store
from services.runtime.clickhouse import migrate
from services.runtime.settings import Settings
from tests.oracle.drawn import draw
from tests.oracle.quality import by_application, by_room, by_session
from tests.support.processing import Worker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.oracle.quality import Numbers
    from tests.support.clickhouse import ClickHouseServer

SCENARIOS = int(os.environ.get("ORACLE_SCENARIOS", "300"))
FIRST_SEED = int(os.environ.get("ORACLE_SEED", "1"))
TOGETHER = 20
"""Scenarios of one run, each an application with partitions of its own."""
PARTITIONS = 2

Record = tuple[int, int, list[dict[str, Any]]]


@pytest.fixture(scope="module")
async def store(clickhouse: ClickHouseServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Store]:
    folder: Path = tmp_path_factory.mktemp("oracle")
    settings = Settings(data=folder, clickhouse_url=f"http://127.0.0.1:{clickhouse.port}")
    await migrate(settings)
    store = Store(settings)
    yield store
    await store.close()


@pytest.mark.timeout(0)
@pytest.mark.parametrize("first", range(FIRST_SEED, FIRST_SEED + SCENARIOS, TOGETHER))
async def test_every_row_is_as_the_oracle_says(store: Store, first: int) -> None:
    seeds = range(first, min(first + TOGETHER, FIRST_SEED + SCENARIOS))
    drawn = {1_400_000_000 + seed: draw(seed, 1_400_000_000 + seed, PARTITIONS) for seed in seeds}
    partitions: dict[int, list[list[dict[str, Any]]]] = {}
    for number, scenario in enumerate(drawn.values()):
        for partition, reports in scenario.records:
            partitions.setdefault(number * PARTITIONS + partition, []).append(reports)
    await _process(store, partitions, Random(first))

    expected_users: dict[Any, Any] = {}
    expected_apps: dict[Any, Any] = {}
    expected_rooms: dict[Any, Any] = {}
    for scenario in drawn.values():
        for ((room, user, session), bucket), numbers in by_session(scenario.reports).items():
            if shown := _shown(numbers):
                met = sorted(exception for _, *exception in numbers.met)
                key = (*room, user, session, bucket)
                expected_users[key] = (numbers.reported_ms, *numbers.tier_ms.values(), *shown, met)
        rooms = by_room(scenario.reports)
        for (room, bucket), numbers in rooms.items():
            if _shown(numbers):
                expected_rooms[*room, bucket] = (len(numbers.online), len(numbers.abnormal), *_shown(numbers))
        for app_bucket, numbers in by_application(rooms).items():
            if _shown(numbers):
                counts = (len(numbers.online), len(numbers.rooms), len(numbers.abnormal))
                expected_apps[app_bucket] = (*counts, *_shown(numbers))
    scope = {"first": min(drawn), "last": max(drawn)}
    found_users = {
        tuple(row[:6]): (*row[6:-1], sorted(list(met) for met in row[-1]))
        for row in await store.query("users", _USERS, scope)
    }
    _equal(found_users, expected_users)
    _equal({tuple(row[:4]): tuple(row[4:]) for row in await store.query("rooms", _ROOMS, scope)}, expected_rooms)
    _equal({tuple(row[:2]): tuple(row[2:]) for row in await store.query("apps", _APPS, scope)}, expected_apps)


async def _process(store: Store, partitions: dict[int, list[list[dict[str, Any]]]], random: Random) -> None:
    """Two workers take turns; they crash, partitions move, and one that has lost them goes on for a turn."""
    workers = [Worker(store), Worker(store)]
    owner = {partition: random.randrange(2) for partition in partitions}
    committed = dict.fromkeys(partitions, 0)
    while any(committed[partition] < len(records) for partition, records in partitions.items()):
        for number in range(2):
            mine = [partition for partition in partitions if owner[partition] == number]
            turn: list[Record] = []
            for partition in mine:
                begin = committed[partition]
                end = min(len(partitions[partition]), begin + random.choice([0, 1, 2, 5, 20]))
                turn += [(partition, offset, partitions[partition][offset]) for offset in range(begin, end)]
            await workers[number].take(turn)
            match random.random():
                case fate if fate < 0.1:
                    # Dies before it commits; what it touched is lost with it, and comes again with the records.
                    workers[number] = Worker(store)
                    continue
                case fate if fate < 0.25:
                    # Loses its partitions before it commits, and does not know yet: its rows come late once more.
                    for partition in mine:
                        owner[partition] = 1 - number
                    await workers[1 - number].take(turn)
                    await workers[number].take(turn)
            for partition, offset, _ in turn:
                committed[partition] = offset + 1
            await workers[number].recompute()
    for worker in workers:
        await worker.recompute()


def _shown(numbers: Numbers) -> tuple[int, ...]:
    """Empty where there is nothing to tell."""
    sums = (numbers.video_stutter_ms, numbers.video_play_ms, numbers.audio_stutter_ms, numbers.audio_play_ms)
    return sums if numbers.online or any(sums) else ()


def _equal(found: dict[Any, Any], expected: dict[Any, Any]) -> None:
    keys = found.keys() | expected.keys()
    wrong = [(key, found.get(key), expected.get(key)) for key in keys if found.get(key) != expected.get(key)]
    assert not wrong, f"{len(wrong)} of {len(expected)} rows (key, found, expected): {wrong[:3]}"
    assert expected


_SUMS = "VideoStutterMs, VideoPlayMs, AudioStutterMs, AudioPlayMs"
_SCOPE = "SdkAppId BETWEEN {first:UInt32} AND {last:UInt32}"
_USERS = f"""
SELECT SdkAppId, RoomId, RoomIdType, UserId, SessionId, toUnixTimestamp64Milli(BucketTime), ReportedMs, HdMs, FhdMs,
    TwoKMs, TwoKPlusMs, {_SUMS},
    arrayMap(met -> (toString(met.Exception), met.PeerId, toString(met.Stream), met.Cause), Exceptions)
FROM user_10s FINAL WHERE {_SCOPE}
"""
_ROOMS = f"""
SELECT SdkAppId, RoomId, RoomIdType, toUnixTimestamp64Milli(BucketTime), OnlineUsers, AbnormalUsers, {_SUMS}
FROM room_10s WHERE {_SCOPE}
"""
_APPS = f"""
SELECT SdkAppId, toUnixTimestamp64Milli(BucketTime), OnlineUsers, OnlineRooms, AbnormalUsers, {_SUMS}
FROM app_10s FINAL WHERE {_SCOPE}
"""
