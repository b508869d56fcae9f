"""The dispatcher against a real broker and a scripted receiver."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from schemas.callbacks import sign
from tests.integration.dispatching import World, room_event, settings_for
from tests.support.receiver import Receiver, reply

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.kafka import KafkaBroker


@pytest.fixture(scope="module")
async def world(kafka: KafkaBroker, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    world = World(settings_for(kafka.bootstrap, tmp_path_factory.mktemp("dispatcher")))
    await world.open()
    async with world.dispatcher():
        yield world
    await world.close()


@pytest.fixture(scope="module")
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver() as receiver:
        yield receiver


async def test_a_delivered_callback(world: World, receiver: Receiver) -> None:
    application = await world.application(room_url=receiver.url("/hook?a=b%20c"))
    event = room_event(application, 8801)
    await world.publish(event)
    await receiver.wait_for(lambda: bool(receiver.at("/hook?a=b%20c")))
    request = receiver.at("/hook?a=b%20c")[0]
    assert (request.method, request.version) == ("POST", "HTTP/1.1")
    names = {name for name, _ in request.headers}
    assert names == {"Host", "Content-Type", "Content-Length", "User-Agent", "Sign", "SdkAppId"}
    assert request.header("SdkAppId") == str(application.sdk_app_id)
    assert request.header("Content-Type") == "application/json"
    assert request.header("Sign") == sign(application.callback_key, request.body)
    [row] = await world.attempts_when(application.sdk_app_id, bool)
    assert (row.outcome, row.status, row.attempt, row.error_class) == ("delivered", 200, 1, "")
    assert row.event_id == event.event_id
    assert row.response == '{"code":0}'


async def test_retries_until_it_works(world: World, receiver: Receiver) -> None:
    url = receiver.script("/recovers", reply(500), reply(503, b"no"), reply())
    application = await world.application(room_url=url)
    await world.publish(room_event(application, "lobby"))
    rows = await world.attempts_when(application.sdk_app_id, lambda rows: len(rows) == 3)
    assert [(row.outcome, row.status, row.attempt) for row in rows] == [
        ("failed", 500, 1),
        ("failed", 503, 2),
        ("delivered", 200, 3),
    ]
    requests = receiver.at("/recovers")
    assert len({request.body for request in requests}) == 1
    assert len({request.header("Sign") for request in requests}) == 1
