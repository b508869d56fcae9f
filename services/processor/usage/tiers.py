"""Tiers by aggregate resolution. Arithmetic alone; what they add up to is rounded by the views of usage."""

from __future__ import annotations

from enum import IntEnum

HD_PIXELS, FHD_PIXELS, TWO_K_PIXELS = 1280 * 720, 1920 * 1080, 2560 * 1440
"""The most pixels of a tier: their product decides, not width or height."""


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
