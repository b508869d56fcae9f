"""How many requests an endpoint takes at a time, learnt from how it bears them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from services.dispatcher.scheduler import EndpointKey
    from services.dispatcher.sender import Answer

FLOOR_SHARE = 4
"""No endpoint's limit falls below this part of the full one, so that one that only hangs at times gets on."""
MAX_STRAINED = 10_000
"""Endpoints whose limit is remembered; of more, those that were strained longest ago begin anew."""
_OVERLOADED = frozenset({429, 503})


def strains(answer: Answer) -> bool:
    """Whether an attempt ended as it does at an endpoint that has too much to do."""
    return answer.error_class == "timeout" or answer.status in _OVERLOADED


class Pressure:
    """Limits by endpoint: halved at every sign of overload, one more for as many answers as the limit is.

    It outlives an endpoint's queue: what hangs must not begin with the full limit whenever its retries are due.
    """

    def __init__(self, full: int) -> None:
        self._full = full
        self._floor = max(1, full // FLOOR_SHARE)
        self._limits: dict[EndpointKey, float] = {}
        """Of those that have less than the full limit."""

    def limit(self, key: EndpointKey) -> int:
        """How many requests an endpoint may have in the air."""
        return int(self._limits.get(key, self._full))

    def note(self, key: EndpointKey, *, strained: bool) -> None:
        """An attempt has ended."""
        if not strained and key not in self._limits:
            return
        limit = self._limits.pop(key, self._full)
        if strained:
            limit = max(min(self._floor, limit), limit / 2)
        else:
            limit += 1 if limit < self._floor else 1 / limit
        if limit < self._full:
            self._limits[key] = limit
            if len(self._limits) > MAX_STRAINED:
                del self._limits[next(iter(self._limits))]

    def restart(self, key: EndpointKey) -> None:
        """Begin with one request at a time; up to the floor, each good answer raises that by one."""
        self._limits.pop(key, None)
        self._limits[key] = 1.0

    def __len__(self) -> int:
        return len(self._limits)
