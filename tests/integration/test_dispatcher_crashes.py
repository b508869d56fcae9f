"""The dispatcher is killed, started again and joined by others: nothing is lost, little is repeated."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from services.dispatcher.sender import USER_AGENT
from services.runtime.settings import Settings
from tests.integration.dispatching import World, environment_of, room_event, settings_for
from tests.support.clickhouse import free_port
from tests.support.receiver import Receiver, hang, reply
from tests.support.stack import ServiceProcess

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.kafka import KafkaBroker
    from tests.support.receiver import Received


@pytest.fixture
async def world(kafka: KafkaBroker, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    settings = settings_for(
        kafka.bootstrap,
        tmp_path_factory.mktemp("crashes"),
        callback_timeout_s=5.0,
        callback_retry_interval_s=0.3,
        callback_retry_window_s=60.0,
    )
    async with World(settings) as world:
        yield world


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver() as receiver:
        yield receiver


def process_of(settings: Settings) -> ServiceProcess:
    return ServiceProcess("dispatcher", settings, environment_of(settings))


def user_of(request: Received) -> str:
    return str(request.json["EventInfo"]["UserId"])


async def test_kill_9_while_callbacks_are_in_the_air(world: World, receiver: Receiver) -> None:
    seeded = random.Random(7)
    answers = [reply(500) if seeded.random() < 0.2 else reply(delay=seeded.random() * 0.1) for _ in range(4000)]
    application = await world.application(room_url=receiver.script("/unsteady", *answers, reply()))
    events = [room_event(application, 1 + number % 40, f"u{number}") for number in range(2000)]
    dispatcher = process_of(world.settings)
    surplus = 0
    try:
        for round_number in range(4):
            dispatcher.launch()
            part = events[round_number * 500 : (round_number + 1) * 500]
            seen = len(receiver.at("/unsteady"))
            await world.publish(*part)
            await receiver.wait_for(lambda seen=seen: len(receiver.at("/unsteady")) >= seen + 250)
            in_the_air = sum(not request.answered for request in receiver.at("/unsteady"))
            assert in_the_air >= 10
            await asyncio.to_thread(dispatcher.kill9)
            # A request that was answered when the dispatcher was killed may have been read by it or not.
            surplus += in_the_air
        dispatcher.launch()
        rows = await world.attempts_when(
            application.sdk_app_id,
            lambda rows: len({row.event_id for row in rows if row.outcome == "delivered"}) == len(events),
        )
    finally:
        await asyncio.to_thread(dispatcher.stop)
    delivered = Counter(user_of(request) for request in receiver.at("/unsteady") if request.answered)
    assert set(delivered) == {event.user_id for event in events}
    assert not [row for row in rows if row.outcome == "given-up"]
    assert not await world.lane()
    # What was sent although its 200 had been received completely: at most what the last milliseconds brought.
    twice = Counter(row.event_id for row in rows if row.outcome == "delivered")
    assert sum(count - 1 for count in twice.values()) <= surplus // 4
    bodies = {
        user: {request.body for request in receiver.at("/unsteady") if user_of(request) == user} for user in delivered
    }
    assert all(len(variants) == 1 for variants in bodies.values())


async def test_a_waiting_callback_outlives_a_crash(world: World, receiver: Receiver) -> None:
    application = await world.application(room_url=receiver.script("/later", reply(503)))
    await world.publish(*(room_event(application, 1 + number, f"u{number}") for number in range(20)))
    dispatcher = process_of(world.settings)
    try:
        dispatcher.launch()
        await receiver.wait_for(lambda: len(receiver.at("/later")) >= 60)
        await asyncio.to_thread(dispatcher.kill9)
        assert len(await world.lane()) == 20
        receiver.script("/later", reply())
        before = len(receiver.at("/later"))
        dispatcher.launch()
        await receiver.wait_for(lambda: len(receiver.at("/later")) == before + 20)
        rows = await world.attempts_when(
            application.sdk_app_id, lambda rows: sum(row.outcome == "delivered" for row in rows) == 20
        )
        assert len({request.body for request in receiver.at("/later")}) == 20
        assert all(row.attempt > 2 for row in rows if row.outcome == "delivered")
    finally:
        await asyncio.to_thread(dispatcher.stop)


async def test_time_without_a_dispatcher_does_not_count(world: World, receiver: Receiver) -> None:
    settings = world.settings.model_copy(update={"callback_retry_window_s": 1.0})
    application = await world.application(room_url=receiver.script("/patient", reply(503)))
    await world.publish(room_event(application, 1))
    dispatcher = process_of(Settings(**{name: getattr(settings, name) for name in settings.model_fields_set}))
    try:
        dispatcher.launch()
        await receiver.wait_for(lambda: len(receiver.at("/patient")) >= 2)
        await asyncio.to_thread(dispatcher.kill9)
        await asyncio.sleep(2)
        receiver.script("/patient", reply())
        dispatcher.launch()
        rows = await world.attempts_when(
            application.sdk_app_id, lambda rows: any(row.outcome == "delivered" for row in rows)
        )
        assert not [row for row in rows if row.outcome == "given-up"]
    finally:
        await asyncio.to_thread(dispatcher.stop)


async def test_the_same_event_after_a_restart(world: World, receiver: Receiver) -> None:
    application = await world.application(room_url=receiver.url("/once"))
    event = room_event(application, 7, "first", event_id="only-once")
    await world.publish(event)
    async with world.dispatcher():
        await receiver.wait_for(lambda: len(receiver.at("/once")) == 1)
        await world.attempts_when(application.sdk_app_id, bool)
    await world.publish(event, room_event(application, 7, "second"))
    async with world.dispatcher():
        await receiver.wait_for(lambda: any(user_of(request) == "second" for request in receiver.at("/once")))
    assert [user_of(request) for request in receiver.at("/once")] == ["first", "second"]


async def test_stopping_waits_for_what_is_in_the_air(world: World, receiver: Receiver) -> None:
    application = await world.application(room_url=receiver.script("/slowly", reply(delay=1)))
    await world.publish(*(room_event(application, 1 + number, f"u{number}") for number in range(30)))
    async with world.dispatcher():
        await receiver.wait_for(lambda: len(receiver.at("/slowly")) == 30)
    async with world.dispatcher():
        await asyncio.sleep(2)
    assert len(receiver.at("/slowly")) == 30
    rows = await world.attempts(application.sdk_app_id)
    assert [row.outcome for row in rows] == ["delivered"] * 30


async def test_dispatchers_share_the_work_and_take_over(world: World, receiver: Receiver) -> None:
    application = await world.application(room_url=receiver.script("/shared", reply(delay=0.02)))
    events = [room_event(application, 1 + number % 60, f"u{number}") for number in range(1500)]
    first = process_of(world.settings)
    second_settings = Settings(
        **{name: getattr(world.settings, name) for name in world.settings.model_fields_set}
        | {"dispatcher_port": free_port()}
    )
    second = process_of(second_settings)
    try:
        first.launch()
        await world.publish(*events[:500])
        await receiver.wait_for(lambda: len(receiver.at("/shared")) >= 300)
        second.launch()
        await asyncio.to_thread(second.wait_ready)
        await world.publish(*events[500:1000])
        await receiver.wait_for(lambda: len(receiver.at("/shared")) >= 800)
        await asyncio.to_thread(first.kill9)
        await world.publish(*events[1000:])
        await receiver.wait_for(
            lambda: len({user_of(request) for request in receiver.at("/shared")}) == len(events), 90
        )
    finally:
        await asyncio.to_thread(first.stop)
        await asyncio.to_thread(second.stop)
    # A rebalance repeats nothing; the crash, what was in the air.
    assert len(receiver.at("/shared")) <= len(events) + 100


async def test_kafka_goes_away_and_comes_back(world: World, receiver: Receiver, kafka: KafkaBroker) -> None:
    application = await world.application(room_url=receiver.script("/outage", reply(503), reply(delay=0.3)))
    events = [room_event(application, 1 + number, f"u{number}") for number in range(100)]
    dispatcher = process_of(world.settings)
    try:
        dispatcher.launch()
        await world.publish(*events)
        await receiver.wait_for(lambda: len(receiver.at("/outage")) >= 20)
        await asyncio.to_thread(kafka.kill9)
        await asyncio.sleep(1)
        await asyncio.to_thread(kafka.start)
        await world.publish(room_event(application, 3, "afterwards"))
        await receiver.wait_for(lambda: any(user_of(request) == "afterwards" for request in receiver.at("/outage")), 90)
        rows = await world.attempts_when(
            application.sdk_app_id,
            lambda rows: len({row.event_id for row in rows if row.outcome == "delivered"}) == len(events) + 1,
        )
        assert not [row for row in rows if row.outcome == "given-up"]
    finally:
        await asyncio.to_thread(dispatcher.stop)


async def test_stopped_cleanly_without_kafka(world: World, receiver: Receiver, kafka: KafkaBroker) -> None:
    application = await world.application(room_url=receiver.script("/gone", hang()))
    dispatcher = process_of(world.settings)
    dispatcher.launch()
    try:
        await world.publish(room_event(application, 3))
        await receiver.wait_for(lambda: bool(receiver.at("/gone")))
        assert receiver.at("/gone")[0].header("User-Agent") == USER_AGENT
        await asyncio.to_thread(kafka.kill9)
        await asyncio.sleep(0.5)
        assert await asyncio.to_thread(dispatcher.stop) == 0
    finally:
        if kafka.process is None:
            await asyncio.to_thread(kafka.start)
        await asyncio.to_thread(dispatcher.stop)
