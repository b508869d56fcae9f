"""Which streams a stay sends and receives, piece by piece, and where its samples are cut."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from schemas.reports import SAMPLE_GRID_MS
from schemas.words import StreamType
from services.simulator.traffic.plan import Call, Piece, Stay, Stream, Trouble
from services.simulator.traffic.seeds import random_of
from services.simulator.traffic.troubles import stutters_between

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

FIRST_REPORT_AFTER_MS = 3_000
"""The first report of a session comes early: it tells who the user is."""
REPORT_EVERY_MS = 10_000


class Part(Struct, frozen=True, kw_only=True):
    """A piece of a stream, as far as one user sends or receives it."""

    peer: str
    """Whose stream it is; empty for the user's own."""
    type: StreamType
    start_ms: int
    end_ms: int
    width: int
    height: int
    muted: bool
    fps: int
    bitrate: int
    stutters: tuple[tuple[int, int], ...] = ()
    """(start, length), all inside the part."""


class Hearing(Struct, frozen=True, kw_only=True):
    """All that a stay has to measure."""

    sent: tuple[Part, ...]
    received: tuple[Part, ...]
    cuts: tuple[int, ...]
    """Where a stream starts, stops or changes its size, in order, without the grid."""


def hearing_of(call: Call, stay: Stay) -> Hearing:
    """What a stay sends and receives."""
    rng = random_of(*call.path, "hearing", stay.user_id, stay.number)
    sent: list[Part] = []
    received: list[Part] = []
    simulcast = {stream.user_id for stream in call.streams if stream.type == "small"}
    own = tuple(trouble for trouble in stay.troubles if trouble.kind in ("downlink", "processor"))
    for stream in call.streams:
        if stream.end_ms <= stay.join_ms or stream.start_ms >= stay.end_ms:
            continue
        if stream.user_id == stay.user_id:
            sent += (_part(stream, piece) for piece in _within(stream.pieces, stay.join_ms, stay.end_ms))
            continue
        if not _subscribes(stay, stream, has_small=stream.user_id in simulcast):
            continue
        since_ms = max(stream.start_ms, stay.join_ms) + rng.randrange(60, 500)
        harmful = (*own, *call.uplink_troubles.get(stream.user_id, ()))
        for piece in _within(stream.pieces, since_ms, stay.end_ms):
            stutters = (
                ()
                if piece.muted
                else stutters_between(rng, stream.type, piece.start_ms, piece.end_ms, _during(harmful, piece))
            )
            received.append(_part(stream, piece, peer=stream.user_id, stutters=stutters))
    edges = {edge for part in (*sent, *received) for edge in (part.start_ms, part.end_ms)}
    return Hearing(sent=tuple(sent), received=tuple(received), cuts=tuple(sorted(edges)))


def cells(stay: Stay, cuts: Iterable[int]) -> Iterator[tuple[int, int]]:
    """The samples of a stay as (start, end): the cells of the grid, cut."""
    edges = iter(cuts)
    next_cut = next(edges, stay.end_ms)
    at_ms = stay.join_ms
    while at_ms < stay.end_ms:
        while next_cut <= at_ms:
            next_cut = next(edges, stay.end_ms)
        until_ms = min(at_ms - at_ms % SAMPLE_GRID_MS + SAMPLE_GRID_MS, next_cut, stay.end_ms)
        yield at_ms, until_ms
        at_ms = until_ms


def reported_until(stay: Stay, hearing: Hearing) -> int:
    """The end of the last sample that reached a report: a client that vanished took the rest with it."""
    if stay.says_goodbye or stay.tail_ms is not None:
        return stay.end_ms
    first_report_ms = stay.join_ms + FIRST_REPORT_AFTER_MS
    if stay.end_ms < first_report_ms:
        return stay.join_ms
    last_report_ms = stay.end_ms - (stay.end_ms - first_report_ms) % REPORT_EVERY_MS
    grid_ms = last_report_ms - last_report_ms % SAMPLE_GRID_MS
    return max(edge for edge in (stay.join_ms, grid_ms, *hearing.cuts) if edge <= last_report_ms)


def _subscribes(stay: Stay, stream: Stream, *, has_small: bool) -> bool:
    if stream.type == "audio":
        return True
    if not stay.wants_video:
        return False
    if stream.type == "sub":
        return True
    takes_small = has_small and stay.wants_small
    return takes_small == (stream.type == "small")


def _within(pieces: Iterable[Piece], start_ms: int, end_ms: int) -> Iterator[Piece]:
    for piece in pieces:
        start, end = max(piece.start_ms, start_ms), min(piece.end_ms, end_ms)
        if start < end:
            yield Piece(start, end, piece.width, piece.height, piece.muted)


def _part(stream: Stream, piece: Piece, *, peer: str = "", stutters: tuple[tuple[int, int], ...] = ()) -> Part:
    return Part(
        peer=peer,
        type=stream.type,
        start_ms=piece.start_ms,
        end_ms=piece.end_ms,
        width=piece.width,
        height=piece.height,
        muted=piece.muted,
        fps=stream.fps,
        bitrate=stream.bitrate,
        stutters=stutters,
    )


def _during(troubles: Iterable[Trouble], piece: Piece) -> list[Trouble]:
    overlapping = [
        trouble for trouble in troubles if trouble.start_ms < piece.end_ms and trouble.end_ms > piece.start_ms
    ]
    return sorted(overlapping, key=lambda trouble: trouble.start_ms)
