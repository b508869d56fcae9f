"""How much callbacks take of the memory, and whether an endpoint may have more of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Container

    from services.dispatcher.scheduler import EndpointKey

MAX_HELD = 50_000
"""Weight of the callbacks in memory; an ordinary one weighs one, which is about a kilobyte."""
_SHARE_OF_FREE = 0.25
"""An endpoint may have this part of what is free, so that there is always room for the next one."""
SQUEEZED = 64
"""An endpoint that is closed off has no more than this: enough to begin with when it is opened."""
_AT_LEAST = 16
"""So many an endpoint may have in any case, so that it gets on however full it is."""


class Occupancy:
    """Weighs callbacks by endpoint. One endpoint alone never gets more than a fifth of `limit`."""

    def __init__(self, limit: int, squeezed: Container[EndpointKey] = ()) -> None:
        """`squeezed`: endpoints that have to make do with little."""
        self._limit = limit
        self._squeezed = squeezed
        self._held: dict[EndpointKey, int] = {}
        self._total = 0

    @property
    def total(self) -> int:
        """Weight of the callbacks in memory."""
        return self._total

    def enter(self, key: EndpointKey, weight: int) -> None:
        """One more is in memory."""
        self._held[key] = self._held.get(key, 0) + weight
        self._total += weight

    def leave(self, key: EndpointKey, weight: int) -> None:
        """One less is in memory."""
        held = self._held[key] - weight
        if held:
            self._held[key] = held
        else:
            del self._held[key]
        self._total -= weight

    def share(self, key: EndpointKey) -> int:
        """What an endpoint may have at present, what it has included."""
        held = self._held.get(key, 0)
        share = max(_AT_LEAST, int((self._limit - self._total + held) * _SHARE_OF_FREE / (1 + _SHARE_OF_FREE)))
        return min(share, SQUEEZED) if key in self._squeezed else share

    def held(self, key: EndpointKey) -> int:
        """What an endpoint has."""
        return self._held.get(key, 0)

    def room(self, key: EndpointKey) -> int:
        """How much more of an endpoint may come."""
        return max(0, self.share(key) - self._held.get(key, 0))
