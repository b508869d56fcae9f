"""Drawn reports: a few users whose measurements lie near every limit, and the disorder in which they come."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Any

T = 1_795_000_000_000
"""A start of a day's quarter; scenarios begin somewhere after it."""
GRID_MS = 2_000
ROOMS: list[int | str] = [7, "7", 8, "hall", "Räume/1"]


@dataclass
class Drawn:
    """Reports as posted, and the Kafka records in which they come: (partition, reports), in order."""

    reports: list[dict[str, Any]]
    records: list[tuple[int, list[dict[str, Any]]]]


def draw(seed: int, sdk_app_id: int, partitions: int = 2) -> Drawn:
    """The scenario of a seed."""
    random = Random(seed)
    begin = T + random.randrange(0, 6 * 3_600_000, GRID_MS)
    reports: list[dict[str, Any]] = []
    for room in random.sample(ROOMS, random.randint(1, 3)):
        for user in random.sample(["a", "b", "c", "Ann_1", "x" * 32], random.randint(1, 3)):
            start = begin + random.randrange(0, 30_000, GRID_MS)
            for number in range(random.choice([1, 1, 2])):
                samples = _samples(random, start, random.choice([1, 6, 20, 30]))
                session = f"{user}-{number}"
                reports += _reports(random, sdk_app_id, room, user, session, samples)
                start = samples[-1]["StartMs"] + random.choice([2_000, 8_000, 40_000])
    reports.sort(key=lambda report: report["SentMs"])
    coming = _disordered(random, reports)
    records: list[tuple[int, list[dict[str, Any]]]] = []
    for report in coming:
        partition = sum(map(ord, f"{report['RoomId']}{report['UserId']}")) % partitions
        if records and records[-1][0] == partition and random.random() < 0.3:
            records[-1][1].append(report)
        else:
            records.append((partition, [report]))
    return Drawn(reports, records)


def _samples(random: Random, start: int, count: int) -> list[dict[str, Any]]:
    """One user's samples, some cut short, some missing."""
    samples = []
    peers = random.sample(["p", "q", "r"], random.randint(0, 2))
    mood = {name: random.random() for name in ("cpu", "fps", "volume", "size", "stutter", "mute")}
    alive: dict[tuple[str, str], int] = {}
    at = start
    for _ in range(count):
        cut = random.random() < 0.1
        parts = [random.randrange(1, 2_000)] if cut else [GRID_MS]
        if cut and random.random() < 0.7:
            parts.append(GRID_MS - parts[0])
        offset = 0
        for length in parts:
            samples.append(_sample(random, at + offset, length, peers, mood, alive))
            offset += length
        at += GRID_MS * random.choice([1] * 12 + [2, 3])
    return samples


def _sample(
    random: Random,
    start: int,
    length: int,
    peers: list[str],
    mood: dict[str, float],
    alive: dict[tuple[str, str], int],
) -> dict[str, Any]:
    sample: dict[str, Any] = {"StartMs": start, "DurMs": length}
    if random.random() < 0.8:
        sample["SysCpu"] = random.choice([20, 85, 85.5, 99]) if random.random() < mood["cpu"] else 20
    if random.random() < 0.5:
        sample["SdkTaskMs"] = random.choice([10, 60, 61])
    if random.random() < 0.5:
        sample |= {"Rtt": random.choice([20, 400, 401]), "UpLoss": random.choice([0, 10, 11])}
    local: list[dict[str, Any]] = []
    if random.random() < 0.7:
        local.append(_audio(random, mood))
    for kind in random.sample(["big", "small", "sub"], random.choice([0, 1, 1, 2])):
        stream = {"Type": kind, "CapFps": _fps(random, mood), "EncFps": _fps(random, mood)}
        if random.random() < 0.7:
            stream["SendFps"] = _fps(random, mood)
        local.append(_known(random, stream | _muted(random, mood)))
    remote: list[dict[str, Any]] = []
    for peer in peers:
        for kind in random.sample(["audio", "big", "sub"], random.randint(1, 3)):
            if kind == "audio":
                stream = _audio(random, mood)
            else:
                width, height = random.choice([(640, 360), (1280, 720), (1281, 720), (1920, 1080), (2560, 1440)])
                stream = {
                    "Type": kind,
                    "Bitrate": random.choice([800_000, 0]) if random.random() < 0.2 else 500_000,
                    "Width": width,
                    "Height": height,
                    "DelayMs": random.choice([50, 400, 401]),
                    "Loss": random.choice([0, 10, 10.5]),
                    "RecFps": _fps(random, mood),
                    "DecFps": _fps(random, mood),
                    "RenderFps": _fps(random, mood),
                    **_muted(random, mood),
                }
            stream = {"UserId": peer, **_known(random, stream)}
            if random.random() < 0.5:
                stream["PlayMs"] = random.choice([0, length // 2, length])
            stutters = _stutters(random, start, length, mood, alive, (peer, kind))
            if stutters:
                stream["Stutters"] = stutters
            remote.append(stream)
    if local:
        sample["Local"] = local
    if remote:
        sample["Remote"] = remote
    return sample


def _stutters(
    random: Random,
    start: int,
    length: int,
    mood: dict[str, float],
    alive: dict[tuple[str, str], int],
    stream: tuple[str, str],
) -> list[list[int]]:
    found = []
    begun = alive.pop(stream, None)
    if begun is not None:
        goes_on = random.random() < 0.6
        end = start + length if goes_on else start + random.randrange(1, length + 1)
        found.append([begun, end - begun])
        if goes_on:
            alive[stream] = begun
    elif random.random() < mood["stutter"] / 2:
        limit = 200 if stream[1] == "audio" else 600
        begun = start + random.randrange(0, length)
        if random.random() < 0.5:
            found.append([begun, min(random.choice([limit - 1, limit, limit + 1, 1]), start + length - begun)])
        else:
            found.append([begun, start + length - begun])
            alive[stream] = begun
    return [entry for entry in found if entry[1] > 0]


def _audio(random: Random, mood: dict[str, float]) -> dict[str, Any]:
    volume = 0 if random.random() < mood["volume"] else 50
    return {"Type": "audio", "Volume": volume, **_muted(random, mood)}


def _muted(random: Random, mood: dict[str, float]) -> dict[str, Any]:
    return {"Muted": True} if random.random() < mood["mute"] / 5 else {}


def _fps(random: Random, mood: dict[str, float]) -> float:
    if random.random() < mood["fps"]:
        return random.choice([4, 5, 9, 9.5, 10, 15, 15.5, 20])
    return 15


def _known(random: Random, stream: dict[str, Any]) -> dict[str, Any]:
    """The stream without some of its fields: unknown is not zero."""
    return {name: value for name, value in stream.items() if name == "Type" or random.random() < 0.95}


def _reports(
    random: Random, app: int, room: int | str, user: str, session: str, samples: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    reports: list[dict[str, Any]] = []
    rest = list(samples)
    sequence = 0
    while rest:
        size = random.choice([1, 4, 5, 5, 5, 5])
        part, rest = rest[:size], rest[size:]
        sequence += 1
        if reports and random.random() < 0.1:
            # A client that does not know whether its last report came sends a sample once more with the next.
            part = [reports[-1]["Samples"][-1], *part]
        reports.append(
            {
                "SdkAppId": app,
                "UserId": user,
                "RoomId": room,
                "SessionId": session,
                "Seq": sequence,
                "SentMs": part[-1]["StartMs"] + part[-1]["DurMs"],
                "Samples": part,
            }
        )
    return reports


def _disordered(random: Random, reports: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The reports as they come: most in order, some twice, some later, some much later."""
    disorder = random.choice([0, 0, 0.05, 0.3])
    coming: list[tuple[float, int, dict[str, Any]]] = []
    for number, report in enumerate(reports):
        times = 2 if random.random() < disorder else 1
        for _ in range(times):
            late = random.choice([0.5, 3, 10, 1000]) if random.random() < disorder else 0
            coming.append((number + late * random.random(), len(coming), report))
    return [report for _, _, report in sorted(coming, key=lambda entry: entry[:2])]
