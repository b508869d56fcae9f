"""The dispatcher against a real broker and a scripted receiver."""

from __future__ import annotations

import asyncio
import re
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from aiokafka import AIOKafkaProducer
from standardwebhooks import Webhook

from schemas.callbacks import sign
from schemas.deliveries import delivery_id
from schemas.keys import event_key
from schemas.topics import EVENTS
from services.console.store import new_webhook_secret
from services.dispatcher.replay import Wanted, find, replay
from services.embedded.kafka.configuration import MESSAGE_MAX_BYTES
from services.runtime.clock import now_ms
from tests.integration.dispatching import World, event_of, room_event, settings_for
from tests.support.receiver import Receiver, hang, reply

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from schemas.applications import Application
    from tests.support.kafka import KafkaBroker

BODIES = """
{"EventGroupId":1,"EventType":101,"CallbackTs":0,"EventInfo":{"RoomId":8801,"EventTs":1700000000,"EventMsTs":1700000000090,"UserId":"teacher_1"}}
{"EventGroupId":1,"EventType":102,"CallbackTs":0,"EventInfo":{"RoomId":8801,"EventTs":1700000900,"EventMsTs":1700000900090}}
{"EventGroupId":1,"EventType":103,"CallbackTs":0,"EventInfo":{"RoomId":8801,"EventTs":1700000000,"EventMsTs":1700000000110,"UserId":"teacher_1","Role":20,"TerminalType":1,"UserType":3,"Reason":1}}
{"EventGroupId":1,"EventType":104,"CallbackTs":0,"EventInfo":{"RoomId":8801,"EventTs":1700000899,"EventMsTs":1700000899110,"UserId":"teacher_1","Role":20,"Reason":1}}
{"EventGroupId":1,"EventType":105,"CallbackTs":0,"EventInfo":{"RoomId":"demo-room","EventTs":1700000300,"EventMsTs":1700000300110,"UserId":"pupil_7","Role":20}}
{"EventGroupId":2,"EventType":201,"CallbackTs":0,"EventInfo":{"RoomId":8801,"EventTs":1700000001,"EventMsTs":1700000001110,"UserId":"teacher_1"}}
{"EventGroupId":2,"EventType":202,"CallbackTs":0,"EventInfo":{"RoomId":8801,"EventTs":1700000501,"EventMsTs":1700000501110,"UserId":"teacher_1","Reason":0}}
{"EventGroupId":2,"EventType":205,"CallbackTs":0,"EventInfo":{"RoomId":8801,"EventTs":1700000101,"EventMsTs":1700000101110,"UserId":"teacher_1"}}
{"EventGroupId":3,"EventType":301,"CallbackTs":0,"EventInfo":{"RoomId":"8801","EventTs":1700000002,"EventMsTs":1700000002090,"UserId":"rec_8801","TaskId":"task-A","Payload":{"Status":0}}}
{"EventGroupId":3,"EventType":310,"CallbackTs":0,"EventInfo":{"RoomId":"8801","EventTs":1700000990,"EventMsTs":1700000990090,"UserId":"rec_8801","TaskId":"task-A","Payload":{"Status":0,"FileList":["a.mp4"],"FileMessage":[{"FileName":"a.mp4","UserId":"teacher_1","TrackType":"audio_video","MediaId":"main","StartTimeStamp":1700000002300,"EndTimeStamp":1700000900000}]}}}
{"EventGroupId":3,"EventType":311,"CallbackTs":0,"EventInfo":{"RoomId":"8801","EventTs":1700000991,"EventMsTs":1700000991090,"UserId":"rec_8801","TaskId":"task-A","Payload":{"Status":1,"Errmsg":"storage refused","TencentVod":{"UserId":"teacher_1","TrackType":"audio_video","CacheFile":"a.mp4"}}}}
{"EventGroupId":4,"EventType":401,"CallbackTs":0,"EventInfo":{"RoomId":"demo-room","RoomType":1,"EventMsTs":1700000010090,"UserId":"relay_bot","TaskId":"task-R","Payload":{"Url":"rtmp://cdn.example/live/1","Status":2}}}
{"EventGroupId":7,"EventType":701,"CallbackMsTs":0,"EventInfo":{"EventMsTs":1700000005090,"TaskId":"task-I","Status":0}}
{"EventGroupId":8,"EventType":801,"CallbackTs":0,"EventInfo":{"EventMsTs":1700000005090,"TaskId":"task-W","Payload":{"Status":1,"EventMessage":"Success"}}}
{"EventGroupId":9,"EventType":903,"CallbackTs":0,"EventInfo":{"EventMsTs":1700000005090,"TaskId":"task-AI","RoomId":"8801","RoomIdType":0,"Payload":{"UserId":"alice","Text":"hello \u5f20\u4e09","StartTimeMs":1200,"EndTimeMs":2100,"RoundId":"r-1"}}}
{"EventGroupId":2,"EventType":203,"CallbackTs":0,"EventInfo":{"RoomId":8801,"EventTs":1700000001,"EventMsTs":1700000001120,"UserId":"teacher_1","Unheard":{"of":[1,2.5,null]}},"AlsoNew":"kept"}
""".strip().splitlines()  # noqa: E501
URL_OF_GROUP = {1: "room", 2: "media", 3: "recording", 8: "recording", 4: "relay", 7: "seven", 9: "nine"}


@pytest.fixture(scope="module")
async def world(kafka: KafkaBroker, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    settings = settings_for(kafka.bootstrap, tmp_path_factory.mktemp("dispatcher"))
    async with World(settings) as world, world.dispatcher():
        yield world


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
    assert (request.header("User-Agent") or "").startswith("Roompulse/")
    assert request.header("Sign") == sign(application.callback_key, request.body)
    [row] = await world.attempts_when(application.sdk_app_id, bool)
    assert (row.outcome, row.status, row.attempt, row.error_class) == ("delivered", 200, 1, "")
    assert (row.event_id, row.room_id, row.user_id, row.event_type) == (event.event_id, "8801", "alice", 103)
    assert (row.url, row.response) == (receiver.url("/hook?a=b%20c"), '{"code":0}')
    assert row.callback_ts == row.accepted_ms == request.json["CallbackTs"]


async def test_a_callback_with_two_keys_and_two_secrets(world: World, receiver: Receiver) -> None:
    secrets = [new_webhook_secret(), new_webhook_secret()]
    url = receiver.script("/rotated", reply(500), reply())
    sdk_app_id = world.store.create("rotated").sdk_app_id
    world.store.set_callback(sdk_app_id, key="Key1", webhook_secret=secrets[0], room_url=url)
    world.store.set_next(sdk_app_id, key="Key2", webhook_secret=secrets[1])
    application = await world.change(sdk_app_id)
    event = room_event(application, 8801)
    await world.publish(event)
    await receiver.wait_for(lambda: len(receiver.at("/rotated")) == 2)
    first, second = receiver.at("/rotated")
    for request in (first, second):
        assert request.header("Sign") == sign("Key1", request.body)
        assert request.header("Sign-Next") == sign("Key2", request.body)
        for secret in secrets:
            Webhook(secret).verify(request.body, dict(request.headers))
    assert (first.body, first.header("webhook-id")) == (second.body, second.header("webhook-id"))
    assert first.header("webhook-id") == delivery_id(application.sdk_app_id, event.event_id)


async def test_bodies_and_urls_of_all_groups(world: World, receiver: Receiver) -> None:
    application = await world.application(
        key="123654",
        room_url=receiver.url("/room"),
        media_url=receiver.url("/media"),
        recording_url=receiver.url("/recording"),
        relay_url=receiver.url("/relay"),
        group_urls={"7": receiver.url("/seven"), "9": receiver.url("/nine")},
    )
    paths = {f"/{name}" for name in URL_OF_GROUP.values()}
    await world.publish(*(event_of(application, msgspec.json.decode(body)) for body in BODIES))
    await receiver.wait_for(lambda: sum(request.target in paths for request in receiver.requests) == len(BODIES))
    received = {}
    for request in receiver.requests:
        if request.target in paths:
            assert request.target == f"/{URL_OF_GROUP[request.json['EventGroupId']]}"
            assert request.header("Sign") == sign("123654", request.body)
            sent_ms = request.json.get("CallbackTs") or request.json["CallbackMsTs"]
            assert abs(request.at_ms - sent_ms) < 60_000
            timeless = re.sub(r'"(Callback(?:Ms)?Ts)":\d+', r'"\1":0', request.body.decode())
            received[request.json["EventType"]] = timeless
    assert received == {msgspec.json.decode(body)["EventType"]: body for body in BODIES}


async def test_without_key_no_signature(world: World, receiver: Receiver) -> None:
    application = await world.application(key=None, room_url=receiver.url("/unsigned"))
    await world.publish(room_event(application, 1))
    await receiver.wait_for(lambda: bool(receiver.at("/unsigned")))
    assert "sign" not in {name.lower() for name, _ in receiver.at("/unsigned")[0].headers}


async def test_group_without_url(world: World, receiver: Receiver) -> None:
    application = await world.application(media_url=receiver.url("/only-media"))
    media = event_of(application, msgspec.json.decode(BODIES[5]))
    await world.publish(room_event(application, 8801), media)
    rows = await world.attempts_when(application.sdk_app_id, bool)
    assert [row.event_type for row in rows] == [201]


async def test_retries_with_the_same_bytes_until_it_works(world: World, receiver: Receiver) -> None:
    url = receiver.script("/recovers", reply(500), reply(503, b"no"), reply())
    application = await world.application(room_url=url)
    await world.publish(room_event(application, "lobby"))
    rows = await world.attempts_when(application.sdk_app_id, lambda rows: len(rows) == 3)
    assert [(row.outcome, row.status, row.attempt, row.response) for row in rows] == [
        ("failed", 500, 1, '{"code":0}'),
        ("failed", 503, 2, "no"),
        ("delivered", 200, 3, '{"code":0}'),
    ]
    requests = receiver.at("/recovers")
    assert len({request.body for request in requests}) == 1
    assert len({request.header("Sign") for request in requests}) == 1
    assert len({row.request_id for row in rows}) == 3
    assert not await world.dead_letters(application.sdk_app_id)
    await world.lane_empty(application.sdk_app_id)


async def test_given_up_after_the_window(world: World, receiver: Receiver) -> None:
    url = receiver.script("/broken", reply(500))
    application = await world.application(room_url=url)
    event = room_event(application, "lobby")
    await world.publish(event)
    rows = await world.attempts_when(
        application.sdk_app_id, lambda rows: any(row.outcome == "given-up" for row in rows)
    )
    outcomes = [row.outcome for row in rows]
    assert outcomes == ["failed"] * (len(rows) - 1) + ["given-up"]
    # Interval 0.5 s, window 2.2 s: at 0, 0, 0.5, 1, 1.5 and 2 s; a slow machine may miss some at the end.
    assert 2 <= len(rows) <= 6
    gaps = [later.started_ms - row.started_ms - row.duration_ms for row, later in pairwise(rows)]
    assert all(gap >= 499 for gap in gaps[1:])
    [letter] = await world.dead_letters(application.sdk_app_id)
    assert letter["Reason"] == "status"
    assert letter["Url"] == url
    assert letter["Callback"]["Event"]["EventId"] == event.event_id
    assert letter["Callback"]["Attempts"] == len(rows)
    await world.lane_empty(application.sdk_app_id)


async def test_given_up_callbacks_are_replayed(world: World, receiver: Receiver) -> None:
    paths = [f"/later/{number}" for number in range(3)]
    application = await world.application(
        room_url=receiver.script(paths[0], reply(500)),
        media_url=receiver.script(paths[1], reply(500)),
        recording_url=receiver.script(paths[2], reply(500)),
    )
    items = [line for line in map(msgspec.json.decode, BODIES) if line["EventType"] in {103, 203, 301}]
    events = [event_of(application, item) for item in items]
    await world.publish(*events)
    await world.attempts_when(
        application.sdk_app_id, lambda rows: sum(row.outcome == "given-up" for row in rows) == len(events)
    )
    everything = Wanted(sdk_app_id=application.sdk_app_id)
    letters, total = await find(world.settings, everything, limit=100)
    assert total == len(letters) == len(events)
    ids = {delivery_id(event.sdk_app_id, event.event_id) for event in events}
    assert {letter.callback.delivery_id for letter in letters} == ids
    moment = letters[0].given_up_ms
    assert await find(world.settings, everything, limit=2) == (letters[:2], len(events))
    kinds: list[tuple[dict[str, Any], int]] = [
        ({"groups": frozenset({3})}, 301),
        ({"event_types": frozenset({203})}, 203),
        ({"url": receiver.url(paths[0])}, 103),
    ]
    for narrow, event_type in kinds:
        found = await find(world.settings, msgspec.structs.replace(everything, **narrow), limit=100)
        assert [letter.callback.event.event_type for letter in found.letters] == [event_type]
    for narrow in (
        {"sdk_app_id": application.sdk_app_id + 1},
        {"reasons": frozenset({"timeout"})},
        {"until_ms": min(letter.given_up_ms for letter in letters)},
        {"since_ms": now_ms()},
        {"delivery_ids": frozenset({"0" * 32})},
        {"rooms": frozenset({"880"})},
        {"url": receiver.url("/later/9")},
    ):
        assert await find(world.settings, msgspec.structs.replace(everything, **narrow), limit=100) == ([], 0)
    since = await find(world.settings, msgspec.structs.replace(everything, since_ms=moment), limit=100)
    assert since.letters == letters
    rooms = await find(world.settings, msgspec.structs.replace(everything, rooms=frozenset({"8801"})), limit=100)
    assert rooms.letters == letters

    for path in paths:
        receiver.script(path, reply())
    before = {path: len(receiver.at(path)) for path in paths}
    assert await replay(world.settings, everything, rate=100) == len(events)
    rows = await world.attempts_when(
        application.sdk_app_id, lambda rows: sum(row.outcome == "delivered" for row in rows) == len(events)
    )
    assert {row.delivery_id for row in rows if row.outcome == "delivered"} == ids
    for path in paths:
        *_, last_failed, replayed = receiver.at(path)
        assert len(receiver.at(path)) == before[path] + 1
        assert replayed.json["EventInfo"] == last_failed.json["EventInfo"]
        assert replayed.json["CallbackTs"] > last_failed.json["CallbackTs"]
        assert replayed.header("Sign") == sign(application.callback_key, replayed.body)


async def test_an_endpoint_that_hangs_holds_up_nobody(world: World, receiver: Receiver) -> None:
    hanging = await world.application(room_url=receiver.script("/hangs", hang()))
    healthy = await world.application(room_url=receiver.url("/healthy"))
    many = [room_event(hanging, 1 + number % 50, f"u{number}") for number in range(1500)]
    await world.publish(*many)
    await receiver.wait_for(lambda: len(receiver.at("/hangs")) >= 50)
    # Same rooms, so the same partitions as the events that hang.
    await world.publish(*(room_event(healthy, 1 + number) for number in range(50)))
    await receiver.wait_for(lambda: len(receiver.at("/healthy")) == 50)
    attempted = {request.body for request in receiver.at("/hangs")}
    assert len(attempted) < len(many), "the healthy ones should not have had to wait for the others"
    # Repaired, it gets what has not been given up.
    receiver.script("/hangs", reply())
    rows = await world.attempts_when(
        hanging.sdk_app_id,
        lambda rows: len({row.delivery_id for row in rows if row.outcome != "failed"}) == len(many),
    )
    delivered = {row.delivery_id for row in rows if row.outcome == "delivered"}
    given_up = {row.delivery_id for row in rows if row.outcome == "given-up"}
    assert not delivered & given_up
    assert len(await world.dead_letters(hanging.sdk_app_id)) == len(given_up)


async def test_first_attempts_of_a_room_start_in_order(world: World, receiver: Receiver) -> None:
    url = receiver.script("/ordered", reply(500), *[reply(delay=0.05)] * 20, reply(delay=0.005))
    application = await world.application(room_url=url)
    events = [room_event(application, "one-room", f"u{number}") for number in range(200)]
    await world.publish(*events)
    rows = await world.attempts_when(
        application.sdk_app_id, lambda rows: sum(row.outcome == "delivered" for row in rows) == len(events)
    )
    firsts = sorted((row for row in rows if row.attempt == 1), key=lambda row: row.started_ms)
    users = [int(row.user_id[1:]) for row in firsts]
    # Start times have whole milliseconds; what started in the same one is in order by its number.
    assert [row.started_ms for row in sorted(firsts, key=lambda row: int(row.user_id[1:]))] == [
        row.started_ms for row in firsts
    ]
    assert sorted(users) == list(range(len(events)))


async def test_the_same_event_twice_is_one_callback(world: World, receiver: Receiver) -> None:
    application = await world.application(room_url=receiver.url("/twice"))
    event = room_event(application, 7, event_id="my-own-id")
    await world.publish(event, event)
    await world.publish(event)
    last = room_event(application, 7, "last")
    await world.publish(last)
    await receiver.wait_for(lambda: any(r.json["EventInfo"]["UserId"] == "last" for r in receiver.at("/twice")))
    assert [request.json["EventInfo"]["UserId"] for request in receiver.at("/twice")] == ["alice", "last"]


async def test_an_event_may_be_quicker_than_its_application(world: World, receiver: Receiver) -> None:
    sdk_app_id = world.store.create("latecomer").sdk_app_id
    application = world.store.get(sdk_app_id)
    events = [room_event(application, 3, f"u{number}") for number in range(5)]
    await world.publish(*events)
    await asyncio.sleep(0.5)
    await world.change(sdk_app_id, room_url=receiver.url("/latecomer"))
    await receiver.wait_for(lambda: len(receiver.at("/latecomer")) == 5)


async def test_unknown_applications_and_rubbish_hold_up_nothing(world: World, receiver: Receiver) -> None:
    application = await world.application(room_url=receiver.url("/after-rubbish"))
    stranger = msgspec.structs.replace(room_event(application, 3), sdk_app_id=77)
    sound = msgspec.json.encode(room_event(application, 3, "poison"))
    poison = [
        sound.replace(b'"poison"', b'"\xff\xfe"'),
        sound.replace(b'"EventInfo":{', b'"EventInfo":' + b"[" * 50_000 + b"]" * 50_000 + b',"Info":{'),
        sound[:-2],
        b"\x00" * 10,
    ]
    async with AIOKafkaProducer(bootstrap_servers=world.settings.kafka_bootstrap) as producer:
        for partition in range(world.settings.kafka_partitions):
            for value in (b"rubbish", b"{}", None, *poison):
                await producer.send_and_wait(EVENTS.name, key=b"x", value=value, partition=partition)
    await world.publish(stranger, *(room_event(application, number) for number in range(1, 20)))
    await receiver.wait_for(lambda: len(receiver.at("/after-rubbish")) == 19)
    assert not await world.attempts(77)


async def test_an_event_too_large_for_the_retry_lane(world: World, receiver: Receiver) -> None:
    url = receiver.script("/large", reply(500), reply())
    application = await world.application(room_url=url)
    largest = MESSAGE_MAX_BYTES - 256
    event = room_event(application, 3, "large", Blob="")
    event = room_event(application, 3, "large", Blob="x" * (largest - len(msgspec.json.encode(event))))
    async with AIOKafkaProducer(
        bootstrap_servers=world.settings.kafka_bootstrap, max_request_size=2 * MESSAGE_MAX_BYTES
    ) as producer:
        key = event_key(event.sdk_app_id, event.room_id, None)
        await producer.send_and_wait(EVENTS.name, key=key, value=msgspec.json.encode(event))
    await world.publish(room_event(application, 3, "after"))
    rows = await world.attempts_when(
        application.sdk_app_id, lambda rows: sum(row.outcome == "delivered" for row in rows) == 2
    )
    assert [(row.user_id, row.outcome) for row in rows if row.user_id == "large"] == [
        ("large", "failed"),
        ("large", "delivered"),
    ]
    assert not await world.lane(application.sdk_app_id)


async def test_a_changed_url_is_used_at_once(world: World, receiver: Receiver) -> None:
    application = await world.application(room_url=receiver.script("/old", reply(500)))
    await world.publish(room_event(application, 3, "before"))
    await receiver.wait_for(lambda: len(receiver.at("/old")) >= 2)
    await world.change(application.sdk_app_id, room_url=receiver.url("/new"))
    # What waits for another attempt goes there too.
    await receiver.wait_for(lambda: len(receiver.at("/new")) == 1)
    await world.publish(room_event(application, 3, "after"))
    await receiver.wait_for(lambda: len(receiver.at("/new")) == 2)
    assert [request.json["EventInfo"]["UserId"] for request in receiver.at("/new")] == ["before", "after"]
    seen = len(receiver.at("/old"))
    await world.publish(room_event(application, 3, "later"))
    await receiver.wait_for(lambda: len(receiver.at("/new")) == 3)
    assert len(receiver.at("/old")) == seen


async def test_a_url_that_is_removed_and_set_again(world: World, receiver: Receiver) -> None:
    url = receiver.script("/removed", reply(500))
    application = await world.application(room_url=url)
    await world.publish(room_event(application, 3, "before"))
    await receiver.wait_for(lambda: len(receiver.at("/removed")) >= 2)
    await world.change(application.sdk_app_id, room_url="")
    rows = await world.attempts_when(
        application.sdk_app_id, lambda rows: any(row.outcome == "given-up" for row in rows)
    )
    assert (rows[-1].error_class, rows[-1].status, rows[-1].attempt) == ("no-url", 0, len(rows))
    [letter] = await world.dead_letters(application.sdk_app_id)
    assert letter["Reason"] == "no-url"
    await world.publish(room_event(application, 3, "without"))
    receiver.script("/removed", reply())
    await asyncio.sleep(0.5)
    await world.change(application.sdk_app_id, room_url=url)
    await publish_until(world, application, lambda: receiver.at("/removed")[-1].json["EventInfo"]["UserId"] == "again")
    users = [request.json["EventInfo"]["UserId"] for request in receiver.at("/removed")]
    assert set(users) == {"before", "again"}
    assert users.count("before") == len(rows) - 1


async def test_a_changed_key_signs_at_once(world: World, receiver: Receiver) -> None:
    application = await world.application(room_url=receiver.url("/key"), key="First1")

    def keys() -> list[str]:
        return [
            key
            for request in receiver.at("/key")
            for key in ("First1", "Second2")
            if request.header("Sign") == sign(key, request.body)
        ]

    await publish_until(world, application, lambda: bool(keys()))
    await world.change(application.sdk_app_id, key="Second2")
    await publish_until(world, application, lambda: "Second2" in keys())
    assert len(keys()) == len(receiver.at("/key"))
    assert keys() == sorted(keys())


async def publish_until(world: World, application: Application, condition: Callable[[], bool]) -> None:
    """Let a user enter again and again until a change of the application shows."""
    async with asyncio.timeout(30):
        while not condition():
            await world.publish(room_event(application, 3, "again"))
            await asyncio.sleep(0.1)


async def test_old_events_get_a_fresh_time_and_keep_it(world: World, receiver: Receiver) -> None:
    url = receiver.script("/old-event", reply(500), reply(500), reply())
    application = await world.application(room_url=url)
    before_ms = now_ms()
    await world.publish(room_event(application, 3), timestamp_ms=before_ms - 300_000)
    rows = await world.attempts_when(application.sdk_app_id, lambda rows: len(rows) == 3)
    assert {row.accepted_ms for row in rows} == {before_ms - 300_000}
    assert rows[0].callback_ts >= before_ms
    assert len({request.body for request in receiver.at("/old-event")}) == 1
