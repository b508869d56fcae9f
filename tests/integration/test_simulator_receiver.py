"""The demo customer's server over HTTP: whom it believes, what it counts, what it prints."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import aiohttp
import aiohttp.web
import pytest

from schemas.callbacks import sign
from services.console.store import ApplicationStore
from services.runtime.settings import Settings
from services.simulator.receiver import Callback, Receiver, describe, run
from tests.support.clickhouse import free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

SDK_APP_ID = 1400000001
KEY = "Key0123456789abc"
WITHIN_S = 30
BODY = json.dumps(
    {
        "EventGroupId": 1,
        "EventType": 103,
        "CallbackTs": 1700000000123,
        "EventInfo": {
            "RoomId": 12345,
            "EventTs": 1700000000,
            "EventMsTs": 1700000000100,
            "UserId": "alice",
            "Role": 20,
            "TerminalType": 2,
            "UserType": 3,
            "Reason": 1,
        },
    },
    separators=(",", ":"),
).encode()
SIGN = "9FL3D6mcnuk0JLRZTcJpUCPohMASVjJmv8LNaj+pUbk="
"""The published worked example of this body and key."""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data=tmp_path, demo_receiver_port=free_port())


@pytest.fixture
async def url(settings: Settings) -> AsyncIterator[str]:
    """A running receiver whose control plane has one application with a key."""
    store = ApplicationStore(settings)
    store.create("demo", sdk_app_id=SDK_APP_ID)
    store.set_callback(SDK_APP_ID, key=KEY)
    store.close()
    stopping = asyncio.Event()
    running = asyncio.create_task(run(settings, stopping))
    url = f"http://127.0.0.1:{settings.demo_receiver_port}"
    async with aiohttp.ClientSession() as session, asyncio.timeout(WITHIN_S):
        while True:
            try:
                async with session.get(f"{url}/healthz") as answer:
                    assert answer.status == 200
                    break
            except aiohttp.ClientConnectionError:
                await asyncio.sleep(0.02)
    yield url
    stopping.set()
    await asyncio.wait_for(running, WITHIN_S)


async def post(url: str, body: bytes, **headers: str) -> tuple[int, Any]:
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{url}/callback", data=body, headers={"Content-Type": "application/json", **headers}) as answer,
    ):
        return answer.status, await answer.json()


async def counters(url: str) -> dict[str, Any]:
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        found: dict[str, Any] = await answer.json()
        return found


async def test_a_right_signature_is_counted_and_answered(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert await post(url, BODY, Sign=SIGN, SdkAppId=str(SDK_APP_ID)) == (200, {"code": 0})
    seen = await counters(url)
    assert (seen["Received"], seen["Verified"], seen["Failed"]) == (1, 1, 0)
    assert seen["LastEvents"] == [{"SdkAppId": str(SDK_APP_ID), "Verified": True, **json.loads(BODY)}]
    assert capsys.readouterr().out.strip() == (
        'ok     22:13:20.100 103 user entered            room 12345 user "alice" reason 1'
    )


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (BODY + b" ", {"Sign": SIGN, "SdkAppId": str(SDK_APP_ID)}),
        (BODY, {"Sign": SIGN[:-2] + "l=", "SdkAppId": str(SDK_APP_ID)}),
        (BODY, {"SdkAppId": str(SDK_APP_ID)}),
        (BODY, {"Sign": SIGN}),
        (BODY, {"Sign": SIGN, "SdkAppId": "1400000002"}),
        (BODY, {"Sign": SIGN, "SdkAppId": "nobody"}),
        (b"not JSON", {"Sign": SIGN, "SdkAppId": str(SDK_APP_ID)}),
    ],
)
async def test_anything_else_is_refused(
    url: str, body: bytes, headers: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    status, _ = await post(url, body, **headers)
    assert status == 401
    seen = await counters(url)
    assert (seen["Received"], seen["Verified"], seen["Failed"]) == (1, 0, 1)
    assert capsys.readouterr().out.startswith("FAILED")


async def test_a_changed_key_is_known_at_once(url: str, settings: Settings) -> None:
    store = ApplicationStore(settings)
    store.set_callback(SDK_APP_ID, key="Another1Key")
    assert (await post(url, BODY, Sign=SIGN, SdkAppId=str(SDK_APP_ID)))[0] == 401
    signature = sign("Another1Key", BODY)
    assert (await post(url, BODY, Sign=signature, SdkAppId=str(SDK_APP_ID)))[0] == 200
    store.set_callback(SDK_APP_ID, key="")
    store.close()
    assert (await post(url, BODY, SdkAppId=str(SDK_APP_ID)))[0] == 200


async def test_a_signed_body_that_is_no_json_is_shown_as_such(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    body = b"\xff[1]"
    assert (await post(url, body, Sign=sign(KEY, body), SdkAppId=str(SDK_APP_ID)))[0] == 200
    assert "not a callback" in capsys.readouterr().out
    assert (await counters(url))["Verified"] == 1


async def test_only_the_last_events_are_kept(url: str) -> None:
    async with aiohttp.ClientSession() as session:
        for _ in range(60):
            headers = {"Sign": SIGN, "SdkAppId": str(SDK_APP_ID)}
            async with session.post(url, data=BODY, headers=headers) as answer:
                assert answer.status == 200
    seen = await counters(url)
    assert seen["Received"] == 60
    assert len(seen["LastEvents"]) == 50


async def test_a_test_may_watch_every_callback(capsys: pytest.CaptureFixture[str]) -> None:
    """Quietly, with keys of its own."""
    watched: list[Callback] = []
    receiver = Receiver({SDK_APP_ID: KEY}.get, quiet=True, on_callback=watched.append)
    runner = aiohttp.web.AppRunner(receiver.application())
    await runner.setup()
    port = free_port()
    await aiohttp.web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        await post(f"http://127.0.0.1:{port}", BODY, Sign=SIGN, SdkAppId=str(SDK_APP_ID))
    finally:
        await runner.cleanup()
    (callback,) = watched
    assert callback.verified
    assert callback.body == BODY
    assert callback.event["EventInfo"]["UserId"] == "alice"
    assert callback.headers["Content-Type"] == "application/json"
    assert capsys.readouterr().out == ""


def test_a_line_shows_what_a_task_did() -> None:
    event = {
        "EventType": 401,
        "EventInfo": {"RoomId": "demo", "EventMsTs": 0, "UserId": "bot", "TaskId": "t", "Payload": {"Status": 2}},
    }
    assert describe(event) == '00:00:00.000 401 relay status            room "demo" user "bot" task "t" status 2'
