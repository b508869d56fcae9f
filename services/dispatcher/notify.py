"""Telling the operator: JSON to a URL of the installation's own."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Self

import aiohttp
import orjson
import structlog

if TYPE_CHECKING:
    from services.runtime.settings import Settings

log = structlog.get_logger(__name__)

MAX_WAITING = 1_000
"""Messages that wait; what comes beyond is dropped. Each is a line in the log anyway."""
_PAUSES_S = (1, 5, 15)
_TIMEOUT_S = 5


class Notifier:
    """Posts messages one after another, each once more after some pauses where it was not answered with 2xx.

    `notify` never waits, and nobody waits for what it leads to.
    """

    def __init__(self, settings: Settings) -> None:
        self._url = settings.callback_notify_url
        self._messages: asyncio.Queue[dict[str, Any]] = asyncio.Queue(MAX_WAITING)

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_TIMEOUT_S))
        self._task = asyncio.create_task(self._post_for_ever(), name="notify") if self._url else None
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        await self._session.close()

    def notify(self, message: dict[str, Any]) -> None:
        """Post a message soon."""
        if self._url:
            try:
                self._messages.put_nowait(message)
            except asyncio.QueueFull:
                log.warning("a message for the operator is dropped", message=message)

    async def _post_for_ever(self) -> None:
        while True:
            message = await self._messages.get()
            for pause_s in (*_PAUSES_S, None):
                try:
                    await self._post(message)
                    break
                except (aiohttp.ClientError, OSError, ValueError) as error:
                    if pause_s is None:
                        log.warning("the operator could not be told", error=repr(error), message=message)
                        break
                    await asyncio.sleep(pause_s)

    async def _post(self, message: dict[str, Any]) -> None:
        headers = {"Content-Type": "application/json"}
        async with self._session.post(self._url, data=orjson.dumps(message), headers=headers) as response:
            response.raise_for_status()
