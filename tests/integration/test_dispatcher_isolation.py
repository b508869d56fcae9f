"""What is done about endpoints that are dead for long: a real broker, real sockets, short times."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from prometheus_client import REGISTRY

from services.dispatcher import sender
from services.dispatcher.disabled import DisabledEndpoints
from services.dispatcher.replay import Wanted, replay
from services.dispatcher.resolver import ThreadResolver
from tests.integration.dispatching import World, room_event, settings_for
from tests.support.receiver import Receiver, reply

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from schemas.deliveries import DeliveryAttempt
    from services.dispatcher.scheduler import EndpointKey
    from tests.support.kafka import KafkaBroker


@pytest.fixture(scope="module")
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver() as receiver:
        yield receiver


class Names:
    """Name servers to whom every name is this machine's, until they are out of order."""

    broken = False

    def __call__(self, host: str, port: int, *_: Any) -> list[Any]:
        if self.broken:
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]


@pytest.fixture(scope="module")
def names() -> Iterator[Names]:
    names = Names()

    class Resolver(ThreadResolver):
        def __init__(self) -> None:
            super().__init__(names)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sender, "ThreadResolver", Resolver)
        # Names are asked for anew for each connection, and each attempt has one of its own.
        patch.setattr(sender, "_DNS_CACHE_S", 0)
        yield names


@pytest.fixture(scope="module")
async def world(
    kafka: KafkaBroker, receiver: Receiver, names: Names, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    settings = settings_for(
        kafka.bootstrap,
        tmp_path_factory.mktemp("isolation"),
        callback_retry_window_s=3.0,
        callback_durable_base_s=0.2,
        callback_durable_cap_s=1.0,
        callback_durable_window_s=120.0,
        callback_park_failures=10,
        callback_park_after_s=0.5,
        callback_probe_first_s=0.2,
        callback_probe_longest_s=0.5,
        callback_notify_url=receiver.script("/operator", reply(503), reply()),
    )
    async with World(settings) as world, world.dispatcher():
        yield world


def told(receiver: Receiver, sdk_app_id: int) -> list[dict[str, Any]]:
    """What the operator was told of an application, each message once."""
    messages = [request.json for request in receiver.at("/operator") if request.json["SdkAppId"] == sdk_app_id]
    return [message for place, message in enumerate(messages) if message not in messages[:place]]


def ended(rows: list[DeliveryAttempt]) -> set[str]:
    return {row.delivery_id for row in rows if row.outcome != "failed"}


async def test_an_endpoint_that_is_dead_for_good_is_parked(world: World, receiver: Receiver) -> None:
    dead = await world.application(room_url=receiver.script("/dead?token=1", reply(500)))
    healthy = await world.application(room_url=receiver.url("/healthy"))
    many = [room_event(dead, 1 + number % 20, f"u{number}") for number in range(30)]
    await world.publish(*many)
    await receiver.wait_for(lambda: bool(told(receiver, dead.sdk_app_id)))
    [message] = told(receiver, dead.sdk_app_id)
    assert message["Event"] == "endpoint parked"
    assert (message["Url"], message["Status"], message["ErrorClass"]) == (receiver.url("/dead"), 500, "status")
    assert message["Failures"] >= 10
    labels = {"sdk_app_id": str(dead.sdk_app_id), "endpoint": receiver.url("/dead")}
    assert REGISTRY.get_sample_value("roompulse_callback_endpoint_parked", labels) == 1
    before = len(receiver.at("/dead?token=1"))
    later = [room_event(dead, 1 + number % 20, f"later{number}") for number in range(400)]
    await world.publish(*later, *(room_event(healthy, number) for number in range(1, 30)))
    await receiver.wait_for(lambda: len(receiver.at("/healthy")) == 29)
    rows = await world.attempts_when(dead.sdk_app_id, lambda rows: len(ended(rows)) == 430)
    probes = len(receiver.at("/dead?token=1")) - before
    # One at a time and a pause of half a second between two: in the ten seconds or so that this takes.
    assert 1 <= probes < 60
    given_up = [row for row in rows if row.outcome == "given-up"]
    assert len(given_up) == 430
    parked = {row.user_id for row in given_up if row.error_class == "parked"}
    assert len([user for user in parked if user.startswith("later")]) > 300
    letters = await world.dead_letters(dead.sdk_app_id)
    assert len({letter["Callback"]["DeliveryId"] for letter in letters}) == 430
    assert {letter["Url"] for letter in letters} == {receiver.url("/dead?token=1")}
    # Those that were never attempted had the time that the schedule has.
    never = [letter for letter in letters if not letter["Callback"].get("Attempts")]
    assert len(never) > 300
    waited = [letter["GivenUpMs"] - letter["Callback"]["TakenMs"] for letter in never]
    assert min(waited) >= 3_000
    await world.lane_empty(dead.sdk_app_id)
    assert len(told(receiver, dead.sdk_app_id)) == 1


async def test_one_that_recovers_in_time_gets_what_waits(world: World, receiver: Receiver) -> None:
    application = await world.application(room_url=receiver.script("/recovers", reply(503)))
    await world.publish(*(room_event(application, number, f"u{number}") for number in range(1, 30)))
    await receiver.wait_for(lambda: bool(told(receiver, application.sdk_app_id)))
    receiver.script("/recovers", reply())
    waiting = [room_event(application, number, f"later{number}") for number in range(1, 150)]
    await world.publish(*waiting)
    rows = await world.attempts_when(application.sdk_app_id, lambda rows: len(ended(rows)) == 29 + 149)
    assert len([row for row in rows if row.outcome == "delivered" and row.user_id.startswith("later")]) == 149
    await receiver.wait_for(lambda: len(told(receiver, application.sdk_app_id)) == 2)
    assert [message["Event"] for message in told(receiver, application.sdk_app_id)] == [
        "endpoint parked",
        "endpoint open again",
    ]


async def test_on_the_durable_schedule_nothing_is_lost_and_little_is_sent(world: World, receiver: Receiver) -> None:
    application = await world.application(room_url=receiver.script("/durable", reply(500)), schedule="durable")
    events = [room_event(application, 1 + number % 10, f"u{number}") for number in range(500)]
    await world.publish(*events[:50])
    await receiver.wait_for(lambda: bool(told(receiver, application.sdk_app_id)))
    await world.publish(*events[50:])
    await asyncio.sleep(4)
    sent = len(receiver.at("/durable"))
    await asyncio.sleep(2)
    assert len(receiver.at("/durable")) - sent <= 6
    assert not await world.dead_letters(application.sdk_app_id)
    receiver.script("/durable", reply())
    rows = await world.attempts_when(
        application.sdk_app_id, lambda rows: sum(row.outcome == "delivered" for row in rows) == len(events)
    )
    assert len(ended(rows)) == len(events)
    # First attempts of a room begin in the order of its events, in spite of the way over Kafka.
    firsts = sorted((row for row in rows if row.attempt == 1), key=lambda row: row.started_ms)
    for room in range(1, 11):
        moments = {int(row.user_id[1:]): row.started_ms for row in firsts if row.room_id == str(room)}
        assert [moments[number] for number in sorted(moments)] == sorted(moments.values())
    await world.lane_empty(application.sdk_app_id)


async def test_a_fault_of_ours_burns_no_attempts(world: World, receiver: Receiver, names: Names) -> None:
    """Our name servers are away for longer than the schedule lasts."""
    closing = (("Connection", "close"),)
    behaviours = [reply(500, headers=closing, keep_alive=False), reply(headers=closing, keep_alive=False)]
    url = receiver.script("/named", *behaviours).replace("127.0.0.1", "customer.example")
    named = await world.application(room_url=url)
    other = await world.application(room_url=receiver.url("/by-address"))
    names.broken = True
    events = [room_event(named, 1 + number % 5, f"u{number}") for number in range(100)]
    await world.publish(*events, *(room_event(other, 1 + number % 5, f"u{number}") for number in range(100)))
    await receiver.wait_for(lambda: len(receiver.at("/by-address")) == 100)
    await asyncio.sleep(4)
    rows = await world.attempts(named.sdk_app_id)
    assert {(row.outcome, row.error_class, row.attempt) for row in rows} == {("failed", "own-dns", 1)}
    assert len(rows) < 300, "each of them again and again would be no use"
    names.broken = False
    rows = await world.attempts_when(
        named.sdk_app_id, lambda rows: sum(row.outcome == "delivered" for row in rows) == len(events)
    )
    counted = [row for row in rows if row.error_class != "own-dns"]
    assert [(row.outcome, row.attempt) for row in counted if row.outcome != "delivered"] == [("failed", 1)]
    assert {row.attempt for row in counted if row.outcome == "delivered"} <= {1, 2}
    assert not await world.dead_letters(named.sdk_app_id)
    assert not told(receiver, named.sdk_app_id)
    await world.lane_empty(named.sdk_app_id)


async def test_a_fault_of_ours_does_not_end_the_time_of_what_was_attempted(
    world: World, receiver: Receiver, names: Names
) -> None:
    closing = (("Connection", "close"),)
    behaviours = [reply(500, headers=closing, keep_alive=False)] * 2 + [reply(headers=closing, keep_alive=False)]
    url = receiver.script("/attempted", *behaviours).replace("127.0.0.1", "customer.example")
    application = await world.application(room_url=url)
    await world.publish(room_event(application, 1))
    await receiver.wait_for(lambda: len(receiver.at("/attempted")) == 2)
    names.broken = True
    await asyncio.sleep(5)
    names.broken = False
    rows = await world.attempts_when(application.sdk_app_id, lambda rows: any(row.outcome != "failed" for row in rows))
    counted = [(row.outcome, row.attempt) for row in rows if row.error_class != "own-dns"]
    assert counted == [("failed", 1), ("failed", 2), ("delivered", 3)]
    assert {row.attempt for row in rows if row.error_class == "own-dns"} == {3}
    bodies = {request.body for request in receiver.at("/attempted")}
    assert len(bodies) == 1


async def test_an_endpoint_that_is_gone_is_disabled_until_it_is_set_anew(world: World, receiver: Receiver) -> None:
    url = receiver.script("/gone", reply(410, delay=0.3))
    application = await world.application(room_url=url, schedule="durable", media_url=receiver.url("/still-there"))
    events = [room_event(application, "one-room", f"u{number}") for number in range(200)]
    await world.publish(*events)
    letters = await letters_when(world, application.sdk_app_id, len(events))
    assert {letter["Reason"] for letter in letters} == {"disabled"}
    # Of one room, 32 were in the air when the first of them said so.
    assert len(receiver.at("/gone")) <= 32
    await world.lane_empty(application.sdk_app_id)
    [message] = told(receiver, application.sdk_app_id)
    assert message["Event"] == "endpoint disabled"

    # Any dispatcher learns of it, one that comes later too, and it concerns this URL alone.
    learned: list[EndpointKey] = []
    table = DisabledEndpoints(world.settings, on_disabled=learned.append)
    await table.start()
    await table.wait_ready()
    await table.stop()
    assert (application.sdk_app_id, url) in learned
    before = len(receiver.at("/gone"))
    media = msgspec.structs.replace(room_event(application, 3, "media"), event_group_id=2)
    await world.publish(room_event(application, 2, "later"), media)
    await receiver.wait_for(lambda: len(receiver.at("/still-there")) == 1)
    rows = await world.attempts_when(
        application.sdk_app_id,
        lambda rows: any(row.error_class == "disabled" and row.user_id == "later" for row in rows),
    )
    later = [(row.outcome, row.error_class, row.attempt) for row in rows if row.user_id == "later"]
    assert later == [("given-up", "disabled", 1)]
    assert len(receiver.at("/gone")) == before

    receiver.script("/gone", reply())
    await world.change(application.sdk_app_id, room_url=url)
    async with asyncio.timeout(30):
        number = 0
        while len(receiver.at("/gone")) == before:
            await world.publish(room_event(application, 2, f"again{(number := number + 1)}"))
            await asyncio.sleep(0.2)
    missed = Wanted(sdk_app_id=application.sdk_app_id, reasons=frozenset({"disabled"}))
    await replay(world.settings, missed, rate=1000)
    await world.attempts_when(
        application.sdk_app_id,
        lambda rows: {event.user_id for event in events} <= {row.user_id for row in rows if row.outcome == "delivered"},
    )


async def letters_when(world: World, sdk_app_id: int, count: int) -> list[dict[str, Any]]:
    """The dead letters of an application once there are so many."""
    async with asyncio.timeout(60):
        while len(letters := await world.dead_letters(sdk_app_id)) < count:
            await asyncio.sleep(0.1)
    return letters


async def test_an_application_with_a_rate_gets_no_more_and_holds_up_nobody(world: World, receiver: Receiver) -> None:
    slow = await world.application(room_url=receiver.url("/rated"), rate=20)
    other = await world.application(room_url=receiver.url("/unrated"))
    await world.publish(
        *(room_event(slow, 1 + number % 7, f"u{number}") for number in range(40)),
        *(room_event(other, 1 + number % 7, f"u{number}") for number in range(40)),
    )
    await receiver.wait_for(lambda: len(receiver.at("/unrated")) == 40)
    assert len(receiver.at("/rated")) < 40
    rows = await world.attempts_when(slow.sdk_app_id, lambda rows: len(ended(rows)) == 40)
    starts = sorted(row.started_ms for row in rows)
    # Whatever the machine does, it may be slower than that and never quicker.
    assert starts[-1] - starts[0] >= 39 * 50 - 100
