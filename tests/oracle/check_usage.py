"""Drawn calls and tasks through the processor's code and the real engine, their usage compared with the oracle's."""

from __future__ import annotations

import sys
from collections import defaultdict
from random import Random
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from services.runtime.clock import now_ms
from tests.oracle.check_calls import CALM, HASTY, equal, process
from tests.oracle.drawn_usage import draw_usage
from tests.oracle.usage import SLOT_MS, Tasks, users

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from services.processor.store import Store
    from tests.oracle.drawn_usage import DrawnUsage
    from tests.support.processing import Worker


async def check_usage(
    store: Store, seeds: Sequence[int], first_app: int, worker_type: type[Worker], *, hasty: bool = False
) -> None:
    """As `check_calls`."""
    now = now_ms()
    drawn = {app: draw_usage(seed, app, now) for app, seed in enumerate(seeds, first_app)}

    async def compute(worker: Worker) -> None:
        await worker.compute_usage()

    # Jobs look no further back than the last time, since no insert is under way: what they miss is not made good.
    with patch.object(sys.modules["services.processor.jobs"], "OVERLAP_US", 0):
        await process(store, drawn, Random(seeds[0]), worker_type, HASTY if hasty else CALM, compute)
    await _compare(store, drawn)


async def _compare(store: Store, drawn: Mapping[int, DrawnUsage]) -> None:
    seen: dict[Any, Any] = {}
    charged: dict[Any, Any] = {}
    relayed: dict[Any, Any] = {}
    peaks: dict[Any, Any] = {}
    services: defaultdict[Any, list[int]] = defaultdict(lambda: [0] * 5)
    rooms: defaultdict[Any, list[int]] = defaultdict(lambda: [0] * 5)
    for app, scenario in drawn.items():
        for (slot, room, user), (tiers, silent) in users(scenario.events, scenario.reports, scenario.until).items():
            seen[app, slot, *room, user] = (*tiers, silent)
            _add(services[app, slot, "av", False], tiers)
            _add(rooms[app, slot, *room], tiers)
        tasks = Tasks(scenario.tasks)
        for key, tiers in tasks.slots.items():
            charged[app, *key] = (tasks.modes.get(key, ""), *tiers, tasks.delivered[key] // 8000)
            slot, _, kind, free, room_id, room_id_type, _ = key
            service = {"robot": "av", "record": "recording", "web-record": "recording"}.get(kind, kind)
            _add(services[app, slot, service, free], tiers)
            if kind == "robot":
                _add(rooms[app, slot, room_id, room_id_type], tiers)
        for bucket, (bits, length) in tasks.relayed.items():
            relayed[app, *bucket] = bits // 1000, length
        for relay, peak in tasks.bandwidth().items():
            peaks[app, *relay] = peak
    scope = {"first": min(drawn), "last": max(drawn)}

    async def check(query: str, keys: int, expected: Mapping[Any, Any]) -> None:
        rows = await store.query("usage", query, scope)
        found = {tuple(row[:keys]): tuple(row[keys:]) for row in rows if any(row[keys:])}
        # Of what goes on the last is not settled.
        over = (
            {key: row for key, row in some.items() if key[1] + SLOT_MS <= drawn[key[0]].until}
            for some in (found, expected)
        )
        equal(*over)

    await check(_AV, 5, seen)
    await check(_TASKS, 8, charged)
    await check(_RELAYS, 4, relayed)
    await check(_PEAKS, 3, peaks)
    await check(_SERVICES, 4, {key: tuple(tiers) for key, tiers in services.items()})
    await check(_ROOMS, 4, {key: tuple(tiers) for key, tiers in rooms.items()})


def _add(sums: list[int], tiers: Sequence[int]) -> None:
    for number, ms in enumerate(tiers):
        sums[number] += ms


_SCOPE = "SdkAppId BETWEEN {first:UInt32} AND {last:UInt32}"
_TIERS = "AudioMs, HdMs, FhdMs, TwoKMs, TwoKPlusMs"
_SLOT = "toUnixTimestamp(SlotTime) * 1000"
_AV = f"""
SELECT SdkAppId, {_SLOT}, RoomId, RoomIdType, UserId, {_TIERS}, UnreportedMs FROM av_usage_5m FINAL WHERE {_SCOPE}
"""
_TASKS = f"""
SELECT SdkAppId, {_SLOT}, TaskId, Kind, Free, RoomId, RoomIdType, UserId, RecordMode, {_TIERS}, Bytes
FROM task_usage_5m FINAL WHERE {_SCOPE}
"""
_RELAYS = f"""
SELECT SdkAppId, toUnixTimestamp(BucketTime) * 1000, TaskId, Free, Bits, RelayedMs FROM relay_usage_10s FINAL
WHERE {_SCOPE}
"""
_PEAKS = f"SELECT SdkAppId, {_SLOT}, Free, PeakBitsPerSecond, RelayedMs FROM relay_bandwidth_5m WHERE {_SCOPE}"
_SERVICES = f"SELECT SdkAppId, {_SLOT}, Service, Free, {_TIERS} FROM usage_5m WHERE {_SCOPE}"
_ROOMS = f"SELECT SdkAppId, {_SLOT}, RoomId, RoomIdType, {_TIERS} FROM room_usage WHERE {_SCOPE}"
