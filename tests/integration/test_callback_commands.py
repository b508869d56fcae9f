"""Callbacks as operators see them: `roompulse callbacks …` beside a dispatcher and a processor that run."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner, Result

from schemas.callbacks import sign
from schemas.deliveries import delivery_id
from services.cli import main
from services.console.store import new_webhook_secret
from services.runtime.clickhouse import migrate
from services.runtime.clock import now_ms
from tests.integration.dispatching import World, event_of, room_event
from tests.support.clickhouse import free_port
from tests.support.receiver import Receiver, reply
from tests.support.stack import Stack

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from schemas.events import EventRecord
    from tests.support.clickhouse import ClickHouseServer
    from tests.support.kafka import KafkaBroker

WAIT_S = 60.0
MEDIA_STARTED = {"EventGroupId": 2, "EventType": 201}


@pytest.fixture(scope="module")
async def stack(
    tmp_path_factory: pytest.TempPathFactory, kafka: KafkaBroker, clickhouse: ClickHouseServer
) -> AsyncIterator[Stack]:
    stack = Stack(
        tmp_path_factory.mktemp("stack"),
        kafka=kafka,
        clickhouse=clickhouse,
        ROOMPULSE_KAFKA_PARTITIONS="4",
        ROOMPULSE_CALLBACK_TIMEOUT_S="1",
        ROOMPULSE_CALLBACK_RETRY_INTERVAL_S="0.3",
        ROOMPULSE_CALLBACK_RETRY_WINDOW_S="1",
    )
    await migrate(stack.settings)
    async with World(stack.settings):
        pass
    with stack:
        stack.start("dispatcher", "processor")
        yield stack


@pytest.fixture(scope="module")
async def world(stack: Stack) -> AsyncIterator[World]:
    async with World(stack.settings) as world:
        yield world


@pytest.fixture(scope="module")
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver() as receiver:
        yield receiver


class Commands:
    """`roompulse callbacks …` on the stack's settings."""

    def __init__(self, stack: Stack) -> None:
        self._environment = stack.environment

    async def run(self, *arguments: str | int, **environment: str) -> Result:
        return await asyncio.to_thread(
            CliRunner().invoke, main, ["callbacks", *map(str, arguments)], env=self._environment | environment
        )

    async def document(self, *arguments: str | int, status: int = 0, **environment: str) -> Any:
        result = await self.run(*arguments, "--json", **environment)
        assert (result.exit_code, result.stderr) == (status, ""), result.output
        return json.loads(result.stdout)

    async def rows(self, *arguments: str | int) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = (await self.document("list", *arguments))["Deliveries"]
        return rows

    async def rows_when(
        self, enough: Callable[[list[dict[str, Any]]], object], *arguments: str | int
    ) -> list[dict[str, Any]]:
        """The list once there is enough in it, the oldest attempt first."""
        async with asyncio.timeout(WAIT_S):
            while not enough(rows := await self.rows(*arguments)):
                await asyncio.sleep(0.2)
        return rows[::-1]


@pytest.fixture
def commands(stack: Stack) -> Commands:
    return Commands(stack)


def media_event(application: Any, **changes: Any) -> EventRecord:
    moment = now_ms()
    info = {"RoomId": 8801, "EventTs": moment // 1000, "EventMsTs": moment, "UserId": "alice", **changes}
    return event_of(application, {**MEDIA_STARTED, "EventInfo": info})


def line_of(result: Result) -> str:
    """The one line that says what is wrong."""
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    return line


async def test_attempts_are_listed_and_narrowed_down(commands: Commands, world: World, receiver: Receiver) -> None:
    url = receiver.script("/listed/room", reply(500), reply())
    gone = f"http://127.0.0.1:{free_port()}/gone"
    app = await world.application(room_url=url, media_url=gone)
    before = now_ms()
    await world.publish(room_event(app, "lobby"))
    await commands.rows_when(lambda rows: len(rows) == 2, app.sdk_app_id)
    await world.publish(media_event(app))
    rows = await commands.rows_when(lambda rows: rows[0]["Outcome"] == "given-up", app.sdk_app_id)
    assert [(row["EventType"], row["Attempt"], row["Outcome"], row["Status"]) for row in rows[:2]] == [
        (103, 1, "failed", 500),
        (103, 2, "delivered", 200),
    ]
    assert {(row["EventType"], row["ErrorClass"]) for row in rows[2:]} == {(201, "refused")}
    lost = len(rows) - 2
    found = {
        "--room lobby": 2,
        "--room lob": 0,
        "--room 8801": lost,
        "--event 103": 2,
        "--event 104": 0,
        "--group 2": lost,
        "--outcome delivered": 1,
        "--outcome given-up": 1,
        "--status 500": 1,
        "--status 0": lost,
        "--error refused": lost,
        "--error status": 1,
        f"--url {gone}": lost,
        f"--url http://127.0.0.1:{receiver.port}/listed": 2,
        "--url /listed": 0,
        "--limit 1": 1,
        "--since 2020-01-01": len(rows),
        "--until 2020-01-01": 0,
        "--event 103 --status 200 --room lobby": 1,
    }
    assert {words: len(await commands.rows(app.sdk_app_id, *words.split())) for words in found} == found
    text = (await commands.run("list", app.sdk_app_id, "--event", "103")).stdout.splitlines()
    assert ["delivered  200" in line for line in text] == [True, False]
    assert all(url in line and "lobby" in line for line in text)
    assert before <= rows[0]["StartedTime"] <= now_ms()


async def test_shown_is_what_was_sent_to_the_last_byte(commands: Commands, world: World, receiver: Receiver) -> None:
    url = receiver.script("/shown?a=b%20c", reply(503, b"not yet"), reply())
    sdk_app_id = world.store.create("shown").sdk_app_id
    world.store.set_callback(sdk_app_id, key="Key1", webhook_secret=new_webhook_secret(), room_url=url)
    world.store.set_next(sdk_app_id, key="Key2", webhook_secret=new_webhook_secret())
    app = await world.change(sdk_app_id)
    event = room_event(app, "Zoë's room", event_id="media-7/1", Unheard={"of": [1.0, 2.50, None]})
    event.extra["AlsoNew"] = event.event_info
    await world.publish(event)
    await commands.rows_when(lambda rows: len(rows) == 2, sdk_app_id)
    async with asyncio.timeout(WAIT_S):
        # The event and its delivery have different ways into the tables.
        while (shown := await commands.document("show", sdk_app_id, "media-7/1"))["Attempts"][0]["Request"] is None:
            await asyncio.sleep(0.2)
    assert shown["State"] == "delivered"
    assert shown["Next"] is None
    assert shown == await commands.document("show", sdk_app_id, delivery_id(sdk_app_id, "media-7/1"))
    first, second = shown["Attempts"]
    assert (first["Outcome"], first["Status"], first["Response"]) == ("failed", 503, "not yet")
    assert (second["Outcome"], second["Status"], second["Response"]) == ("delivered", 200, '{"code":0}')
    for attempt, received in zip((first, second), receiver.at("/shown?a=b%20c"), strict=True):
        assert attempt["Url"] == url
        assert attempt["Request"]["Headers"] == dict(received.headers)
        assert attempt["Request"]["Body"].encode() == received.body
    lines = (await commands.run("show", sdk_app_id, "media-7/1")).stdout.splitlines()
    assert f"  Sign: {first['Request']['Headers']['Sign']}" in lines
    assert f"  {first['Request']['Body']}" in lines
    assert "  (the same body)" in lines


async def test_what_was_not_sent_is_shown_as_it_would_be(commands: Commands, world: World, receiver: Receiver) -> None:
    app = await world.application(media_url=receiver.url("/other"))
    event = room_event(app, 8801)
    await world.publish(event)
    async with asyncio.timeout(WAIT_S):
        while (result := await commands.run("show", app.sdk_app_id, event.event_id, "--json")).exit_code:
            assert line_of(result) == f"Error: nothing is known of a callback or event {event.event_id}"
            await asyncio.sleep(0.2)
    shown = json.loads(result.stdout)
    assert (shown["State"], shown["Attempts"], shown["Next"]) == ("waiting", [], None)
    await world.change(app.sdk_app_id, room_url=receiver.url("/now"))
    shown = await commands.document("show", app.sdk_app_id, event.event_id)
    body = shown["Next"]["Body"].encode()
    assert shown["Next"]["Url"] == receiver.url("/now")
    assert shown["Next"]["Headers"]["Sign"] == sign(app.callback_key, body)
    assert json.loads(body)["EventInfo"] == json.loads(bytes(event.event_info))
    assert abs(json.loads(body)["CallbackTs"] - now_ms()) < 60_000


async def test_a_test_callback_that_is_delivered(commands: Commands, world: World, receiver: Receiver) -> None:
    url = receiver.url("/tested").replace("127.0.0.1", "localhost")
    app = await world.application(room_url=url)
    told = await commands.document("test", app.sdk_app_id)
    (received,) = receiver.at("/tested")
    assert told["Request"]["Headers"] == dict(received.headers)
    assert told["Request"]["Body"].encode() == received.body
    assert received.header("Sign") == sign(app.callback_key, received.body)
    assert (received.json["EventGroupId"], received.json["Test"]) == (1, True)
    assert (told["Url"], told["Delivered"], told["Status"], told["Response"]) == (url, True, 200, '{"code":0}')
    addresses = {one["Address"]: (one["Permitted"], one["Tried"]) for one in told["Addresses"]}
    assert addresses.pop("127.0.0.1") == (True, True)
    assert not any(permitted for permitted, _ in addresses.values())
    lines = (await commands.run("test", app.sdk_app_id)).stdout.splitlines()
    assert "  127.0.0.1: callbacks may go there, tried" in lines
    assert lines[-1] == 'answer: {"code":0}'
    assert not await commands.rows(app.sdk_app_id)


async def test_test_callbacks_that_fail(commands: Commands, world: World, receiver: Receiver) -> None:
    app = await world.application(
        room_url=receiver.script("/refuses", reply(401, b"who are you?")),
        media_url=receiver.script("/slow", reply(delay=3)),
        group_urls={"9": f"http://127.0.0.1:{free_port()}/"},
    )
    told = await commands.document("test", app.sdk_app_id, status=1)
    assert (told["Delivered"], told["Status"], told["ErrorClass"]) == (False, 401, "status")
    assert told["Response"] == "who are you?"
    told = await commands.document("test", app.sdk_app_id, "--group", 2, status=1)
    assert (told["ErrorClass"], told["EventType"], told["Status"]) == ("timeout", 201, 0)
    assert told["DurationMs"] >= 1000
    told = await commands.document("test", app.sdk_app_id, "--group", 9, status=1)
    assert (told["ErrorClass"], told["EventType"]) == ("refused", 901)
    asked = len(receiver.requests)
    told = await commands.document("test", app.sdk_app_id, status=1, ROOMPULSE_CALLBACK_ALLOW="10.0.0.0/8")
    assert (told["ErrorClass"], told["Addresses"]) == (
        "blocked",
        [{"Address": "127.0.0.1", "Permitted": False, "Tried": False}],
    )
    assert len(receiver.requests) == asked
    last = (await commands.run("test", app.sdk_app_id)).stdout.splitlines()[-2:]
    assert last[0].startswith("not delivered: status after ")
    assert last[1] == "answer: who are you?"
    result = await commands.run("test", app.sdk_app_id, "--group", 4)
    assert (result.exit_code, line_of(result)) == (
        1,
        f"Error: application {app.sdk_app_id} has no URL for events of group 4",
    )


def nowhere() -> dict[str, str]:
    """Settings with which nothing is there."""
    return {
        "ROOMPULSE_CLICKHOUSE_URL": f"http://127.0.0.1:{free_port()}",
        "ROOMPULSE_KAFKA_BOOTSTRAP": f"127.0.0.1:{free_port()}",
    }


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["list", "1400000001"], "ClickHouse is out of reach"),
        (["show", "1400000001", "x"], "Unable to bootstrap"),
        (["test", "1400000001"], "Unable to bootstrap"),
        (["dead", "1400000001"], "Unable to bootstrap"),
        (["replay", "1400000001", "--all"], "Unable to bootstrap"),
    ],
)
async def test_what_is_away_is_one_line(commands: Commands, arguments: list[str], says: str) -> None:
    result = await commands.run(*arguments, "--json", **nowhere())
    assert result.exit_code == 1
    assert says in line_of(result)


async def test_unknown_applications_and_ids_are_one_line(commands: Commands, world: World) -> None:
    app = await world.application()
    cases: list[tuple[list[str | int], str]] = [
        (["show", 1400009999, "x"], "there is no application 1400009999"),
        (["test", 1400009999], "there is no application 1400009999"),
        (["show", app.sdk_app_id, "x"], "nothing is known of a callback or event x"),
        (["test", app.sdk_app_id], "has no URL for events of group 1"),
    ]
    for arguments, says in cases:
        result = await commands.run(*arguments)
        assert (result.exit_code, says in line_of(result)) == (1, True), says
