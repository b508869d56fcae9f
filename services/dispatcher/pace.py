"""How quickly callbacks may follow each other at an endpoint whose application has a rate."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.dispatcher.scheduler import EndpointKey
    from services.runtime.clock import Clock

CATCH_UP_MS = 20
"""What a busy event loop lets slip may be made up for, so much at most."""
_MAX_IDLE = 10_000


class Paces:
    """Spaces attempts evenly. After a pause there is no burst."""

    def __init__(self, clock: Clock, rate_of: Callable[[int], float]) -> None:
        """`rate_of` tells the attempts a second of each endpoint of an application, 0 where there is no bound."""
        self._clock = clock
        self._rate_of = rate_of
        self._next_ms: dict[EndpointKey, float] = {}

    def next_ms(self, key: EndpointKey) -> int:
        """When the next attempt may begin, 0 where it may at once."""
        if not self._rate_of(key[0]):
            return 0
        next_ms = ceil(self._next_ms.get(key, 0))
        return next_ms if next_ms > self._clock() else 0

    def started(self, key: EndpointKey) -> None:
        """An attempt begins."""
        rate = self._rate_of(key[0])
        if not rate:
            self._next_ms.pop(key, None)
            return
        now_ms = self._clock()
        due_ms = self._next_ms.pop(key, now_ms)
        self._next_ms[key] = (due_ms if now_ms - due_ms <= CATCH_UP_MS else now_ms) + 1000 / rate
        if len(self._next_ms) > _MAX_IDLE:
            self._next_ms = {key: next_ms for key, next_ms in self._next_ms.items() if next_ms > now_ms}
