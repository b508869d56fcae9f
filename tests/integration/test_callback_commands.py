"""Callbacks as operators see them: `roompulse callbacks …` and the console's interface, beside services that run."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import aiohttp
import orjson
import pytest
from click.testing import CliRunner, Result

from schemas.callbacks import sign
from schemas.deliveries import delivery_id
from services.cli import main
from services.console.store import new_webhook_secret
from services.runtime.clock import now_ms
from tests.integration.dispatching import World, callback_stack, event_of, room_event
from tests.support.clickhouse import free_port
from tests.support.proxy import Proxy
from tests.support.receiver import Receiver, reply

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from schemas.applications import Application
    from schemas.events import EventRecord
    from tests.support.clickhouse import ClickHouseServer
    from tests.support.kafka import KafkaBroker
    from tests.support.stack import Stack

WAIT_S = 60.0
DOCS = Path(__file__).parents[2] / "docs"
MEDIA_STARTED = {"EventGroupId": 2, "EventType": 201}


@pytest.fixture(scope="module")
async def stack(
    tmp_path_factory: pytest.TempPathFactory, kafka: KafkaBroker, clickhouse: ClickHouseServer
) -> AsyncIterator[Stack]:
    async with callback_stack(tmp_path_factory.mktemp("stack"), kafka, clickhouse, retry_window_s=1) as stack:
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


class Console:
    """The console's interface for one application after the other."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def ask(self, method: str, sdk_app_id: int, path: str, *, status: int = 200, **options: Any) -> Any:
        url = f"/api/applications/{sdk_app_id}/{path}"
        async with self._session.request(method, url, **options) as response:
            content = await response.read()
            assert response.status == status, content
            return orjson.loads(content)

    async def get(self, sdk_app_id: int, path: str, **query: Any) -> Any:
        return await self.ask("GET", sdk_app_id, path, params=query)

    async def post(self, sdk_app_id: int, path: str, body: Any, *, status: int = 200) -> Any:
        return await self.ask("POST", sdk_app_id, path, json=body, status=status)

    async def replay_when(self, state: str, replay: dict[str, Any]) -> Any:
        """A replay once it is in a state."""
        async with asyncio.timeout(WAIT_S):
            while True:
                now = await self.get(replay["SdkAppId"], f"replays/{replay['ReplayId']}")
                if now["State"] == state:
                    return now
                await asyncio.sleep(0.05)


@pytest.fixture
async def console(stack: Stack) -> AsyncIterator[Console]:
    async with aiohttp.ClientSession(stack.services["console"].url) as session:
        yield Console(session)


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
    told_people = (await commands.run("test", app.sdk_app_id, ROOMPULSE_CALLBACK_ALLOW="10.0.0.0/8")).stdout
    assert told_people.splitlines()[-1].endswith("ROOMPULSE_CALLBACK_ALLOW says: here, this shell's")
    last = (await commands.run("test", app.sdk_app_id)).stdout.splitlines()[-2:]
    assert last[0].startswith("not delivered: status after ")
    assert last[1] == "answer: who are you?"
    result = await commands.run("test", app.sdk_app_id, "--group", 4)
    assert (result.exit_code, line_of(result)) == (
        1,
        f"Error: application {app.sdk_app_id} has no URL for events of group 4",
    )


async def test_a_test_callback_goes_through_the_egress_proxy(
    commands: Commands, world: World, receiver: Receiver
) -> None:
    app = await world.application(room_url="http://93.184.215.14:8080/through")
    async with Proxy(receiver.port) as proxy:
        told = await commands.document("test", app.sdk_app_id, ROOMPULSE_CALLBACK_PROXY=proxy.url)
    assert (told["Delivered"], proxy.targets) == (True, ["CONNECT 93.184.215.14:8080 HTTP/1.1"])
    assert told["Addresses"] == [{"Address": "93.184.215.14", "Permitted": True, "Tried": True}]
    assert told["Request"]["Headers"] == dict(receiver.at("/through")[0].headers)
    told = await commands.document("test", app.sdk_app_id, status=1, ROOMPULSE_CALLBACK_PROXY=proxy.url)
    assert told["ErrorClass"] == "egress-proxy"
    wrong = await commands.run("test", app.sdk_app_id, ROOMPULSE_CALLBACK_PROXY="http://u:hunter2@h/x")
    assert (wrong.exit_code, line_of(wrong)) == (
        1,
        "Error: ROOMPULSE_CALLBACK_PROXY: must be http://host:port or http://user:password@host:port",
    )


async def test_examples_of_the_documentation_work(stack: Stack, console: Console, world: World) -> None:
    app = await world.application(room_url="http://127.0.0.1:9/")
    (asked,) = re.findall(r"--json \\\n\s+'(.*)'", (DOCS / "console.md").read_text("utf-8"))
    begun = await console.post(app.sdk_app_id, "replays", json.loads(asked), status=202)
    assert (await console.replay_when("done", begun))["Callbacks"] == 0
    page = (DOCS / "callbacks.md").read_text("utf-8").replace("roompulse.", f"{stack.settings.clickhouse_database}.")
    queries = re.findall(r"^    SELECT.*\n(?:    .*\n)+", page, re.MULTILINE)
    assert len(queries) >= 2
    for query in queries:
        stack.clickhouse.query(query)


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


async def given_up(commands: Commands, world: World, receiver: Receiver, path: str, *rooms: str) -> Application:
    """An application whose callbacks of some rooms were given up one after the other."""
    app = await world.application(room_url=receiver.script(path, reply(500)))
    for count, room in enumerate(rooms, 1):
        await world.publish(room_event(app, room))
        while len(await commands.rows(app.sdk_app_id, "--outcome", "given-up")) < count:
            await asyncio.sleep(0.1)
    return app


async def test_over_http_callbacks_are_listed_and_shown(
    console: Console, commands: Commands, world: World, receiver: Receiver
) -> None:
    app = await world.application(room_url=receiver.script("/asked", reply(500), reply()))
    await world.publish(room_event(app, "lobby", event_id="a/b c%2F?d"))
    await commands.rows_when(lambda rows: len(rows) == 2, app.sdk_app_id)
    rows = (await console.get(app.sdk_app_id, "deliveries"))["Deliveries"]
    assert rows == await commands.rows(app.sdk_app_id)
    found: dict[str, tuple[dict[str, Any], int]] = {
        "room": ({"room": "lobby"}, 2),
        "part of a room": ({"room": "lob"}, 0),
        "search": ({"search": "OBB"}, 2),
        "event": ({"event": 103, "group": 1}, 2),
        "another event": ({"event": 104}, 0),
        "status": ({"status": 500}, 1),
        "error": ({"error": "status", "outcome": "failed"}, 1),
        "url": ({"url": receiver.url("/as")}, 2),
        "since": ({"since": rows[0]["StartedTime"]}, 1),
        "until": ({"until": rows[0]["StartedTime"]}, 1),
    }
    counts = {
        name: len((await console.get(app.sdk_app_id, "deliveries", **query))["Deliveries"])
        for name, (query, _) in found.items()
    }
    assert counts == {name: count for name, (_, count) in found.items()}
    shown = await console.get(app.sdk_app_id, f"deliveries/{rows[0]['DeliveryId']}")
    assert shown == await console.get(app.sdk_app_id, f"deliveries/{quote('a/b c%2F?d', safe='')}")
    assert shown == await commands.document("show", app.sdk_app_id, "a/b c%2F?d")
    assert [one["Outcome"] for one in shown["Attempts"]] == ["failed", "delivered"]


async def test_over_http_a_test_callback(console: Console, world: World, receiver: Receiver) -> None:
    app = await world.application(
        room_url=receiver.url("/probed"), media_url=receiver.script("/probed-slowly", reply(500, delay=0.5))
    )
    told = await console.post(app.sdk_app_id, "test-callback", {})
    (received,) = receiver.at("/probed")
    assert (told["Delivered"], told["Request"]["Body"].encode()) == (True, received.body)
    assert told["Addresses"] == [{"Address": "127.0.0.1", "Permitted": True, "Tried": True}]
    first = asyncio.create_task(console.post(app.sdk_app_id, "test-callback", {"EventGroupId": 2}))
    await receiver.wait_for(lambda: bool(receiver.at("/probed-slowly")))
    busy = await console.post(app.sdk_app_id, "test-callback", {}, status=409)
    assert busy["Error"]["Code"] == "ResourceInUse"
    assert ((await first)["Delivered"], (await first)["Status"]) == (False, 500)
    refused = await console.post(app.sdk_app_id, "test-callback", {"EventGroupId": 4}, status=400)
    assert (refused["Error"]["Field"], len(receiver.at("/probed"))) == ("EventGroupId", 1)


async def test_over_http_what_was_given_up_is_sent_once_more(
    console: Console, commands: Commands, world: World, receiver: Receiver
) -> None:
    app = await given_up(commands, world, receiver, "/replayed", "one", "two")
    other = await given_up(commands, world, receiver, "/not-replayed", "three")
    letters = await console.get(app.sdk_app_id, "dead-letters")
    assert (letters["Total"], [one["RoomId"] for one in letters["DeadLetters"]]) == (2, ["one", "two"])
    first, second = letters["DeadLetters"]
    assert (first["Reason"], first["EventType"], first["Url"]) == ("status", 103, receiver.url("/replayed"))
    for query, count in [
        ({"until": second["GivenUpTime"]}, 1),
        ({"since": second["GivenUpTime"]}, 1),
        ({"reason": "timeout"}, 0),
        ({"group": 2}, 0),
        ({"delivery": first["DeliveryId"]}, 1),
    ]:
        assert (await console.get(app.sdk_app_id, "dead-letters", **query))["Total"] == count, query
    limited = await console.get(app.sdk_app_id, "dead-letters", limit=1)
    assert (limited["Total"], limited["DeadLetters"]) == (2, [first])

    async def replayed(**asked: Any) -> list[str]:
        """The rooms of the callbacks that a request sends once more."""
        receiver.script("/replayed", reply())
        before = len(receiver.at("/replayed"))
        done = await console.replay_when("done", await console.post(app.sdk_app_id, "replays", asked, status=202))
        assert done["Sent"] == done["Callbacks"]
        await receiver.wait_for(lambda: len(receiver.at("/replayed")) == before + done["Sent"])
        return [request.json["EventInfo"]["RoomId"] for request in receiver.at("/replayed")[before:]]

    assert await replayed(DeliveryIds=[second["DeliveryId"]]) == ["two"]
    assert await replayed(Until=second["GivenUpTime"]) == ["one"]
    assert await replayed(Reasons=["timeout"]) == []
    assert sorted(await replayed(All=True, Rate=1000)) == ["one", "two"]
    assert len((await console.get(app.sdk_app_id, "replays"))["Replays"]) == 4
    assert (await console.get(other.sdk_app_id, "replays"))["Replays"] == []
    shown = await console.get(app.sdk_app_id, f"deliveries/{first['DeliveryId']}")
    assert shown["State"] == "delivered"


async def test_over_http_replays_keep_their_rate_wait_for_each_other_and_are_stopped(
    console: Console, commands: Commands, world: World, receiver: Receiver
) -> None:
    app = await given_up(commands, world, receiver, "/slowly", "one", "two", "three")
    slow = await console.post(app.sdk_app_id, "replays", {"All": True, "Rate": 0.1}, status=202)
    waiting = await console.post(app.sdk_app_id, "replays", {"All": True}, status=202)
    sending = await console.replay_when("sending", slow)
    assert (sending["Callbacks"], sending["Sent"] <= 1, sending["Rate"]) == (3, True, 0.1)
    assert (await console.get(app.sdk_app_id, f"replays/{waiting['ReplayId']}"))["State"] == "waiting"
    stopped = await console.ask("DELETE", app.sdk_app_id, f"replays/{waiting['ReplayId']}")
    assert (stopped["State"], stopped["Sent"]) == ("stopped", 0)
    async with asyncio.timeout(WAIT_S):
        while (await console.get(app.sdk_app_id, f"replays/{slow['ReplayId']}"))["Sent"] == 0:
            await asyncio.sleep(0.05)
    stopped = await console.ask("DELETE", app.sdk_app_id, f"replays/{slow['ReplayId']}")
    assert (stopped["State"], stopped["Sent"]) == ("stopped", 1)


@pytest.mark.parametrize(
    ("path", "body", "status", "says"),
    [
        ("replays", {}, 400, "say which"),
        ("replays", {"Rate": 5}, 400, "say which"),
        ("replays", {"All": True, "Rate": 0}, 400, "Rate"),
        ("replays", {"All": True, "Rate": 1001}, 400, "Rate"),
        ("replays", {"Since": -1}, 400, "Since"),
        ("replays", {"Everything": True}, 400, "Everything"),
        ("replays", [], 400, "object"),
        ("test-callback", {"EventGroupId": 0}, 400, "EventGroupId"),
        ("test-callback", {"Url": "http://169.254.169.254/"}, 400, "Url"),
        ("replays", {"DeliveryIds": ["x" * 300_000]}, 413, "bytes"),
    ],
)
async def test_over_http_what_is_wrong_is_refused(
    console: Console, world: World, path: str, body: Any, status: int, says: str
) -> None:
    app = await world.application(room_url="http://127.0.0.1:9/")
    assert says in (await console.post(app.sdk_app_id, path, body, status=status))["Error"]["Reason"]
    assert (await console.get(app.sdk_app_id, "replays"))["Replays"] == []


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Sec-Fetch-Site": "none"}, 200),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, 403),
        ({"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors"}, 403),
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
    ],
)
async def test_pages_of_other_sites_send_nothing(
    console: Console, world: World, receiver: Receiver, headers: dict[str, str], status: int
) -> None:
    path = f"/foreign/{len(receiver.requests)}"
    app = await world.application(room_url=receiver.url(path))
    headers = {"Content-Type": "application/json", **headers}
    await console.ask("POST", app.sdk_app_id, "test-callback", data=b"{}", headers=headers, status=status)
    assert len(receiver.at(path)) == (status == 200)
    asked = await console.ask(
        "OPTIONS", app.sdk_app_id, "test-callback", headers={"Origin": "https://evil.example"}, status=405
    )
    assert asked["Error"]["Code"] == "UnsupportedOperation"


async def test_an_egress_proxy_that_is_away_burns_no_attempts(stack: Stack, world: World, receiver: Receiver) -> None:
    """It is away for longer than the schedule lasts."""
    url = receiver.script("/by-proxy", reply(500), reply())
    app = await world.application(room_url=url.replace("127.0.0.1", "93.184.215.14"))
    proxy = Proxy(receiver.port, port=free_port())
    settings = stack.settings.model_copy(update={"callback_proxy": proxy.url, "dispatcher_port": free_port()})
    stack.services["dispatcher"].stop()
    async with world.dispatcher(settings):
        await world.publish(room_event(app, "lobby"))
        # Not by a command: in this process it would print what the dispatcher logs, too.
        rows = await world.attempts_when(app.sdk_app_id, lambda rows: len(rows) > 2)
        await asyncio.sleep(1.5)
        assert {(row.outcome, row.error_class, row.attempt) for row in rows} == {("failed", "egress-proxy", 1)}
        async with proxy:
            rows = await world.attempts_when(app.sdk_app_id, lambda rows: rows[-1].outcome != "failed")
    counted = [(row.outcome, row.attempt) for row in rows if row.error_class != "egress-proxy"]
    assert counted == [("failed", 1), ("delivered", 2)]
    # Beside it go callbacks that tests before this one left behind.
    assert f"CONNECT 93.184.215.14:{receiver.port} HTTP/1.1" in proxy.targets
    first, second = receiver.at("/by-proxy")
    assert (first.body, first.header("Host")) == (second.body, f"93.184.215.14:{receiver.port}")
