"""`python -m tests.bench.record`: hold real calls in Chromium and keep what the web client reports of them.

Two pages of one browser, fake camera and microphone, the web client as it is built, and between them real UDP through a
link that delays, drops and queues as networks do. The file has a line of its origin and then one for each user of each
call; times count from the start of the first sample.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import msgspec
from aiohttp import web
from playwright.async_api import async_playwright

from tests.bench.recording import RECORDING
from tests.browser import chromium
from tests.browser.call import Call, Party
from tests.browser.conftest import CLIENT, PAGE
from tests.browser.network import Link, _End
from tests.browser.receiver import Receiver

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from playwright.async_api import Browser

USERS = ("alice", "bob")
SECONDS = 64
_QUEUE_S = 0.6
"""What would wait longer than this at a narrow place is dropped, as routers do."""


class Profile(NamedTuple):
    """A network, one way."""

    name: str
    delay_ms: float
    swing_ms: float
    """Standard deviation of the delay."""
    loss: float
    bits_per_second: float
    screen: bool = False
    """Whether a screen is shared in the call."""


PROFILES = (
    Profile("wired", 12, 0.8, 0, 100e6, screen=True),
    Profile("wifi", 25, 6, 0.003, 20e6),
    Profile("mobile", 45, 12, 0.01, 1.2e6),
    Profile("poor", 90, 30, 0.06, 280e3),
)


class RoughLink(Link):
    """A link that behaves as a profile says; packets of one direction keep their order."""

    def __init__(self, profile: Profile) -> None:
        super().__init__(profile.delay_ms)
        self._profile = profile

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        for _ in range(2):
            _, end = await loop.create_datagram_endpoint(lambda: _RoughEnd(self._profile), local_addr=("0.0.0.0", 0))
            self._ends.append(end)
        first, second = self._ends
        first.other, second.other = second, first
        return self


class _RoughEnd(_End):
    def __init__(self, profile: Profile) -> None:
        super().__init__(profile.delay_ms / 1000)
        self._profile = profile
        self._draw = random.Random(7)
        self._free_at = 0.0
        """When the narrow place has sent all that it has."""
        self._arrives_at = 0.0

    def datagram_received(self, data: bytes, _: Any) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        if self._draw.random() < self._profile.loss or self._free_at - now > _QUEUE_S:
            return
        self._free_at = max(self._free_at, now) + len(data) * 8 / self._profile.bits_per_second
        under_way = max(0.0, self._draw.gauss(self._profile.delay_ms, self._profile.swing_ms)) / 1000
        self._arrives_at = max(self._arrives_at, self._free_at + under_way)
        loop.call_at(self._arrives_at, self.other.send, data)


class RoughCall(Call):
    """A call over such links."""

    def __init__(self, browser: Browser, url: str, profile: Profile) -> None:
        super().__init__(browser, url)
        self._links = [RoughLink(profile), RoughLink(profile)]


async def hold(browser: Browser, url: str, profile: Profile) -> list[dict[str, Any]]:
    """One call; a line for each user."""
    async with Receiver() as receiver, RoughCall(browser, url, profile) as call:
        common = {"endpoint": receiver.url, "sdkAppId": 1400000001, "roomId": 1, "role": 20, "userSig": "none"}
        await call.enter(*(Party(user, {**common, "userId": user}) for user in USERS))
        if profile.screen:
            await call.share_screen("alice")
        await asyncio.sleep(SECONDS)
        await call.leave()
        bodies = [msgspec.json.decode(body) for body in receiver.bodies]
    lines = []
    for user in USERS:
        reports = {body["Seq"]: body for body in bodies if body["UserId"] == user}
        samples = sorted((one for body in reports.values() for one in body["Samples"]), key=lambda one: one["StartMs"])
        # The first and the last are not whole.
        samples = samples[1:-1]
        first = samples[0]["StartMs"]
        lines.append(
            {
                "Profile": profile.name,
                "User": user,
                "Samples": [{**sample, "StartMs": sample["StartMs"] - first} for sample in samples],
            }
        )
    return lines


@contextlib.asynccontextmanager
async def page() -> AsyncIterator[str]:
    """The address of the page."""
    app = web.Application()
    app.router.add_static("/client", CLIENT / "dist")
    app.router.add_static("/", PAGE)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://localhost:{runner.addresses[0][1]}/index.html"
    await runner.cleanup()


async def record() -> None:
    """Hold a call of each profile, one after another."""
    lines: list[dict[str, Any]] = []
    async with page() as url, async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium.find(), headless=True, args=chromium.FLAGS)
        origin = f"getStats of Chromium {browser.version} as the web client reported it, by tests/bench/record.py"
        for profile in PROFILES:
            lines += await hold(browser, url, profile)
        await browser.close()
    encoded = [msgspec.json.encode(line) for line in ({"Origin": origin}, *lines)]
    RECORDING.write_bytes(b"\n".join(encoded) + b"\n")


if __name__ == "__main__":
    asyncio.run(record())
