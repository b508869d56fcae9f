"""What one interval of a media task is charged as. Arithmetic alone.

Usage follows the facts of the interval, not the name of the task: a relay that transcodes owes mix-transcoding minutes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from schemas.keys import room_key
from services.processor.usage.tiers import Tier, tier_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from schemas.tasks import Robot, TaskInput, TaskInterval, TaskOutput

Charged = Literal["robot", "record", "web-record", "mix-h264", "mix-h265", "relay", "delivery"]
UP_SCALING = 2
"""An output of more than so many times the pixels of all inputs is charged as one more input."""


class Charge(NamedTuple):
    """Something that goes on for the whole interval."""

    kind: Charged
    tier: Tier
    free: bool
    times: int = 1
    """How often it is charged: once for each format of a recording."""
    bitrate: int = 0
    """bit/s, of relays and deliveries."""
    room_id: str = ""
    room_id_type: int = 0
    user_id: str = ""
    """Robots: who is in which room."""


def charges(interval: TaskInterval) -> list[Charge]:
    """All that an interval is charged as; what is equal is there once with its number of times."""
    found: list[Charge] = [*_robots(interval)]
    if interval.task_type == "record":
        formats = sum(_formats(output) for output in interval.outputs)
        found.append(Charge("record", tier_of(_pixels(interval.inputs)), free=False, times=max(1, formats)))
    elif interval.task_type == "web-record":
        # A page that is recorded has its size by the output; it is a picture in any case.
        size = max((_size(output) for output in interval.outputs), default=0)
        formats = sum(_formats(output) for output in interval.outputs)
        found.append(Charge("web-record", tier_of(max(size, 1)), free=False, times=max(1, formats)))
    elif interval.task_type in ("mix", "relay"):
        found += _mixes(interval)
    for output in interval.outputs:
        bitrate = (output.video_bitrate or 0) + (output.audio_bitrate or 0)
        if output.destination in ("css", "other-cdn") and interval.task_type in ("mix", "relay"):
            found.append(Charge("relay", Tier.AUDIO, free=output.destination == "css", bitrate=bitrate))
        elif output.destination in ("cos", "other-storage"):
            found.append(Charge("delivery", Tier.AUDIO, free=True, bitrate=bitrate))
    return found


def _robots(interval: TaskInterval) -> Iterable[Charge]:
    """Robots are charged as users for what they receive, unless the task serves one of our own services alone."""
    targets = {output.destination for output in interval.outputs} - {None}
    own = "vod" if interval.task_type == "record" else "css"
    free = interval.task_type in ("record", "mix", "relay") and targets == {own}
    home = _home(interval)
    for robot in interval.robots:
        room = _room(robot, home)
        received = [source for source in interval.inputs if _room(source, home) == room]
        # Who brings a stream into a room subscribes to nothing there.
        pixels = 0 if interval.task_type == "ingest" else _pixels(received)
        yield Charge("robot", tier_of(pixels), free, room_id=room[0], room_id_type=room[1], user_id=robot.user_id)


def _mixes(interval: TaskInterval) -> list[Charge]:
    """Mix-transcoding by what goes in, once for each codec that comes out."""
    codecs = {output.codec for output in interval.outputs if output.codec in ("h264", "h265")}
    mixed = len({(_room(source, _home(interval)), source.user_id) for source in interval.inputs}) > 1
    if not codecs and not mixed:
        return []
    pixels = _pixels(interval.inputs)
    found = []
    for codec in sorted(codecs):
        size = max(_size(output) for output in interval.outputs if output.codec == codec)
        # A black picture where none comes in; one more of the output's size where the output is much larger.
        virtual = size if size > UP_SCALING * pixels else 0
        kind: Charged = "mix-h265" if codec == "h265" else "mix-h264"
        found.append(Charge(kind, tier_of(pixels + virtual), free=False))
    if not found:
        # Sounds are mixed and no picture comes out.
        found.append(Charge("mix-h264", Tier.AUDIO, free=False))
    return found


def _home(interval: TaskInterval) -> tuple[str, int]:
    if interval.room_id is None:
        return "", 0
    text, kind = room_key(interval.room_id)
    return text, kind if interval.room_id_type is None else interval.room_id_type


def _room(place: Robot | TaskInput, home: tuple[str, int]) -> tuple[str, int]:
    if place.room_id is None:
        return home
    text, kind = room_key(place.room_id)
    return text, kind if place.room_id_type is None else place.room_id_type


def _pixels(inputs: Iterable[TaskInput]) -> int:
    """All pictures together; one of unknown size is no less than the smallest."""
    return sum((source.width or 1) * (source.height or 1) for source in inputs if source.type != "audio")


def _size(output: TaskOutput) -> int:
    return (output.width or 0) * (output.height or 0)


def _formats(output: TaskOutput) -> int:
    return 2 if output.format == "hls+mp4" else 1
