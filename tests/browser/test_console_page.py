"""The console's page in a browser, over a console and a ClickHouse that are processes of their own."""

from __future__ import annotations

import asyncio
import urllib.request
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp.test_utils import TestServer
from playwright.async_api import expect

from services.console.monitor import Monitor
from services.console.service import build_app
from services.console.store import ApplicationStore
from services.console.web.build import build
from services.runtime.clickhouse import migrate
from services.runtime.clock import now_ms
from services.runtime.settings import Settings
from tests.support.clickhouse import free_port
from tests.support.rollups import Rollups
from tests.support.stack import ServiceProcess, settings_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from playwright.async_api import Browser, Page, Request

    from tests.support.clickhouse import ClickHouseServer

WAIT_MS = 30_000
HOSTILE = ["<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "W" * 64, "{{7*7}}", "a  b", "\u202egnp.exe"]
ZONE = "Asia/Kolkata"

expect.set_options(timeout=WAIT_MS)


@pytest.fixture(scope="module")
async def settings(clickhouse: ClickHouseServer, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    settings = settings_of(environment(clickhouse, tmp_path_factory.mktemp("page"), free_port()))
    await migrate(settings)
    return settings


def environment(clickhouse: ClickHouseServer, data: Path, port: int) -> dict[str, str]:
    """Kafka is not there: the page can do without."""
    return {
        "ROOMPULSE_DATA": str(data),
        "ROOMPULSE_HOST": "127.0.0.1",
        "ROOMPULSE_CLICKHOUSE_URL": clickhouse.url,
        "ROOMPULSE_CLICKHOUSE_DATABASE": "console_page",
        "ROOMPULSE_KAFKA_BOOTSTRAP": f"127.0.0.1:{free_port()}",
        "ROOMPULSE_CONSOLE_PORT": str(port),
    }


@pytest.fixture(scope="module")
def console(settings: Settings, clickhouse: ClickHouseServer) -> Iterator[ServiceProcess]:
    build()
    console = ServiceProcess("console", settings, environment(clickhouse, settings.data, settings.console_port))
    console.launch()
    yield console
    console.stop()


@pytest.fixture
def rollups(settings: Settings, clickhouse: ClickHouseServer) -> Rollups:
    """A fresh application's rows."""
    store = ApplicationStore(settings)
    application = store.create("page")
    store.close()
    return Rollups(clickhouse, settings.clickhouse_database, application.sdk_app_id)


def fill(rollups: Rollups, **columns: Any) -> None:
    """The same numbers from ten minutes ago until three minutes hence, so that the time of day does not matter."""
    rollups.app_window(now_ms() // 10_000 * 10_000 + 180_000, 78, **columns)


def fill_rooms(rollups: Rollups, rooms: dict[str, dict[str, Any]]) -> None:
    """The same rooms in every bucket that the page may show during a test."""
    last = now_ms() // 10_000 * 10_000 + 90_000
    for room_id, columns in rooms.items():
        rollups.room_window(last, 15, room_id, 1, **columns)


@pytest.fixture
async def page(browser: Browser, console: ServiceProcess) -> AsyncIterator[Page]:
    """A page that fails the test when anything is wrong with it."""
    async with opened(browser) as page:
        yield page


@asynccontextmanager
async def opened(browser: Browser, **options: Any) -> AsyncIterator[Page]:
    context = await browser.new_context(timezone_id=ZONE, **options)
    page = await context.new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("dialog", lambda dialog: wrong.append(f"dialog: {dialog.message}"))
    page.on("console", lambda message: wrong.extend([message.text] * (message.type in ("error", "warning"))))
    try:
        yield page
    finally:
        await context.close()
    # A server that is away is what some tests are about.
    assert [text for text in wrong if "Failed to load resource" not in text and "net::ERR" not in text] == []


async def show(page: Page, console: ServiceProcess, rollups: Rollups) -> None:
    """Open the application's page and wait until it follows."""
    await answering(console)
    await page.goto(f"{console.url}/?app={rollups.sdk_app_id}")
    await expect(page.get_by_test_id("state")).to_contain_text("Live")


async def answering(console: ServiceProcess) -> None:
    def alive() -> bool:
        try:
            with urllib.request.urlopen(f"{console.url}/healthz", timeout=2) as response:
                return bool(response.status == 200)
        except OSError:
            return False

    async with asyncio.timeout(WAIT_MS / 1000):
        while not await asyncio.to_thread(alive):
            assert console.process is not None
            assert console.process.poll() is None, console.last_lines()
            await asyncio.sleep(0.1)


def tile(page: Page, name: str) -> Any:
    return page.get_by_test_id(f"tile-{name}").get_by_test_id("value")


def severity(page: Page, medium: str) -> Any:
    return page.get_by_test_id(f"tile-{medium}-stutter").get_by_test_id("severity")


async def test_numbers_are_shown_and_move_as_rows_come(page: Page, console: ServiceProcess, rollups: Rollups) -> None:
    fill(
        rollups,
        OnlineUsers=1234,
        OnlineRooms=56,
        AbnormalUsers=7,
        VideoStutterMs=625,
        VideoPlayMs=10_000,
        AudioStutterMs=1,
        AudioPlayMs=10,
    )
    fill_rooms(rollups, {"lecture": {"OnlineUsers": 40}, "lounge": {"OnlineUsers": 2, "AbnormalUsers": 1}})
    rollups.attempt("first", 1, now_ms() - 5_000, EventType=103)
    await show(page, console, rollups)
    for name, text in [
        ("online-users", "1,234"),
        ("online-rooms", "56"),
        ("abnormal-users", "7"),
        ("video-stutter", "6.25 %"),
        ("audio-stutter", "10.00 %"),
    ]:
        await expect(tile(page, name)).to_have_text(text)
        chart = page.get_by_test_id(f"chart-{name}")
        await expect(chart.get_by_test_id("summary")).to_contain_text(f"Lowest {text}, highest {text}")
        await expect(chart.locator("canvas")).to_be_visible()
    await expect(severity(page, "video")).to_have_text("moderately high")
    await expect(severity(page, "audio")).to_have_text("high")
    rooms = page.get_by_test_id("rooms").locator("tbody tr")
    await expect(rooms).to_have_count(2)
    await expect(rooms.first).to_contain_text("lecture")
    callbacks = page.get_by_test_id("callbacks").locator("tbody tr")
    await expect(callbacks).to_have_count(1)
    await expect(callbacks.first).to_contain_text("user entered")

    fill(
        rollups,
        OnlineUsers=4321,
        OnlineRooms=1,
        AbnormalUsers=0,
        VideoPlayMs=10_000,
        AudioStutterMs=49,
        AudioPlayMs=1_000,
    )
    rollups.attempt(
        "second", 1, now_ms(), EventType=104, Outcome="given-up", Status=500, ErrorClass="status", Error="HTTP 500"
    )
    await expect(tile(page, "online-users")).to_have_text("4,321")
    await expect(tile(page, "video-stutter")).to_have_text("0.00 %")
    await expect(severity(page, "video")).to_have_text("low")
    await expect(severity(page, "audio")).to_have_text("moderately high")
    await expect(callbacks).to_have_count(2)
    await expect(callbacks.first).to_contain_text("given up")
    await expect(callbacks.first).to_contain_text("HTTP 500")


async def test_unknown_is_a_dash_and_nobody_is_zero(page: Page, console: ServiceProcess, rollups: Rollups) -> None:
    await show(page, console, rollups)
    for name in ("online-users", "online-rooms", "abnormal-users", "video-stutter", "audio-stutter"):
        await expect(tile(page, name)).to_have_text("–unknown")
        await expect(page.get_by_test_id(f"chart-{name}").get_by_test_id("summary")).to_contain_text(
            "Unknown in all 64"
        )
    await expect(page.get_by_test_id("notice-empty")).to_contain_text("No data yet")
    await expect(page.get_by_test_id("rooms")).to_contain_text("Unknown: nobody reports")

    fill(rollups)
    await expect(tile(page, "online-users")).to_have_text("0")
    await expect(tile(page, "abnormal-users")).to_have_text("0")
    await expect(tile(page, "video-stutter")).to_have_text("–unknown")
    await expect(page.get_by_test_id("notice-empty")).to_have_count(0)
    await expect(page.get_by_test_id("rooms")).to_contain_text("No room has users")


async def test_what_is_old_is_not_passed_off_as_now(page: Page, console: ServiceProcess, rollups: Rollups) -> None:
    rollups.app_window(now_ms() // 10_000 * 10_000 - 120_000, 6, OnlineUsers=9, OnlineRooms=3)
    await show(page, console, rollups)
    await expect(page.get_by_test_id("updated")).to_contain_text("nobody reports")
    await expect(tile(page, "online-users")).to_have_text("–unknown")
    summary = page.get_by_test_id("chart-online-users").get_by_test_id("summary")
    await expect(summary).to_contain_text("unknown for 63 of 64 minutes")


async def test_severity_follows_the_limits(page: Page, console: ServiceProcess, rollups: Rollups) -> None:
    fill(rollups, OnlineUsers=1, OnlineRooms=1)
    limits = {
        "v4999": ("low", {"VideoStutterMs": 4_999}),
        "v5000": ("moderately high", {"VideoStutterMs": 5_000}),
        "v9999": ("moderately high", {"VideoStutterMs": 9_999}),
        "v10000": ("high", {"VideoStutterMs": 10_000}),
        "a2999": ("low", {"AudioStutterMs": 2_999}),
        "a3000": ("moderately high", {"AudioStutterMs": 3_000}),
        "a4999": ("moderately high", {"AudioStutterMs": 4_999}),
        "a5000": ("high", {"AudioStutterMs": 5_000}),
    }
    play = {"VideoPlayMs": 100_000, "AudioPlayMs": 100_000}
    fill_rooms(rollups, {name: {"OnlineUsers": 1, **play, **columns} for name, (_, columns) in limits.items()})
    await show(page, console, rollups)
    for name, (word, _) in limits.items():
        row = page.get_by_test_id("rooms").get_by_role("row", name=name)
        await expect(row.get_by_role("cell").nth(2 if name[0] == "v" else 3).get_by_role("img")).to_have_attribute(
            "aria-label", word
        )


async def test_names_of_others_are_text_and_break_no_layout(
    browser: Browser, console: ServiceProcess, rollups: Rollups
) -> None:
    fill(rollups, OnlineUsers=1_234_567, OnlineRooms=98_765, VideoStutterMs=10, VideoPlayMs=10)
    fill_rooms(rollups, {name: {"OnlineUsers": 1_000} for name in HOSTILE})
    url = "https://" + "long-name." * 40 + "example/?q=<script>alert(1)</script>"
    for number, name in enumerate(HOSTILE):
        rollups.attempt(
            f"h{number}",
            1,
            now_ms() - 1_000,
            RoomId=name,
            RoomIdType=1,
            Url=url,
            Outcome="failed",
            Status=0,
            Error="<b>bold</b> " * 30,
            Response="<script>alert(1)</script>",
        )
    async with opened(browser) as page:
        await show(page, console, rollups)
        await expect(page.get_by_test_id("rooms").locator("tbody tr")).to_have_count(len(HOSTILE))
        text = await page.get_by_test_id("rooms").inner_text()
        for name in HOSTILE:
            assert name.replace("\u202e", "⟨U+202E⟩") in text
        await expect(page.get_by_test_id("callbacks").locator("tbody tr")).to_have_count(len(HOSTILE))
        assert await page.locator("main script, main b, main img").count() == 0
        for width, theme in [(1400, "light"), (900, "dark"), (390, "light")]:
            await page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
            await page.set_viewport_size({"width": width, "height": 900})
            await expect(page.locator("html")).to_have_attribute("data-theme", theme)
            assert await page.evaluate("document.documentElement.scrollWidth") <= width


async def test_rooms_are_paged_and_found_and_callbacks_narrowed_down(
    page: Page, console: ServiceProcess, rollups: Rollups
) -> None:
    fill(rollups, OnlineUsers=300, OnlineRooms=300)
    last = now_ms() // 10_000 * 10_000 + 90_000
    for bucket in range(last - 140_000, last + 1, 10_000):
        rollups.rooms(bucket, [f"room-{number:03}" for number in range(300)], OnlineUsers=1)
    for number in range(60):
        rollups.attempt(f"new{number}", 1, now_ms() - 1_000 * number)
    rollups.attempt("lost", 7, now_ms() - 3_600_000, Outcome="given-up", RoomId="lecture")
    await show(page, console, rollups)
    rooms = page.get_by_test_id("rooms")
    await expect(rooms).to_contain_text("Page 1 of 30")
    await expect(rooms.locator("tbody tr").first).to_contain_text("room-000")
    await rooms.get_by_role("button", name="Next").click()
    await expect(rooms.locator("tbody tr").first).to_contain_text("room-010")
    await page.get_by_test_id("room-search").fill("ROOM-29")
    await expect(rooms).to_contain_text("10 with users")
    await expect(rooms.locator("tbody tr").first).to_contain_text("room-290")

    callbacks = page.get_by_test_id("callbacks").locator("tbody tr")
    await expect(callbacks).to_have_count(50)
    await page.get_by_test_id("callback-outcome").select_option("given-up")
    await expect(callbacks).to_have_count(1)
    await expect(callbacks).to_contain_text("lecture")
    await page.get_by_test_id("callback-search").fill("another")
    await expect(callbacks).to_contain_text("No callback of these 14 days is like this")


async def test_times_are_local_or_utc(page: Page, console: ServiceProcess, rollups: Rollups) -> None:
    fill(rollups, OnlineUsers=1)
    await show(page, console, rollups)
    stamp = page.get_by_test_id("updated").locator("time")

    async def shown(zone: str) -> tuple[datetime, str]:
        await expect(page.get_by_test_id("updated")).to_contain_text(zone)
        iso, text = await stamp.evaluate("(time) => [time.dateTime, time.textContent]")
        return datetime.fromisoformat(iso), text

    moment, text = await shown("UTC+05:30")
    assert text == f"{moment + timedelta(hours=5, minutes=30):%H:%M:%S}"
    assert timedelta(0) < datetime.now(UTC) - moment < timedelta(seconds=60)
    await page.get_by_test_id("time").select_option("utc")
    await expect(page.get_by_test_id("updated")).not_to_contain_text("+")
    moment, text = await shown("UTC")
    assert text == f"{moment:%H:%M:%S}"
    await page.reload()
    await expect(page.get_by_test_id("time")).to_have_value("utc")


async def test_the_page_pauses_at_a_point_by_keyboard_and_resumes(
    page: Page, console: ServiceProcess, rollups: Rollups
) -> None:
    fill(rollups, OnlineUsers=5, OnlineRooms=1)
    at = now_ms() // 10_000 * 10_000 - 300_000
    rollups.app(at, OnlineUsers=77, OnlineRooms=9)
    rollups.room(at, "then", 1, OnlineUsers=77)
    await show(page, console, rollups)
    chart = page.get_by_role("slider", name="Online users")
    await chart.focus()
    for _ in range(60):
        if (await chart.get_attribute("aria-valuetext") or "").endswith(": 77"):
            break
        await page.keyboard.press("ArrowLeft")
    else:
        pytest.fail("no point of the chart says 77")
    await page.keyboard.press("Enter")
    await expect(page.get_by_test_id("state")).to_contain_text("Paused")
    await expect(tile(page, "online-users")).to_have_text("77")
    await expect(page.get_by_test_id("rooms").locator("tbody tr")).to_contain_text("then")
    assert f"at={at}" in page.url
    await page.get_by_test_id("resume").click()
    await expect(tile(page, "online-users")).to_have_text("5")
    assert "at=" not in page.url
    await page.go_back()
    await expect(tile(page, "online-users")).to_have_text("77")


async def test_a_hidden_page_holds_no_connection(page: Page, console: ServiceProcess, rollups: Rollups) -> None:
    async def hide(*, hidden: bool) -> None:
        await page.evaluate(
            """(hidden) => {
                Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
                document.dispatchEvent(new Event("visibilitychange"));
            }""",
            hidden,
        )

    def is_stream(request: Request) -> bool:
        return "/stream" in request.url

    fill(rollups, OnlineUsers=5)
    await show(page, console, rollups)
    async with page.expect_event("requestfailed", is_stream, timeout=WAIT_MS):
        await hide(hidden=True)
    fill(rollups, OnlineUsers=6)
    async with page.expect_request(is_stream, timeout=WAIT_MS) as again:
        await hide(hidden=False)
    assert "lastEventId=" in (await again.value).url, "it resumes where it was"
    await expect(tile(page, "online-users")).to_have_text("6")
    await expect(page.get_by_test_id("state")).to_contain_text("Live")


async def test_a_console_that_is_started_again_is_found_again(
    page: Page, console: ServiceProcess, rollups: Rollups
) -> None:
    fill(rollups, OnlineUsers=5, OnlineRooms=1)
    await show(page, console, rollups)
    await expect(tile(page, "online-users")).to_have_text("5")
    console.kill9()
    await expect(page.get_by_test_id("notice-error")).to_contain_text("No connection to the console")
    await expect(tile(page, "online-users")).to_have_text("5")
    fill(rollups, OnlineUsers=6, OnlineRooms=1)
    console.launch()
    await expect(tile(page, "online-users")).to_have_text("6")
    await expect(page.get_by_test_id("state")).to_contain_text("Live")
    await expect(page.get_by_test_id("notice-error")).to_have_count(0)


async def test_a_clickhouse_that_is_away_is_told_of(
    page: Page, console: ServiceProcess, rollups: Rollups, clickhouse: ClickHouseServer
) -> None:
    fill(rollups, OnlineUsers=5, OnlineRooms=1)
    await show(page, console, rollups)
    await expect(tile(page, "online-users")).to_have_text("5")
    clickhouse.kill9()
    try:
        await expect(page.get_by_test_id("notice-error")).to_contain_text("ClickHouse is out of reach")
        await expect(page.get_by_test_id("state")).to_contain_text("Waiting for data")
        await expect(tile(page, "online-users")).to_have_text("5")
    finally:
        await asyncio.to_thread(clickhouse.start)
    fill(rollups, OnlineUsers=6, OnlineRooms=1)
    await expect(tile(page, "online-users")).to_have_text("6")
    await expect(page.get_by_test_id("notice-error")).to_have_count(0)


async def test_without_an_application_the_page_says_how_to_make_one(
    browser: Browser, console: ServiceProcess, settings: Settings, tmp_path: Path
) -> None:
    store = ApplicationStore(Settings(data=tmp_path))
    monitor = Monitor(settings)
    async with TestServer(build_app(settings, store, monitor)) as server, opened(browser) as page:
        await page.goto(str(server.make_url("/")))
        await expect(page.get_by_test_id("notice-empty")).to_contain_text("roompulse app create --name")
        store.create("newcomer")
        await page.goto(str(server.make_url("/?app=7")))
        await expect(page.get_by_test_id("notice-error")).to_contain_text("There is no application 7")
        await page.get_by_test_id("application").select_option(label="newcomer · 1400000001")
        await expect(page).to_have_title("newcomer · Roompulse")
        await expect(page.get_by_test_id("state")).to_contain_text("Live")
    await monitor.close()
    store.close()
