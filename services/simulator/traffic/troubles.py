"""What goes wrong on networks and devices, and the stutters that follow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.simulator.traffic.plan import Trouble, TroubleKind

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

    from schemas.words import StreamType

MEAN_BETWEEN_TROUBLES_MS = 240_000
MEAN_BETWEEN_STUTTERS_MS = 600_000
"""Where nothing is wrong."""
MEAN_IN_TROUBLE_MS = 5_000
_KINDS: tuple[TroubleKind, ...] = (
    "downlink",
    "uplink",
    "processor",
    "camera",
    "silent-microphone",
    "silent-speaker",
)
_WEIGHTS = (40, 25, 12, 9, 7, 7)
_AT_THE_LIMIT = {"video": (599, 600, 601), "audio": (199, 200, 201)}
_LENGTHS = {
    "video": ((15, 250, 590), (55, 620, 1500), (22, 1500, 4000), (8, 4000, 11_000)),
    "audio": ((20, 80, 198), (55, 205, 600), (20, 600, 2500), (5, 2500, 6000)),
}
"""(weight, shortest, longest) in milliseconds: some stay below the limit that counts, some cross buckets."""


def troubles_between(rng: Random, start_ms: int, end_ms: int) -> tuple[Trouble, ...]:
    """The troubles of one stay, in order, one at a time."""
    found: list[Trouble] = []
    at_ms = start_ms + int(rng.expovariate(1 / MEAN_BETWEEN_TROUBLES_MS))
    while at_ms < end_ms - 1000:
        kind = rng.choices(_KINDS, _WEIGHTS)[0]
        # Silence counts as an exception after ten seconds.
        shortest = 11_000 if kind.startswith("silent") else 5_000
        until_ms = min(end_ms, at_ms + rng.randrange(shortest, 40_000))
        found.append(Trouble(kind, at_ms, until_ms, 0.2 + 0.8 * rng.random()))
        at_ms = until_ms + int(rng.expovariate(1 / MEAN_BETWEEN_TROUBLES_MS))
    return tuple(found)


def stutters_between(
    rng: Random, stream_type: StreamType, start_ms: int, end_ms: int, troubles: Sequence[Trouble]
) -> tuple[tuple[int, int], ...]:
    """(start, length) of every stutter of one stream at one receiver, in order, apart, and inside the time given.

    `troubles` are those that harm this stream, in order.
    """
    kind = "audio" if stream_type == "audio" else "video"
    found: list[tuple[int, int]] = []
    at_ms = start_ms
    while True:
        mean = MEAN_IN_TROUBLE_MS if _covers(troubles, at_ms) else MEAN_BETWEEN_STUTTERS_MS
        next_ms = at_ms + 40 + int(rng.expovariate(1 / mean))
        begins = next((trouble.start_ms for trouble in troubles if at_ms < trouble.start_ms < next_ms), None)
        if begins is not None and mean == MEAN_BETWEEN_STUTTERS_MS:
            at_ms = begins
            continue
        length = _length(rng, kind)
        if next_ms + length > end_ms:
            return tuple(found)
        found.append((next_ms, length))
        at_ms = next_ms + length


def _covers(troubles: Sequence[Trouble], at_ms: int) -> bool:
    return any(trouble.start_ms <= at_ms < trouble.end_ms for trouble in troubles)


def _length(rng: Random, kind: str) -> int:
    if rng.random() < 0.08:
        return rng.choice(_AT_THE_LIMIT[kind])
    choices = _LENGTHS[kind]
    _, shortest, longest = rng.choices(choices, [weight for weight, _, _ in choices])[0]
    return rng.randrange(shortest, longest)
