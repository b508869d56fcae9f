"""Ending Kafka clients in a time that does not depend on Kafka."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Coroutine

CLOSE_WITHIN_S = 0.3
"""Several are ended one after the other, and a service that was asked to end has a few seconds for everything."""


async def close_soon(*stops: Coroutine[Any, Any, None]) -> None:
    """Wait for clients to end, but not long: Kafka may be away, and nobody needs what is not acknowledged by now."""
    await asyncio.wait([asyncio.create_task(stop) for stop in stops], timeout=CLOSE_WITHIN_S)
