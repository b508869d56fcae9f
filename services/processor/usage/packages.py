"""How minutes are taken from packages. Arithmetic alone: buying and ending packages is the control plane's business."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from services.processor.usage.tiers import Tier

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Service = Literal["av", "recording", "mix-transcoding"]
SERVICES: tuple[Service, ...] = ("av", "recording", "mix-transcoding")
"""In the order in which the free package pays for them; within each the tiers from audio to 2K+."""
MONTHLY_RATIO = {Tier.AUDIO: 1, Tier.HD: 4, Tier.FHD: 9, Tier.TWO_K: 16, Tier.TWO_K_PLUS: 36}
"""Minutes that a monthly package gives for a minute of a tier; the free package gives one for one."""

Used = dict[tuple[Service, Tier], int]
"""Minutes by service and tier."""


class Paid(NamedTuple):
    """Who paid for what was used."""

    free_left: int
    monthly_left: int
    rest: Used
    """Minutes that no package covered."""


def pay(used: Mapping[tuple[Service, Tier], int], free: int, monthly: Iterable[int]) -> Paid:
    """Take what one application used from the account's free minutes, then from its monthly packages in their order.

    Monthly packages pay for audio and video only, with their ratio. A minute is never split between two packages.
    """
    rest: Used = {}
    packages = list(monthly)
    for service in SERVICES:
        for tier in Tier:
            minutes = used.get((service, tier), 0)
            from_free = min(minutes, free)
            free -= from_free
            minutes -= from_free
            if service == "av":
                ratio = MONTHLY_RATIO[tier]
                for number, left in enumerate(packages):
                    covered = min(minutes, left // ratio)
                    packages[number] -= covered * ratio
                    minutes -= covered
            if minutes:
                rest[service, tier] = minutes
    return Paid(free, sum(packages), rest)
