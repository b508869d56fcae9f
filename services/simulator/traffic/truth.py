"""What is true of a scenario, from its plans and not from its reports: what an oracle compares with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from schemas.words import RoomId, StreamType
from services.simulator.traffic.hearing import hearing_of, reported_until
from services.simulator.traffic.rooms import calls_of, room_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from services.simulator.traffic.plan import Call
    from services.simulator.traffic.scenario import Scenario


class StreamTruth(Struct, frozen=True, kw_only=True):
    """One stream at one receiver, as far as the receiver lived to tell."""

    room_id: RoomId
    user_id: str
    session_id: str
    peer: str
    type: StreamType
    play_ms: int
    stutters: tuple[tuple[int, int], ...]
    """(start, length) in Unix milliseconds and milliseconds, in order; short ones too."""


def ground_truth(scenario: Scenario) -> Iterator[StreamTruth]:
    """The truth of every stream that somebody received. The scenario must end by its duration, not by `samples`."""
    if scenario.duration_ms is None or scenario.samples is not None:
        raise ValueError("only a scenario that ends by its duration has a truth of its own")
    for index in range(scenario.rooms):
        for call in calls_of(scenario, room_of(index)):
            yield from truth_of(call)


def truth_of(call: Call) -> Iterator[StreamTruth]:
    """The truth of one call."""
    for stay in call.stays:
        hearing = hearing_of(call, stay)
        until_ms = reported_until(stay, hearing)
        played: dict[tuple[str, StreamType], int] = {}
        stutters: dict[tuple[str, StreamType], list[tuple[int, int]]] = {}
        for part in hearing.received:
            if part.start_ms >= until_ms:
                continue
            stream = (part.peer, part.type)
            duration = min(part.end_ms, until_ms) - part.start_ms
            played[stream] = played.get(stream, 0) + (0 if part.muted else duration)
            stutters.setdefault(stream, []).extend(
                (begun, min(begun + length, until_ms) - begun) for begun, length in part.stutters if begun < until_ms
            )
        for (peer, stream_type), play_ms in played.items():
            yield StreamTruth(
                room_id=call.room.room_id,
                user_id=stay.user_id,
                session_id=stay.session_id,
                peer=peer,
                type=stream_type,
                play_ms=play_ms,
                stutters=tuple(sorted(stutters[peer, stream_type])),
            )
