"""The receiving side: a customer's server that takes its time, and sometimes fails the first time."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Self
from zlib import crc32

from schemas.callbacks import sign_matches
from tests.chaos.stream import content_of
from tests.support.receiver import Receiver, reply

if TYPE_CHECKING:
    from schemas.applications import Application
    from tests.support.receiver import Received

PATH = "/callback"
FAILS_FIRST = 20
"""One event of so many is refused the first time that it comes."""


class Customer:
    """Verifies and counts. Slow enough that callbacks are always in the air."""

    def __init__(self) -> None:
        self._receiver = Receiver()
        self.delivered: Counter[str] = Counter()
        """Events by their content, with the number of answers of 200."""
        self.unverified = 0
        self._refused: set[str] = set()
        self.in_the_air = 0
        """Callbacks that were not answered yet."""
        self.application: Application | None = None

    @property
    def url(self) -> str:
        """Where callbacks go."""
        return self._receiver.url(PATH)

    async def __aenter__(self) -> Self:
        await self._receiver.__aenter__()
        self._receiver.script(PATH, self._answer)
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._receiver.__aexit__(*error)

    async def _answer(self, received: Received, writer: asyncio.StreamWriter) -> bool:
        assert self.application is not None
        app = self.application
        if not sign_matches(app.callback_key, received.body, received.header("Sign") or ""):
            self.unverified += 1
        content = content_of(app.sdk_app_id, received.json)
        number = crc32(content.encode())
        self.in_the_air += 1
        try:
            await asyncio.sleep(0.05 + number % 100 / 500)
            if number % FAILS_FIRST == 0 and content not in self._refused:
                self._refused.add(content)
                return await reply(503)(received, writer)
            again = await reply()(received, writer)
            self.delivered[content] += 1
        finally:
            self.in_the_air -= 1
        return again
