"""What new facts touched: topic `touched`, from those who insert facts to those who recompute what depends on them."""

from __future__ import annotations

from zlib import crc32

from msgspec import Struct

from schemas.words import SdkAppId, UnixMs

BUCKET_MS = 10_000
"""Length of the finest rollup."""


class TouchedApplication(Struct, frozen=True, array_like=True):
    """Rollup rows of an application, one for each bucket."""

    sdk_app_id: SdkAppId
    buckets: tuple[UnixMs, ...]


class TouchedCall(Struct, frozen=True, array_like=True):
    """Calls of the rooms with this text, of either type, from the earliest event that is new."""

    sdk_app_id: SdkAppId
    room_id: str
    since_ms: UnixMs


class Touched(Struct, rename="pascal", omit_defaults=True):
    """The value of one record of topic `touched`."""

    applications: list[TouchedApplication] = []
    calls: list[TouchedCall] = []


def owner_of(scope: str, partitions: int) -> int:
    """The partition of topic `touched` in which a room (`SdkAppId/room`) or application (`SdkAppId`) belongs.

    All of one scope meet in one partition, so that one worker recomputes it.
    """
    return crc32(scope.encode()) % partitions
