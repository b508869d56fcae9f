"""The dispatcher is killed, started again and joined by others, and Kafka too: nothing is lost, little is repeated.

There is no ClickHouse anywhere here: the dispatcher does without.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import msgspec
import pytest
from prometheus_client import REGISTRY

from services.dispatcher.sender import USER_AGENT
from services.runtime.clock import now_ms
from tests.integration.dispatching import World, environment_of, room_event, settings_for
from tests.support.clickhouse import free_port
from tests.support.receiver import Receiver, hang, reply
from tests.support.stack import ServiceProcess

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from services.runtime.settings import Settings
    from tests.support.kafka import KafkaBroker
    from tests.support.receiver import Received


@pytest.fixture(scope="module")
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


@asynccontextmanager
async def process(settings: Settings) -> AsyncIterator[ServiceProcess]:
    """A dispatcher in a process of its own, which is launched; it may be killed and launched again."""
    service = ServiceProcess("dispatcher", settings, environment_of(settings))
    service.launch()
    try:
        yield service
    finally:
        await asyncio.to_thread(service.stop)


def user_of(request: Received) -> str:
    return str(request.json["EventInfo"]["UserId"])


def answered(requests: list[Received]) -> Counter[str]:
    """How often each user's event got its whole answer."""
    return Counter(user_of(request) for request in requests if request.answered)


async def test_kill_9_while_callbacks_are_in_the_air(world: World, receiver: Receiver) -> None:
    seeded = random.Random(7)
    answers = [reply(500 if seeded.random() < 0.2 else 200, delay=0.1 + seeded.random() * 0.2) for _ in range(2000)]
    application = await world.application(room_url=receiver.script("/unsteady", *answers, reply()))
    events = [room_event(application, 1 + number % 40, f"u{number}") for number in range(800)]
    # They have no answer when the dispatcher is killed, so that the first offset of each partition is not done.
    hanging = await world.application(room_url=receiver.script("/first", hang()))
    async with process(world.settings) as dispatcher:
        await world.publish(*(room_event(hanging, number) for number in range(1, 20)))
        await receiver.wait_for(lambda: len(receiver.at("/first")) == 19)
        for kill in range(2):
            seen = len(receiver.at("/unsteady"))
            await world.publish(*events[kill * 400 : (kill + 1) * 400])
            await receiver.wait_for(lambda seen=seen: len(receiver.at("/unsteady")) >= seen + 200)  # type: ignore[misc]
            assert sum(not request.answered for request in receiver.at("/unsteady")) >= 10
            await asyncio.to_thread(dispatcher.kill9)
            dispatcher.launch()
        receiver.script("/first", reply())
        rows = await world.attempts_when(
            application.sdk_app_id,
            lambda rows: len({row.event_id for row in rows if row.outcome == "delivered"}) == len(events),
        )
        await world.lane_empty(application.sdk_app_id)
    assert set(answered(receiver.at("/unsteady"))) == {event.user_id for event in events}
    assert not [row for row in rows if row.outcome == "given-up"]
    # Repeated is what was in the air, and what was answered in the last moments.
    assert len(receiver.at("/unsteady")) - len(rows) <= 2 * 2 * world.settings.callback_in_flight_per_endpoint
    twice = Counter(row.event_id for row in rows if row.outcome == "delivered")
    assert twice.total() - len(twice) <= 2 * world.settings.callback_in_flight_per_endpoint
    bodies = {(user_of(request), request.body) for request in receiver.at("/unsteady")}
    assert len(bodies) == len(events)


async def test_waiting_callbacks_outlive_a_crash_however_long_it_lasts(world: World, receiver: Receiver) -> None:
    settings = world.settings.model_copy(update={"callback_retry_window_s": 1.5})
    application = await world.application(room_url=receiver.script("/later", reply(503)))
    events = [room_event(application, 1 + number, f"u{number}") for number in range(20)]
    async with process(settings) as dispatcher:
        await world.publish(*events)
        # A third request means that the lane has seen two failures.
        await receiver.wait_for(
            lambda: [count >= 3 for count in answered(receiver.at("/later")).values()] == [True] * 20
        )
        await asyncio.to_thread(dispatcher.kill9)
        assert len(await world.lane(application.sdk_app_id)) == 20
        await asyncio.sleep(1.5)
        receiver.script("/later", reply())
        before = len(receiver.at("/later"))
        dispatcher.launch()
        await receiver.wait_for(lambda: len(receiver.at("/later")) == before + 20)
        rows = await world.attempts_when(
            application.sdk_app_id, lambda rows: sum(row.outcome == "delivered" for row in rows) == 20
        )
    assert len({request.body for request in receiver.at("/later")}) == 20
    assert all(row.attempt > 2 for row in rows if row.outcome == "delivered")
    assert not [row for row in rows if row.outcome == "given-up"]


async def test_a_restart_neither_hastens_nor_loses_what_is_due_by_the_durable_schedule(
    world: World, receiver: Receiver
) -> None:
    settings = world.settings.model_copy(
        update={"callback_durable_base_s": 0.1, "callback_durable_cap_s": 6.0, "callback_retry_window_s": 0.1}
    )
    busy = reply(503, headers=(("Retry-After", "6"),))
    application = await world.application(room_url=receiver.script("/durable", busy), schedule="durable")
    async with process(settings) as dispatcher:
        await world.publish(*(room_event(application, 1 + number, f"u{number}") for number in range(20)))
        await world.attempts_when(application.sdk_app_id, lambda rows: len(rows) == 20)
        receiver.script("/durable", reply())
        assert len(await world.lane(application.sdk_app_id)) == 20
        await asyncio.to_thread(dispatcher.kill9)
        dispatcher.launch()
        rows = await world.attempts_when(
            application.sdk_app_id, lambda rows: sum(row.outcome == "delivered" for row in rows) == 20
        )
    assert len(rows) == len(receiver.at("/durable")) == 40
    failed = {row.delivery_id: row.started_ms for row in rows if row.outcome == "failed"}
    assert all(row.started_ms - failed[row.delivery_id] >= 6_000 for row in rows if row.outcome == "delivered")


async def test_the_same_event_after_a_restart(world: World, receiver: Receiver) -> None:
    application = await world.application(room_url=receiver.url("/once"))
    event = room_event(application, 7, "first", event_id="only-once")
    await world.publish(event)
    async with process(world.settings) as dispatcher:
        await world.attempts_when(application.sdk_app_id, bool)
        await asyncio.to_thread(dispatcher.stop)
        await world.publish(event, room_event(application, 7, "second"))
        dispatcher.launch()
        await receiver.wait_for(lambda: any(user_of(request) == "second" for request in receiver.at("/once")))
        await asyncio.to_thread(dispatcher.kill9)
        await world.publish(event, room_event(application, 7, "third"))
        dispatcher.launch()
        await receiver.wait_for(lambda: any(user_of(request) == "third" for request in receiver.at("/once")))
    assert answered(receiver.at("/once"))["first"] == 1


async def test_stopping_waits_for_what_is_in_the_air_but_not_long(world: World, receiver: Receiver) -> None:
    slow = await world.application(room_url=receiver.script("/slow", reply(delay=1)))
    hanging = await world.application(room_url=receiver.script("/hanging", hang()))
    last = await world.application(room_url=receiver.url("/last"))
    async with process(world.settings) as dispatcher:
        await world.publish(*(room_event(hanging, 1 + number, f"u{number}") for number in range(300)))
        await receiver.wait_for(lambda: len(receiver.at("/hanging")) >= 30)
        await world.publish(*(room_event(slow, 1 + number, f"u{number}") for number in range(30)))
        await receiver.wait_for(lambda: len(receiver.at("/slow")) == 30)
        assert await asyncio.to_thread(dispatcher.stop, 8) == 0
        receiver.script("/hanging", reply())
        dispatcher.launch()
        # These come after the others in every partition.
        await world.publish(*(room_event(last, 1 + number) for number in range(30)))
        await receiver.wait_for(
            lambda: len(receiver.at("/last")) == 30 and len(answered(receiver.at("/hanging"))) == 300
        )
        rows = await world.attempts_when(slow.sdk_app_id, lambda rows: len(rows) == 30)
    assert len(receiver.at("/slow")) == 30
    assert [row.outcome for row in rows] == ["delivered"] * 30


async def test_what_memory_has_no_room_for_waits_in_kafka(
    world: World, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.dispatcher.dispatcher.MAX_HELD", 500)
    slow = await world.application(room_url=receiver.script("/crowded", reply(delay=0.15)))
    healthy = await world.application(room_url=receiver.url("/healthy"))
    events = [room_event(slow, 1 + number % 50, f"u{number}") for number in range(1500)]
    held = 0.0
    async with world.dispatcher():
        for start in range(0, 1500, 50):
            # There is some room again each time, but it is for those that wait already.
            await world.publish(*events[start : start + 50])
            await receiver.wait_for(lambda least=start // 3: len(receiver.at("/crowded")) >= least)  # type: ignore[misc]
        # Same rooms, so the same partitions, and behind all of the others.
        await world.publish(*(room_event(healthy, 1 + number) for number in range(50)))
        await receiver.wait_for(lambda: len(receiver.at("/healthy")) == 50)
        assert len(receiver.at("/crowded")) < 1200
        for _ in range(10):
            await asyncio.sleep(0.1)
            held = max(held, REGISTRY.get_sample_value("roompulse_callbacks_in_memory") or 0)
    assert 64 <= held <= 500
    async with world.dispatcher():
        rows = await world.attempts_when(
            slow.sdk_app_id,
            lambda rows: len({row.event_id for row in rows if row.outcome == "delivered"}) == len(events),
        )
        await world.lane_empty(slow.sdk_app_id)
    assert [row for row in rows if row.outcome != "delivered"] == []
    assert len(receiver.at("/crowded")) == len(rows) == len(events)
    order = [int(row.user_id[1:]) for row in rows]
    starts = {number: row.started_ms for number, row in zip(order, rows, strict=True)}
    for room in range(50):
        of_room = [starts[number] for number in range(room, 1500, 50)]
        assert of_room == sorted(of_room)


async def test_what_waits_for_hours_takes_no_memory(world: World, receiver: Receiver) -> None:
    settings = world.settings.model_copy(update={"callback_durable_base_s": 0.1, "callback_durable_cap_s": 3600.0})
    busy = reply(503, headers=(("Retry-After", "3600"),))
    far = await world.application(room_url=receiver.script("/far", busy), schedule="durable")
    near = await world.application(room_url=receiver.script("/near", reply(503), reply()), schedule="durable")
    async with world.dispatcher(settings):
        await world.publish(*(room_event(far, 1 + number % 50, f"u{number}") for number in range(1000)))
        await world.attempts_when(far.sdk_app_id, lambda rows: len(rows) == 1000)
        # There is nothing else to do.
        await _metric_is("roompulse_callbacks_in_memory", 0)
        await _metric_is("roompulse_callbacks_in_lane", 1000)
    async with world.dispatcher(settings):
        await world.publish(room_event(near, 1))
        await receiver.wait_for(lambda: len(receiver.at("/near")) == 2)
        await _metric_is("roompulse_callbacks_in_memory", 0)
        await _metric_is("roompulse_callbacks_in_lane", 1000)
    # Nobody was there when they were due, among others that were not.
    lane = await world.lane(far.sdk_app_id)
    late = [record for record in lane.values() if int((record.event.user_id or "u")[1:]) % 100 == 7]
    assert len(late) == 10
    receiver.script("/far", reply())
    await world.wait_in_lane(*(msgspec.structs.replace(record, due_ms=now_ms()) for record in late))
    async with world.dispatcher(settings):
        await world.attempts_when(far.sdk_app_id, lambda rows: len(rows) == 1010)
        await _metric_is("roompulse_callbacks_in_lane", 990)
    assert len(receiver.at("/far")) == 1010
    assert {user_of(request) for request in receiver.at("/far")[1000:]} == {record.event.user_id for record in late}


async def _metric_is(name: str, value: float) -> None:
    async with asyncio.timeout(30):
        while REGISTRY.get_sample_value(name) != value:
            await asyncio.sleep(0.05)


async def test_dispatchers_share_the_work_and_take_over(world: World, receiver: Receiver) -> None:
    application = await world.application(room_url=receiver.script("/shared", reply(delay=0.1)))
    events = [room_event(application, 1 + number % 60, f"u{number}") for number in range(900)]
    another = world.settings.model_copy(update={"dispatcher_port": free_port()})
    async with process(world.settings) as first, process(another) as second:
        await world.publish(*events[:300])
        await receiver.wait_for(lambda: len(receiver.at("/shared")) >= 200)
        await asyncio.to_thread(second.wait_ready)
        await asyncio.to_thread(first.wait_ready)
        await world.publish(*events[300:600])
        await receiver.wait_for(lambda: len(answered(receiver.at("/shared"))) >= 400)
        await asyncio.to_thread(first.kill9)
        await world.publish(*events[600:])
        await receiver.wait_for(lambda: len(answered(receiver.at("/shared"))) == len(events))
    # A rebalance repeats nothing; the crash, what was in the air and what was answered in its last moments.
    assert len(receiver.at("/shared")) <= len(events) + 2 * world.settings.callback_in_flight_per_endpoint


async def test_kafka_goes_away_and_comes_back(world: World, receiver: Receiver, kafka: KafkaBroker) -> None:
    unsteady = [reply(503 if number % 3 == 0 else 200, delay=0.2) for number in range(200)]
    application = await world.application(room_url=receiver.script("/outage", *unsteady, reply(delay=0.05)))
    events = [room_event(application, 1 + number % 50, f"u{number}") for number in range(400)]
    async with process(world.settings) as dispatcher:
        await world.publish(*events)
        await receiver.wait_for(lambda: len(receiver.at("/outage")) >= 100)
        assert len(answered(receiver.at("/outage"))) < 300
        await asyncio.to_thread(kafka.kill9)
        await asyncio.sleep(2)
        await asyncio.to_thread(kafka.start)
        await world.publish(room_event(application, 3, "afterwards"))
        rows = await world.attempts_when(
            application.sdk_app_id,
            lambda rows: len({row.event_id for row in rows if row.outcome == "delivered"}) == len(events) + 1,
        )
        assert dispatcher.process is not None
        assert dispatcher.process.poll() is None
    assert not [row for row in rows if row.outcome == "given-up"]
    delivered = Counter(row.event_id for row in rows if row.outcome == "delivered")
    assert delivered.total() - len(delivered) <= len(events) // 100


async def test_kill_9_of_kafka_and_the_dispatcher_at_once(world: World, receiver: Receiver, kafka: KafkaBroker) -> None:
    application = await world.application(room_url=receiver.script("/both", reply(delay=0.1)))
    events = [room_event(application, 1 + number % 50, f"u{number}") for number in range(400)]
    async with process(world.settings) as dispatcher:
        await world.publish(*events)
        await receiver.wait_for(lambda: len(answered(receiver.at("/both"))) >= 150)
        await asyncio.to_thread(kafka.kill9)
        await asyncio.to_thread(dispatcher.kill9)
        assert len(answered(receiver.at("/both"))) < 400
        dispatcher.launch()
        await asyncio.to_thread(kafka.start)
        rows = await world.attempts_when(
            application.sdk_app_id,
            lambda rows: len({row.event_id for row in rows if row.outcome == "delivered"}) == len(events),
        )
        await world.lane_empty(application.sdk_app_id)
    # Also nothing of the tests before this one, which a dispatcher that lost its place would send again.
    assert {row.sdk_app_id for row in await world.attempts() if row.started_ms >= rows[0].started_ms} == {
        application.sdk_app_id
    }
    assert len(receiver.at("/both")) <= len(events) + 2 * world.settings.callback_in_flight_per_endpoint


async def test_stopped_in_time_without_kafka(world: World, receiver: Receiver, kafka: KafkaBroker) -> None:
    application = await world.application(room_url=receiver.script("/gone", hang()))
    async with process(world.settings) as dispatcher:
        await world.publish(room_event(application, 3, "patient"))
        await receiver.wait_for(lambda: bool(receiver.at("/gone")))
        assert receiver.at("/gone")[0].header("User-Agent") == USER_AGENT
        await asyncio.to_thread(kafka.kill9)
        await asyncio.sleep(0.5)
        assert await asyncio.to_thread(dispatcher.stop, 8) == 0
