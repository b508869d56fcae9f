"""What a user sends during a stay: microphone, camera and its small twin, screen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from schemas.words import Role, StreamType
from services.simulator.traffic.plan import Piece, Room, Stay, Stream
from services.simulator.traffic.seeds import random_of

if TYPE_CHECKING:
    from random import Random

Span = tuple[int, int]
CAMERA_SIZES = ((1280, 720, 1_500_000), (960, 540, 900_000), (640, 480, 700_000), (640, 360, 550_000))
"""Width, height, bit/s."""
SCREEN_SIZES = ((1920, 1080, 1_200_000), (1280, 720, 800_000))
SMALL_SIZE = (320, 180, 120_000)
AUDIO_BITRATE = 48_000


def anchor_spans(stay: Stay) -> list[Span]:
    """When the user may send."""
    spans: list[Span] = []
    role, since = stay.role, stay.join_ms
    for at_ms, new_role in (*stay.role_changes, (stay.end_ms, Role.AUDIENCE)):
        if role == Role.ANCHOR and at_ms > since:
            spans.append((since, at_ms))
        role, since = new_role, at_ms
    return spans


def streams_of(seed: int, room: Room, call: int, stay: Stay) -> list[Stream]:
    """The uploads of one stay."""
    rng = random_of(seed, "media", room.index, call, stay.user_id, stay.number)
    shares_screen = rng.random() < 0.2
    return [stream for span in anchor_spans(stay) for stream in _streams_in(rng, stay, span, shares_screen)]


def _streams_in(rng: Random, stay: Stay, span: Span, shares_screen: bool) -> list[Stream]:
    streams = [
        _stream(stay, "audio", part, 50, AUDIO_BITRATE, _muted_pieces(rng, part))
        for part in _with_pauses(rng, _started(rng, span), 0.2)
    ]
    if rng.random() < 0.85:
        width, height, bitrate = rng.choice(CAMERA_SIZES)
        fps = rng.choice((15, 15, 20, 24, 30))
        for part in _with_pauses(rng, _started(rng, span), 0.25):
            pieces = _resized_pieces(stay, part, width, height)
            streams.append(_stream(stay, "big", part, fps, bitrate, pieces))
            if stay.profile.simulcast:
                small_width, small_height, small_bitrate = SMALL_SIZE
                small = (Piece(*part, small_width, small_height, muted=False),)
                streams.append(_stream(stay, "small", part, 15, small_bitrate, small))
    if shares_screen and span[1] - span[0] > 20_000:
        width, height, bitrate = rng.choice(SCREEN_SIZES)
        start_ms = span[0] + rng.randrange(3000, (span[1] - span[0]) // 2)
        end_ms = span[1] if rng.random() < 0.4 else start_ms + rng.randrange(5000, span[1] - start_ms)
        part = (start_ms, end_ms)
        streams.append(_stream(stay, "sub", part, 10, bitrate, (Piece(*part, width, height, muted=False),)))
    return streams


def _stream(
    stay: Stay, stream_type: StreamType, part: Span, fps: int, bitrate: int, pieces: tuple[Piece, ...]
) -> Stream:
    start_ms, end_ms = part
    return Stream(
        user_id=stay.user_id,
        type=stream_type,
        start_ms=start_ms,
        end_ms=end_ms,
        stopped=end_ms < stay.end_ms,
        fps=fps,
        bitrate=bitrate,
        pieces=pieces,
    )


def _started(rng: Random, span: Span) -> Span:
    """A device needs a moment after its user is in."""
    start_ms, end_ms = span
    return min(start_ms + rng.randrange(150, 1500), end_ms - 1), end_ms


def _with_pauses(rng: Random, span: Span, chance: float) -> list[Span]:
    """Now and then switched off for a while, or for good."""
    start_ms, end_ms = span
    if end_ms - start_ms < 25_000 or rng.random() > chance:
        return [span]
    off_ms = start_ms + rng.randrange(5000, end_ms - start_ms - 10_000)
    if rng.random() < 0.3:
        return [(start_ms, off_ms)]
    return [(start_ms, off_ms), (off_ms + rng.randrange(2000, end_ms - off_ms - 5000), end_ms)]


def _muted_pieces(rng: Random, part: Span) -> tuple[Piece, ...]:
    """Muting keeps the stream: silent packets flow."""
    start_ms, end_ms = part
    pieces: list[Piece] = []
    while end_ms - start_ms > 20_000 and rng.random() < 0.35:
        mute_ms = start_ms + rng.randrange(3000, end_ms - start_ms - 12_000)
        unmute_ms = mute_ms + rng.randrange(2500, min(30_000, end_ms - mute_ms))
        pieces += [Piece(start_ms, mute_ms, 0, 0, muted=False), Piece(mute_ms, unmute_ms, 0, 0, muted=True)]
        start_ms = unmute_ms
    if start_ms < end_ms:
        pieces.append(Piece(start_ms, end_ms, 0, 0, muted=False))
    return tuple(pieces)


def _resized_pieces(stay: Stay, part: Span, width: int, height: int) -> tuple[Piece, ...]:
    """The encoder takes a quarter of the pixels while the uplink is bad."""
    at_ms, end_ms = part
    pieces: list[Piece] = []
    for trouble in stay.troubles:
        start, stop = max(trouble.start_ms + 700, at_ms), min(trouble.end_ms, end_ms)
        if trouble.kind != "uplink" or trouble.severity < 0.5 or stop - start < 1000:
            continue
        if start > at_ms:
            pieces.append(Piece(at_ms, start, width, height, muted=False))
        pieces.append(Piece(start, stop, width // 2, height // 2, muted=False))
        at_ms = stop
    if at_ms < end_ms:
        pieces.append(Piece(at_ms, end_ms, width, height, muted=False))
    return tuple(pieces)
