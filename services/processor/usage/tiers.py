"""Tiers by aggregate resolution, and the rounding of what they add up to. Arithmetic alone."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

HD_PIXELS, FHD_PIXELS, TWO_K_PIXELS = 1280 * 720, 1920 * 1080, 2560 * 1440
"""The most pixels of a tier: their product decides, not width or height."""
_MINUTE_MS = 60_000


class Tier(IntEnum):
    """What a moment is charged as. There is no tier above 2K+."""

    AUDIO = 0
    HD = 1
    FHD = 2
    TWO_K = 3
    TWO_K_PLUS = 4


def tier_of(pixels: int) -> Tier:
    """The tier of all pictures of a moment, their pixels added up; 0 where there is no picture."""
    if pixels <= 0:
        return Tier.AUDIO
    if pixels <= HD_PIXELS:
        return Tier.HD
    if pixels <= FHD_PIXELS:
        return Tier.FHD
    return Tier.TWO_K if pixels <= TWO_K_PIXELS else Tier.TWO_K_PLUS


def billable_minutes(milliseconds: int) -> int:
    """Minutes of a day's total, rounded up; also those of a detail row, where anything under a minute shows as 1."""
    return -(-milliseconds // _MINUTE_MS)


def deductions(periods_ms: Iterable[int]) -> list[int]:
    """Minutes that each five minutes of one day take from a package: the increase of the day's rounded total."""
    taken = []
    total_ms = minutes = 0
    for period_ms in periods_ms:
        total_ms += period_ms
        taken.append(billable_minutes(total_ms) - minutes)
        minutes += taken[-1]
    return taken
