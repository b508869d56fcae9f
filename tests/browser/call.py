"""A WebRTC call between two pages of one browser."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from tests.browser.network import Link

if TYPE_CHECKING:
    from playwright.async_api import Browser, BrowserContext, Page

VIDEO = {"width": 320, "height": 240, "frameRate": 15}


@dataclass(frozen=True)
class Party:
    """Who takes part, and what its web client is told."""

    user_id: str
    options: dict[str, Any]


class Call:
    """Two parties who see and hear each other; as a context manager it is held and then closed.

    Each page is a context of its own, so that storage is not shared. Every packet is under way for `delay_ms`.
    """

    def __init__(self, browser: Browser, url: str, *, delay_ms: float = 20) -> None:
        self._browser = browser
        self._url = url
        self._links = [Link(delay_ms), Link(delay_ms)]
        self._contexts: list[BrowserContext] = []
        self.pages: list[Page] = []

    async def __aenter__(self) -> Self:
        for link in self._links:
            await link.__aenter__()
        for _ in range(2):
            context = await self._browser.new_context()
            self._contexts.append(context)
            page = await context.new_page()
            await page.goto(self._url)
            await page.wait_for_function("() => window.call !== undefined")
            await page.evaluate("video => call.capture(video)", VIDEO)
            self.pages.append(page)
        caller, callee = self.pages
        link = self._links[0]
        offer = await caller.evaluate("() => call.offer()")
        answer = await callee.evaluate("offer => call.answer(offer)", link.carry(0, offer))
        await caller.evaluate("answer => call.accept(answer)", link.carry(1, answer))
        await asyncio.gather(*(page.evaluate("() => call.playing()") for page in self.pages))
        return self

    async def __aexit__(self, *_: object) -> None:
        for context in self._contexts:
            await context.close()
        for link in self._links:
            await link.__aexit__()

    async def enter(self, *parties: Party) -> list[str]:
        """Both begin to measure; their session ids."""
        first, second = parties
        return [
            await page.evaluate("([options, peer]) => call.enter(options, peer)", [party.options, other.user_id])
            for page, party, other in zip(self.pages, parties, (second, first), strict=True)
        ]

    async def share_screen(self, user_id: str) -> None:
        """The first party, `user_id`, shares a screen over a connection of its own."""
        caller, callee = self.pages
        link = self._links[1]
        offer = link.carry(0, await caller.evaluate("() => call.shareScreen()"))
        answer = await callee.evaluate("([offer, peer]) => call.seeScreen(offer, peer)", [offer, user_id])
        await caller.evaluate("answer => call.acceptScreen(answer)", link.carry(1, answer))

    async def close_screen(self) -> None:
        """The first party shares its screen no longer."""
        await asyncio.gather(*(page.evaluate("() => call.closeScreen()") for page in self.pages))

    async def pause(self, side: int, kind: str, ms: int) -> dict[str, Any]:
        """One side sends nothing of a kind for `ms` milliseconds, its track stays as it is.

        Gives `start` (Unix milliseconds) and the tracks in the middle of the pause: `sent`, `received`.
        """
        sender, receiver = self.pages[side], self.pages[1 - side]
        pausing = asyncio.ensure_future(sender.evaluate("([kind, ms]) => call.pause(kind, ms)", [kind, ms]))
        await asyncio.sleep(ms / 2000)
        tracks = {
            "sent": await sender.evaluate("kind => call.track('sender', kind)", kind),
            "received": await receiver.evaluate("kind => call.track('receiver', kind)", kind),
        }
        return {**await pausing, **tracks}

    async def leave(self) -> list[dict[str, Any]]:
        """Both leave the room; what their clients saw: `errors` and the numbers of `accepted` reports."""
        return list(await asyncio.gather(*(page.evaluate("() => call.leave()") for page in self.pages)))
