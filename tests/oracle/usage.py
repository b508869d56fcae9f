"""Usage, computed slowly and plainly from what was posted: stays, reports and task intervals.

Shares no code with the processor: JSON in, dictionaries out, one rule after the other. Milliseconds are exact.
"""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from tests.oracle.calls import FOREVER, rooms_of, shown_end, spans_of
from tests.oracle.quality import by_session

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

SLOT_MS = 300_000
BUCKET_MS = 10_000
LIMITS = (0, 921_600, 2_073_600, 3_686_400, 10**18)
"""The most pixels of each tier, from audio to 2K+."""

Tiers = list[int]
"""Milliseconds of the five tiers."""
Place = tuple[str, int]
"""A room: its text, 0 for a number or 1 for a text."""


def users(
    events: list[dict[str, Any]], reports: list[dict[str, Any]], until: int
) -> dict[tuple[int, Place, str], tuple[Tiers, int]]:
    """(slot, room, user) to tiers and the time without reports, of slots that are over at a time."""
    stayed: dict[tuple[int, Place, str], int] = defaultdict(int)
    spans = spans_of(reports)
    for room, calls in rooms_of(events, reports).items():
        for stay in (stay for call in calls for stay in call.stays):
            end = shown_end(stay, spans.get(room, []))
            for slot, length in pieces(stay.enter, min(until, FOREVER if end is None else end), SLOT_MS):
                stayed[slot, room, stay.user] += length
    pictures: dict[tuple[int, Place, str], Tiers] = defaultdict(lambda: [0, 0, 0, 0])
    reported: dict[tuple[int, Place, str], int] = defaultdict(int)
    for (((_, text, kind), user, _), bucket), numbers in by_session(reports).items():
        key = bucket // SLOT_MS * SLOT_MS, (text, kind), user
        reported[key] += numbers.reported_ms
        for number, ms in enumerate(numbers.tier_ms.values()):
            pictures[key][number] += ms
    found = {}
    for key in stayed.keys() | pictures.keys():
        if key[0] + SLOT_MS <= until:
            silent = max(0, stayed[key] - reported[key])
            tiers = [max(0, stayed[key] - sum(pictures[key])), *pictures[key]]
            if any(tiers):
                found[key] = tiers, silent
    return found


class Tasks:
    """What the tasks of an application are charged as."""

    def __init__(self, posted: Iterable[dict[str, Any]]) -> None:
        self.slots: dict[tuple[int, str, str, bool, str, int, str], Tiers] = defaultdict(lambda: [0, 0, 0, 0, 0])
        """(slot, task, kind, free, room, its type, robot) to tiers."""
        self.delivered: dict[tuple[int, str, str, bool, str, int, str], int] = defaultdict(int)
        """The same to bits times 1000."""
        self.modes: dict[tuple[int, str, str, bool, str, int, str], str] = {}
        self.relayed: dict[tuple[int, str, bool], list[int]] = defaultdict(lambda: [0, 0])
        """(ten seconds, task, free) to bits times 1000 and milliseconds."""
        tasks: dict[str, dict[int, dict[str, Any]]] = defaultdict(dict)
        for interval in posted:
            known = tasks[interval["TaskId"]]
            start = interval["StartMs"]
            if start not in known or known[start]["EndMs"] < interval["EndMs"]:
                known[start] = interval
        for task, known in tasks.items():
            times = sorted({*known, *(interval["EndMs"] for interval in known.values())})
            for begin, end in pairwise(times):
                # The last that has begun says what is right, and nothing else does.
                interval = known[max(start for start in known if start <= begin)]
                if interval["EndMs"] > begin:
                    self._charge(task, interval, begin, end)

    def bandwidth(self) -> dict[tuple[int, bool], tuple[float, int]]:
        """(slot, free) to the largest mean of ten seconds of all relays together and their time."""
        buckets: dict[tuple[int, bool], int] = defaultdict(int)
        lengths: dict[tuple[int, bool], int] = defaultdict(int)
        for (bucket, _, free), (bits, length) in self.relayed.items():
            buckets[bucket, free] += bits // 1000
            lengths[bucket // SLOT_MS * SLOT_MS, free] += length
        return {
            (slot, free): (
                max(bits for (at, kind), bits in buckets.items() if kind == free and at // SLOT_MS * SLOT_MS == slot)
                / 10,
                length,
            )
            for (slot, free), length in lengths.items()
        }

    def _charge(self, task: str, interval: dict[str, Any], begin: int, end: int) -> None:
        for kind, free, place, robot, tier, bitrate in _charges(interval):
            if kind == "relay":
                for bucket, length in pieces(begin, end, BUCKET_MS):
                    relayed = self.relayed[bucket, task, free]
                    relayed[0] += bitrate * length
                    relayed[1] += length
                continue
            for slot, length in pieces(begin, end, SLOT_MS):
                key = slot, task, kind, free, place[0], place[1], robot
                self.slots[key][tier] += length
                self.delivered[key] += bitrate * length
                if kind == "record" and interval.get("RecordMode"):
                    self.modes[key] = interval["RecordMode"]


def _charges(interval: dict[str, Any]) -> Iterator[tuple[str, bool, Place, str, int, int]]:
    """Kind, whether it is free, room and robot, tier, bit/s; what is charged twice comes twice."""
    kind = interval["TaskType"]
    inputs, outputs = interval.get("Inputs", []), interval.get("Outputs", [])
    home = _place(interval, ("", 0))
    nowhere = ("", 0)
    sizes = [
        (_place(one, home), one.get("Width", 1) * one.get("Height", 1)) for one in inputs if one["Type"] != "audio"
    ]
    pixels = sum(size for _, size in sizes)
    targets = [output["Destination"] for output in outputs if "Destination" in output]
    for robot in interval.get("Robots", []):
        room = _place(robot, home)
        seen = 0 if kind == "ingest" else sum(size for where, size in sizes if where == room)
        served = {"record": "vod", "mix": "css", "relay": "css"}.get(kind)
        free = bool(targets) and all(target == served for target in targets)
        yield "robot", free, room, robot["UserId"], tier(seen), 0
    if kind in ("record", "web-record"):
        largest = max((output.get("Width", 0) * output.get("Height", 0) for output in outputs), default=0)
        files = [name for output in outputs for name in output.get("Format", "mp4").split("+")]
        for _ in files or ["none"]:
            yield kind, False, nowhere, "", tier(pixels if kind == "record" else max(1, largest)), 0
    if kind in ("mix", "relay"):
        several = len({(_place(one, home), one["UserId"]) for one in inputs}) > 1
        made: dict[str, int] = {}
        for output in outputs:
            if output.get("Codec", "none") != "none":
                size = output.get("Width", 0) * output.get("Height", 0)
                made[output["Codec"]] = max(size, made.get(output["Codec"], 0))
        for codec, size in made.items():
            much_larger = size > 2 * pixels
            yield f"mix-{codec}", False, nowhere, "", tier(pixels + size if much_larger else pixels), 0
        if not made and several:
            yield "mix-h264", False, nowhere, "", 0, 0
    for output in outputs:
        bitrate = output.get("VideoBitrate", 0) + output.get("AudioBitrate", 0)
        target = output.get("Destination")
        if kind in ("mix", "relay") and target in ("css", "other-cdn"):
            yield "relay", target == "css", nowhere, "", 0, bitrate
        if target in ("cos", "other-storage"):
            yield "delivery", True, nowhere, "", 0, bitrate


def tier(pixels: int) -> int:
    """0 audio to 4 2K+."""
    return next(number for number, most in enumerate(LIMITS) if pixels <= most)


def pieces(begin: int, end: int, size: int) -> Iterator[tuple[int, int]]:
    """A time cut at multiples of a size: where each cell starts, and how much of it is covered."""
    for cell in range(begin // size * size, end, size):
        length = min(end, cell + size) - max(begin, cell)
        if length > 0:
            yield cell, length


def _place(one: dict[str, Any], home: Place) -> Place:
    room = one.get("RoomId")
    if room is None:
        return home
    return str(room), one.get("RoomIdType", 0 if isinstance(room, int) else 1)
