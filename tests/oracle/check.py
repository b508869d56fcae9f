"""Drawn scenarios through the processor's code and the real engine, compared with the oracle: exactly, row for row."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

from tests.oracle.drawn import draw
from tests.oracle.quality import by_application, by_room, by_session

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from services.processor.store import Store
    from tests.oracle.drawn import Drawn
    from tests.oracle.quality import Numbers
    from tests.support.processing import Worker

PARTITIONS = 2

Record = tuple[int, int, list[dict[str, Any]]]


async def check(
    store: Store, seeds: Sequence[int], first_app: int, worker_type: type[Worker], *, calm: bool = False
) -> None:
    """Process the scenarios of these seeds, each as an application of its own. Raises where a row is wrong."""
    drawn = {app: draw(seed, app, PARTITIONS) for app, seed in enumerate(seeds, first_app)}
    partitions: dict[int, list[list[dict[str, Any]]]] = {}
    for number, scenario in enumerate(drawn.values()):
        for partition, reports in scenario.records:
            partitions.setdefault(number * PARTITIONS + partition, []).append(reports)
    await _process(store, partitions, Random(seeds[0]), worker_type, calm=calm)
    await compare(store, drawn)


async def compare(store: Store, drawn: Mapping[int, Drawn]) -> None:
    """Compare the rows of applications that are next to one another with the oracle. Raises where one is wrong."""
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


async def _process(
    store: Store,
    partitions: dict[int, list[list[dict[str, Any]]]],
    random: Random,
    worker_type: type[Worker],
    *,
    calm: bool,
) -> None:
    """Two workers take turns; they crash, partitions move, and who has lost them may go on with what it had read."""
    workers = [worker_type(store), worker_type(store)]
    owner = {partition: random.randrange(2) for partition in partitions}
    committed = dict.fromkeys(partitions, 0)
    stale: list[tuple[Worker, list[Record]]] = []
    restless = 0.0 if calm else random.choice([0.02, 0.1])
    sizes = [4, 8] if calm else random.choice([[1, 2], [1, 2, 3, 8]])
    while any(committed[partition] < len(records) for partition, records in partitions.items()):
        for number, worker in enumerate(workers):
            turn: list[Record] = []
            for partition, records in partitions.items():
                if owner[partition] == number:
                    begin = committed[partition]
                    end = min(len(records), begin + random.choice(sizes))
                    turn += [(partition, offset, records[offset]) for offset in range(begin, end)]
            if not calm and random.random() < 0.25:
                # It has read its turn and is held up, others get the partitions, and it goes on later than they.
                stale.append((worker, turn))
                for partition in {partition for partition, *_ in turn}:
                    owner[partition] = 1 - number
                continue
            await worker.take(turn)
            if not calm and random.random() < 0.1:
                # Dies before it commits; what it touched is lost with it, and comes again with the records.
                workers[number] = worker_type(store)
                continue
            for partition, offset, _ in turn:
                committed[partition] = offset + 1
                if random.random() < restless:
                    owner[partition] = 1 - number
            await worker.recompute()
        while stale and random.random() < 0.4:
            worker, turn = stale.pop()
            await worker.take(turn)
            await worker.recompute()
    for worker, turn in stale:
        await worker.take(turn)
        await worker.recompute()
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
