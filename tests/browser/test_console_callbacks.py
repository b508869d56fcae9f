"""Callbacks on the console's page: one in full, sent once more, and a test; every service is there."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from playwright.async_api import expect

from services.console.web.build import build
from tests.integration.dispatching import World, callback_stack, room_event
from tests.support.clickhouse import free_port
from tests.support.receiver import Receiver, reply

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from playwright.async_api import Browser, Page

    from schemas.applications import Application
    from tests.support.clickhouse import ClickHouseServer
    from tests.support.kafka import KafkaBroker
    from tests.support.stack import Stack

WAIT_MS = 30_000
HOSTILE = '<img src=x onerror=alert(1)>"\u202e'

expect.set_options(timeout=WAIT_MS)


@pytest.fixture(scope="module")
async def stack(
    tmp_path_factory: pytest.TempPathFactory, kafka: KafkaBroker, clickhouse: ClickHouseServer
) -> AsyncIterator[Stack]:
    build()
    async with callback_stack(tmp_path_factory.mktemp("stack"), kafka, clickhouse, retry_window_s=0.5) as stack:
        yield stack


@pytest.fixture(scope="module")
async def world(stack: Stack) -> AsyncIterator[World]:
    async with World(stack.settings) as world:
        yield world


@pytest.fixture(scope="module")
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver() as receiver:
        yield receiver


@asynccontextmanager
async def opened(browser: Browser, stack: Stack, application: Application) -> AsyncIterator[Page]:
    """The application's page; it fails the test when anything is wrong with it."""
    page = await browser.new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("dialog", lambda dialog: wrong.append(f"dialog: {dialog.message}"))
    page.on("console", lambda message: wrong.extend([message.text] * (message.type in ("error", "warning"))))
    try:
        await page.goto(f"{stack.services['console'].url}/?app={application.sdk_app_id}")
        await expect(page.get_by_test_id("state")).to_contain_text("Live")
        yield page
    finally:
        await page.close()
    assert wrong == []


async def test_a_callback_that_was_given_up_is_looked_at_and_sent_once_more(
    browser: Browser, stack: Stack, world: World, receiver: Receiver
) -> None:
    app = await world.application(room_url=receiver.script("/hook", reply(500, HOSTILE.encode() + b"\nnot yet")))
    await world.publish(room_event(app, "lobby", event_id=HOSTILE))
    async with opened(browser, stack, app) as page:
        rows = page.get_by_test_id("callbacks").locator("tbody tr")
        await expect(rows.first).to_contain_text("given up")
        await rows.first.get_by_role("button").click()
        details = page.get_by_test_id("callback-details")
        await expect(details).to_contain_text("103 user entered, given up")
        await expect(details).to_contain_text('<img src=x onerror=alert(1)>"⟨U+202E⟩')
        attempts = details.get_by_test_id("attempt")
        failed = len(receiver.at("/hook"))
        await expect(attempts).to_have_count(failed)
        await expect(attempts.first).to_contain_text("status 500")
        await expect(attempts.first.get_by_test_id("response")).to_contain_text("not yet")
        await attempts.first.get_by_text("The request").click()
        first = receiver.at("/hook")[0]
        await expect(attempts.first.get_by_test_id("request-body")).to_have_text(first.body.decode())
        head = await attempts.first.get_by_test_id("request-head").inner_text()
        assert head.splitlines()[0] == f"POST {receiver.url('/hook')}"
        assert set(head.splitlines()[1:]) == {f"{name}: {value}" for name, value in first.headers}
        await expect(details.get_by_test_id("next").get_by_test_id("request-body")).to_contain_text('"EventType":103')

        receiver.script("/hook", reply())
        await details.get_by_role("button", name="Send once more").click()
        await expect(attempts).to_have_count(failed + 1)
        await expect(attempts.last).to_contain_text("delivered")
        await expect(details).to_contain_text("103 user entered, delivered")
        await expect(details.get_by_role("button", name="Send once more")).to_have_count(0)
        await page.set_viewport_size({"width": 390, "height": 800})
        assert await page.evaluate("document.documentElement.scrollWidth") <= 390
        await page.keyboard.press("Escape")
        await expect(details).to_have_count(0)
        await expect(rows.first).to_contain_text("delivered")
    assert len(receiver.at("/hook")) == failed + 1
    assert receiver.at("/hook")[-1].json["EventInfo"] == first.json["EventInfo"]


async def test_a_test_callback_from_the_page(browser: Browser, stack: Stack, world: World, receiver: Receiver) -> None:
    app = await world.application(
        room_url=receiver.url("/tested"), group_urls={"9": f"http://127.0.0.1:{free_port()}/nobody"}
    )
    async with opened(browser, stack, app) as page:
        await page.get_by_role("button", name="Test …").click()
        dialog = page.get_by_test_id("test-callback")
        result = dialog.get_by_test_id("test-result")
        await dialog.get_by_role("button", name="Send").click()
        await expect(result).to_contain_text("status 200")
        await expect(result).to_contain_text("127.0.0.1: callbacks may go there, tried")
        (received,) = receiver.at("/tested")
        await expect(result.get_by_test_id("request-body")).to_have_text(received.body.decode())
        await dialog.get_by_test_id("test-group").select_option("9")
        await dialog.get_by_role("button", name="Send").click()
        await expect(result).to_contain_text("not delivered")
        await expect(result).to_contain_text("refused")
        await dialog.get_by_role("button", name="Close").click()
        await expect(dialog).to_have_count(0)


async def test_without_a_url_there_is_nothing_to_test(browser: Browser, stack: Stack, world: World) -> None:
    app = await world.application()
    async with opened(browser, stack, app) as page:
        await page.get_by_role("button", name="Test …").click()
        await expect(page.get_by_test_id("test-callback")).to_contain_text(f"set-callback {app.sdk_app_id}")
