"""The browser, and the pages that it shows."""

from __future__ import annotations

import fcntl
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from aiohttp import web
from playwright.async_api import async_playwright

from tests.browser import chromium

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from playwright.async_api import Browser

ROOT = Path(__file__).parents[2]
CLIENT = ROOT / "clients/web"
PAGE = Path(__file__).parent / "page"


@pytest.fixture(scope="session")
def web_client() -> Path:
    """The built browser client."""
    made = make("build")
    assert made.returncode == 0, made.stdout + made.stderr
    return CLIENT / "dist"


def make(target: str) -> subprocess.CompletedProcess[str]:
    """Run the web client's own make; one of several test processes at a time."""
    with (CLIENT / "Makefile").open() as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        return subprocess.run(
            ["make", "--no-print-directory", "-C", str(CLIENT), target],
            capture_output=True,
            text=True,
            timeout=170,
            check=False,
        )


@pytest.fixture(scope="module")
async def browser() -> AsyncIterator[Browser]:
    """A headless Chromium with a fake camera and microphone."""
    executable = chromium.require()
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=executable, headless=True, args=chromium.FLAGS)
        yield browser
        await browser.close()


@pytest.fixture(scope="module")
async def page_url(web_client: Path) -> AsyncIterator[str]:
    """The address of the page; its origin is not that of ingest."""
    app = web.Application()
    app.router.add_static("/client", web_client)
    app.router.add_static("/", PAGE)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://localhost:{runner.addresses[0][1]}/index.html"
    await runner.cleanup()
