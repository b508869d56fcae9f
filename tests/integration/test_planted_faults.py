"""Faults planted in turn into the processor's code: the comparison with the oracle has to find every one."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from itertools import count
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.oracle.check import check
from tests.oracle.check_calls import check_calls
from tests.oracle.check_usage import check_usage
from tests.support import planting

if TYPE_CHECKING:
    from collections.abc import Iterator

    from services.processor.store import Store
    from tests.support.processing import Worker

CHAIN = [
    *(
        f"services.processor.{name}"
        for name in (
            "usage.tiers",
            "usage.tasks",
            "usage.slots",
            "exceptions",
            "quality",
            "session",
            "memory",
            "reload",
            "rollups",
            "touching",
            "calls",
            "reported",
            "presence",
            "vanished",
            "roomlife",
            "recompute",
            "intake",
            "usage.jobs",
        )
    ),
    "tests.support.processing",
]
"""What is loaded anew, in the order in which one imports the other."""
SEEDS = [range(start, start + 10) for start in range(1, 61, 10)]
TOGETHER = range(1, 51)
_apps = count(1_600_000_000, 100)


class Fault(NamedTuple):
    """A place in a module, and what stands there instead."""

    module: str
    right: str
    wrong: str
    restless: bool = False
    """Whether it takes workers that crash and lose partitions to see it."""


FAULTS = {
    "599 ms for 600": Fault("quality", "(200, 600, 600, 600)", "(200, 599, 599, 599)"),
    "601 ms for 600": Fault("quality", "(200, 600, 600, 600)", "(200, 601, 601, 601)"),
    "199 ms for 200": Fault("quality", "(200, 600, 600, 600)", "(199, 600, 600, 600)"),
    "only the part above the limit counts": Fault(
        "session",
        "min(begun + length, bucket + BUCKET_MS) - max(begun, bucket)",
        "min(begun + length, bucket + BUCKET_MS) - max(begun + STUTTER_LIMIT_MS[kind], bucket)",
    ),
    "split episodes are lost": Fault("session", "if overlap > 0 and", "if overlap > 0 and begun >= bucket and"),
    "an episode counts whole in every bucket": Fault("session", "audio_stutter += overlap", "audio_stutter += length"),
    "of one episode the last length counts": Fault(
        "quality", "if length > self.episodes.get((*where, begun), 0):", "if True:"
    ),
    "nothing is deduplicated": Fault("memory", "        if sample.start_ms < next_ms:\n            return False\n", ""),
    "a partition that was away is taken for complete": Fault(
        "memory", "if offset != here.next_offset:", "if False:", restless=True
    ),
    "a late sample does not change the next bucket": Fault("session", "        buckets.add(bucket + BUCKET_MS)\n", ""),
    "numeric and string rooms are one": Fault(
        "memory",
        "room_id, room_id_type = room_key(report.room_id)",
        "room_id, room_id_type = room_key(report.room_id)[0], 1",
    ),
    "rows are made without the ten seconds before": Fault(
        "reload", "range(first - LOOK_BACK_MS, last + 1, BUCKET_MS)", "range(first, last + 1, BUCKET_MS)"
    ),
    "a stale worker overwrites": Fault("session", "(samples << 32) +", "0 *", restless=True),
    "a bound of a tier is one less": Fault("usage.tiers", "if pixels <= HD_PIXELS:", "if pixels < HD_PIXELS:"),
    "pictures are charged one by one": Fault("session", "pixels += (remote.width", "pixels = (remote.width"),
    "a muted picture is received": Fault("session", "shown = playing and not muted", "shown = playing"),
    "a stream without bits is received": Fault("session", "if shown and remote.bitrate != 0:", "if shown:"),
    "a picture of unknown size is none": Fault("session", "(remote.width or 1)", "(remote.width or 0)"),
    "muted time is playing time": Fault("session", "playing = 0 if muted else duration", "playing = duration"),
    "playing time is the whole sample": Fault("session", "playing = remote.play_ms\n", "playing = None\n"),
    "sound plays as a picture": Fault("session", "sums.audio_play += playing", "sums.video_play += playing"),
    "85 % is too much": Fault("exceptions", "sample.sys_cpu > thresholds.cpu", "sample.sys_cpu >= thresholds.cpu"),
    "unknown CPU is low CPU": Fault(
        "exceptions",
        "return None if sample.sdk_task_ms is None else",
        "return False if sample.sdk_task_ms is None else",
    ),
    "10 frames are too few": Fault("exceptions", "bad = fps < slow or", "bad = fps <= slow or"),
    "a swing of 5 is too much": Fault("exceptions", "min(recent), 3) > swing", "min(recent), 3) >= swing"),
    "screens are judged as pictures": Fault("exceptions", "screen_fps: float = 5.0", "screen_fps: float = 10.0"),
    "one bad sample is enough": Fault("exceptions", "return bad if bad == before else active", "return bad or active"),
    "one good sample is enough": Fault(
        "exceptions", "return bad if bad == before else active", "return bad if bad == before else False"
    ),
    "a gap does not interrupt": Fault("exceptions", "or gap_ms > IN_A_ROW_MS", ""),
    "silence of a muted microphone": Fault("session", "local.volume == 0 and not local.muted", "local.volume == 0"),
    "eight seconds are silence": Fault("exceptions", "silence_ms: int = 10_000", "silence_ms: int = 8_000"),
    "loss is not looked at": Fault("exceptions", "if loss is not None and loss > thresholds.loss:", "if False:"),
    "users are counted once for all rooms": Fault(
        "rollups",
        "SELECT SdkAppId, BucketTime,\n    uniqExactIf((RoomId, RoomIdType, UserId), Present",
        "SELECT SdkAppId, BucketTime,\n    uniqExactIf(UserId, Present",
    ),
    "abnormal users are counted by room": Fault(
        "rollups",
        "uniqExactIf(UserId, notEmpty(Exceptions))",
        "uniqExactIf((RoomId, RoomIdType, UserId), notEmpty(Exceptions))",
    ),
    "what was reloaded touches no application": Fault(
        "intake", "for app, bucket, *_ in rows} | late", "for app, bucket, *_ in rows[:0]} | late"
    ),
}


CALLS = {
    "an audience's live room closes at once": Fault(
        "calls", 'self._call.scene == "live" and stay.role == Role.AUDIENCE', "False"
    ),
    "an anchor's live room waits": Fault("calls", "and stay.role == Role.AUDIENCE", ""),
    "a live room waits for eleven minutes": Fault("calls", "= 600_000", "= 660_000"),
    "a creation in an open room is not heard": Fault(
        "calls", "            self._close(call, event.time_ms)\n", "            pass\n"
    ),
    "creation and first entry are two calls": Fault("calls", "CREATION_SPREAD_MS = 5_000", "CREATION_SPREAD_MS = -1"),
    "a dismissal leaves those who are in": Fault("calls", "            stay.exit_ms = time_ms\n", "            pass\n"),
    "a second entry goes on with the first stay": Fault(
        "calls", "            earlier.exit_ms = event.time_ms\n", "            earlier.exit_ms = None\n"
    ),
    "exits of a millisecond come after its entries": Fault(
        "calls", "first = [event for event in leaving if event.user_id in self._inside]", "first: list[RoomEvent] = []"
    ),
    "the last role is forgotten": Fault(
        "calls", "            stay.role = event.role\n            stay.roles", "            stay.roles"
    ),
    "the name of a call has milliseconds": Fault("calls", "{start_ms // 1000}", "{start_ms}"),
    "a room of text has its text for a number": Fault("calls", "crc32(room_id.encode())", "room_id"),
    "reports are not looked at": Fault(
        "reported", "    for session in sorted(sessions,", "    for session in sorted([],"
    ),
    "a stay by reports beside one by events": Fault("reported", "            continue\n", "            pass\n"),
    "two minutes of silence": Fault("reported", "SILENCE_MS = 90_000", "SILENCE_MS = 120_000"),
    "a call by reports goes on over one by events": Fault(
        "reported", " or _begins(calls, reported.start_ms, stay.enter_ms)", ""
    ),
    "calls that are wrong stay": Fault(
        "roomlife", "[*call_rows, *_removed_calls(known_calls, call_rows, computed_us)]", "call_rows"
    ),
    "stays that are wrong stay": Fault(
        "roomlife", "[*stay_rows, *_removed_stays(known_stays, stay_rows, computed_us)]", "stay_rows"
    ),
    "who is present is not computed anew": Fault("roomlife", "set().union(*changed)", "set()"),
    "hours of a stay are taken back too late": Fault("presence", 'None, "", True))', 'None, "", False))'),
}

USAGE = {
    "HD from a pixel more": Fault("usage.tiers", "if pixels <= HD_PIXELS:", "if pixels <= HD_PIXELS + 1:"),
    "nothing received is HD": Fault("usage.tiers", "if pixels <= 0:", "if pixels < 0:"),
    "pictures come on top of sound": Fault(
        "usage.jobs", "sum(StayMs) - sum(Hd + Fhd + TwoK + TwoKPlus)", "sum(StayMs)"
    ),
    "what is unreported is all of the stay": Fault("usage.jobs", "sum(StayMs) - sum(Reported))", "sum(StayMs))"),
    "the 90 seconds are not charged": Fault(
        "usage.jobs", "SeenTime + INTERVAL 90 SECOND)) AS EndTime", "SeenTime)) AS EndTime"
    ),
    "who never reported is not there": Fault(
        "usage.jobs", "SeenTime < EnterTime, {_NOW},", "SeenTime < EnterTime, EnterTime,"
    ),
    "stays that turned out wrong are charged": Fault(
        "usage.jobs", "FROM presence FINAL WHERE NOT Removed", "FROM presence FINAL WHERE true"
    ),
    "minutes are never taken back": Fault(
        "usage.jobs", "0, 0, 0, 0, 0, 0, 1 FROM av_usage_5m", "0, 0, 0, 0, 0, 0, 0 FROM av_usage_5m"
    ),
    "of two intervals both count": Fault("usage.slots", "end = min(end, ordered[number + 1].start_ms)", "pass"),
    "an interval is charged where it begins": Fault(
        "usage.slots",
        "cut(interval.start_ms, end_ms, SLOT_MS)",
        "[(interval.start_ms - interval.start_ms % SLOT_MS, end_ms - interval.start_ms)]",
    ),
    "a format more costs nothing": Fault("usage.tasks", "return 2 if", "return 1 if"),
    "robots for VOD are charged": Fault("usage.tasks", "and targets == {own}", "and False"),
    "robots for others are free": Fault("usage.tasks", "and targets == {own}", "and own in targets"),
    "a robot sees other rooms": Fault("usage.tasks", "if _room(source, home) == room]", "]"),
    "who brings a stream in receives it": Fault("usage.tasks", '0 if interval.task_type == "ingest" else ', ""),
    "no virtual input": Fault("usage.tasks", "tier_of(pixels + virtual)", "tier_of(pixels)"),
    "codecs are charged together": Fault("usage.tasks", '"mix-h265" if codec == "h265" else "mix-h264"', '"mix-h264"'),
    "one anchor and no transcoding is mixing": Fault(
        "usage.tasks", "    if not codecs and not mixed:\n        return []\n", ""
    ),
    "our own CDN is paid": Fault("usage.tasks", 'free=output.destination == "css", bitrate', "free=False, bitrate"),
    "sound is not relayed": Fault(
        "usage.tasks", "(output.video_bitrate or 0) + (output.audio_bitrate or 0)", "(output.video_bitrate or 0)"
    ),
    "rows of tasks that are wrong stay": Fault("usage.jobs", "if tuple(key) not in right_slots]", "if False]"),
    "only the new interval's own slot is computed": Fault("usage.jobs", "start - start % SLOT_MS)", "start)"),
}


def some(faults: dict[str, Fault]) -> dict[str, Fault]:
    """Every fifth, which is what the suite has time for; all of them in `make test-oracle`."""
    return faults if "ORACLE_SCENARIOS" in os.environ else dict(list(faults.items())[::5])


@contextmanager
def planted(fault: Fault) -> Iterator[type[Worker]]:
    """The processor with a fault in it."""
    with planting.planted(CHAIN, f"services.processor.{fault.module}", fault.right, fault.wrong):
        yield sys.modules["tests.support.processing"].Worker


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
async def test_the_oracle_finds_the_fault(store: Store, fault: Fault) -> None:
    with planted(fault) as worker_type, pytest.raises(AssertionError, match=r"rows \(key, found, expected\)"):
        await _check_all(store, SEEDS, worker_type, calm=not fault.restless)


@pytest.mark.parametrize("fault", some(CALLS).values(), ids=some(CALLS).keys())
async def test_the_oracle_of_calls_finds_the_fault(store: Store, fault: Fault) -> None:
    with planted(fault) as worker_type, pytest.raises(AssertionError, match=r"\(key, found, expected\)"):
        await check_calls(store, TOGETHER, next(_apps), worker_type, hasty=True)


@pytest.mark.parametrize("fault", some(USAGE).values(), ids=some(USAGE).keys())
async def test_the_oracle_of_usage_finds_the_fault(store: Store, fault: Fault) -> None:
    with planted(fault) as worker_type, pytest.raises(AssertionError, match=r"\(key, found, expected\)"):
        await check_usage(store, TOGETHER, next(_apps), worker_type, hasty=True)


async def test_without_a_fault_there_is_nothing_to_find(store: Store) -> None:
    with planted(Fault("none", "", "")) as worker_type:
        await _check_all(store, SEEDS[:2], worker_type, calm=False)
        await check_calls(store, TOGETHER, next(_apps), worker_type, hasty=True)
        await check_usage(store, TOGETHER, next(_apps), worker_type, hasty=True)


async def _check_all(store: Store, parts: list[range], worker_type: type[Worker], *, calm: bool) -> None:
    for seeds in parts:
        await check(store, seeds, next(_apps), worker_type, calm=calm)
