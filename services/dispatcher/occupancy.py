"""How many callbacks are in memory, and whether one more of an endpoint may be."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from services.dispatcher.scheduler import EndpointKey

MAX_HELD = 50_000
"""Callbacks in memory, about one kilobyte each."""
_SHARE_OF_FREE = 0.25
"""An endpoint may have this part of what is free, so that there is always room for the next one."""
_AT_LEAST = 16
"""So many an endpoint may have in any case, so that it gets on however full it is."""


class Occupancy:
    """Counts callbacks by endpoint. One endpoint alone never gets more than a fifth of `limit`."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held: dict[EndpointKey, int] = {}
        self._total = 0

    @property
    def total(self) -> int:
        """Callbacks in memory."""
        return self._total

    def enter(self, key: EndpointKey) -> None:
        """One more is in memory."""
        self._held[key] = self._held.get(key, 0) + 1
        self._total += 1

    def leave(self, key: EndpointKey) -> None:
        """One less is in memory."""
        held = self._held[key] - 1
        if held:
            self._held[key] = held
        else:
            del self._held[key]
        self._total -= 1

    def share(self, key: EndpointKey) -> int:
        """How many of an endpoint may be in memory at present, those that are included."""
        held = self._held.get(key, 0)
        return max(_AT_LEAST, int((self._limit - self._total + held) * _SHARE_OF_FREE / (1 + _SHARE_OF_FREE)))

    def room(self, key: EndpointKey) -> int:
        """How many more of an endpoint may come."""
        return max(0, self.share(key) - self._held.get(key, 0))
