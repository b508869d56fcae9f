"""Applications that ask for the order of each room: one callback after the other, for a bounded time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.integration.dispatching import World, room_event, settings_for
from tests.support.receiver import Receiver, reply

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator

    from tests.support.kafka import KafkaBroker
    from tests.support.receiver import Behaviour, Received


@pytest.fixture(scope="module")
async def world(kafka: KafkaBroker, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with World(settings_for(kafka.bootstrap, tmp_path_factory.mktemp("order"))) as world:
        yield world


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver() as receiver:
        yield receiver


def failing(user: str, times: int) -> Behaviour:
    """Fails the first requests about a user."""
    failed = 0

    async def behave(received: Received, writer: asyncio.StreamWriter) -> bool:
        nonlocal failed
        if received.json["EventInfo"]["UserId"] != user or failed == times:
            return await reply(delay=0.05)(received, writer)
        failed += 1
        return await reply(503)(received, writer)

    return behave


def users_of(requests: list[Received]) -> list[str]:
    return [request.json["EventInfo"]["UserId"] for request in requests]


async def test_a_room_whose_order_is_kept(world: World, receiver: Receiver) -> None:
    application = await world.application(room_url=receiver.script("/ordered", failing("u1", 2)), ordered=True)
    async with world.dispatcher():
        await world.publish(*(room_event(application, 7, f"u{number}") for number in range(5)))
        await world.publish(*(room_event(application, 8, f"other{number}") for number in range(5)))
        await receiver.wait_for(lambda: len(receiver.at("/ordered")) == 12)
    requests = receiver.at("/ordered")
    rooms = [request.json["EventInfo"]["RoomId"] for request in requests]
    assert users_of([request for request in requests if request.json["EventInfo"]["RoomId"] == 7]) == [
        *("u0", "u1", "u1", "u1", "u2", "u3", "u4")
    ]
    # The other room was done long before.
    assert rooms.index(7) < 10
    assert rooms[-3:] == [7, 7, 7]
    assert not [request for request in requests if request.header("Roompulse-Gap")]


async def test_a_room_whose_order_is_kept_waits_for_a_bounded_time(world: World, receiver: Receiver) -> None:
    settings = world.settings.model_copy(update={"callback_order_wait_s": 1.0})
    application = await world.application(room_url=receiver.script("/gap", failing("u0", 100)), ordered=True)
    async with world.dispatcher(settings):
        await world.publish(*(room_event(application, 7, f"u{number}") for number in range(3)))
        rows = await world.attempts_when(
            application.sdk_app_id, lambda rows: sum(row.outcome == "delivered" for row in rows) == 2
        )
    marked = [request for request in receiver.at("/gap") if request.header("Roompulse-Gap") == "1"]
    assert users_of(marked) == ["u1"]
    assert [row.user_id for row in rows if row.gap] == ["u1"]
    first = receiver.at("/gap")[0]
    assert marked[0].at - first.at >= 0.9
    assert users_of(receiver.at("/gap")).index("u2") > users_of(receiver.at("/gap")).index("u1")


async def test_order_is_kept_over_a_restart(world: World, receiver: Receiver) -> None:
    settings = world.settings.model_copy(update={"callback_retry_interval_s": 1.0, "callback_retry_window_s": 10.0})
    application = await world.application(room_url=receiver.script("/again", failing("u0", 2)), ordered=True)
    async with world.dispatcher(settings):
        await world.publish(*(room_event(application, 7, f"u{number}") for number in range(4)))
        await world.attempts_when(application.sdk_app_id, lambda rows: len(rows) == 2)
    assert users_of(receiver.at("/again")) == ["u0", "u0"]
    async with world.dispatcher(settings):
        await receiver.wait_for(lambda: len(receiver.at("/again")) == 6)
    assert users_of(receiver.at("/again")) == ["u0", "u0", "u0", "u1", "u2", "u3"]
    assert not [request for request in receiver.at("/again") if request.header("Roompulse-Gap")]
