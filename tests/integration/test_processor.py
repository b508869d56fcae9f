"""The pipeline from ingest's HTTP to the tables, against the oracle and the simulator's own plan."""

from __future__ import annotations

import asyncio
import re
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from aiokafka import AIOKafkaProducer

from schemas.deliveries import DeliveryAttempt
from schemas.events import read_event
from schemas.reports import AcceptedReport, LocalStream, RemoteStream, ReportBatch, Sample
from schemas.topics import DELIVERIES, EVENTS, QUALITY, TASKS, TOUCHED
from services.console.publisher import publish_applications
from services.console.store import ApplicationStore
from services.runtime.clickhouse import connect
from services.runtime.clock import now_ms
from services.simulator.options import SimulationOptions
from services.simulator.runner import simulate
from services.simulator.traffic.roomevents import CREATED_BEFORE_ENTRY_MS
from services.simulator.traffic.rooms import calls_of, room_of
from services.simulator.traffic.scenario import Scenario
from services.simulator.traffic.stream import traffic
from services.simulator.wire import Wire
from tests.oracle.quality import add_stays, by_application, by_room
from tests.support.lag import drained
from tests.support.simulation import unpacked

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from clickhouse_connect.driver.asyncclient import AsyncClient

    from schemas.applications import Application
    from services.runtime.settings import Settings
    from tests.support.stack import Stack

PROCESSED = [topic.name for topic in (QUALITY, EVENTS, TASKS, DELIVERIES, TOUCHED)]
BUCKET_MS = 10_000


class Pipeline:
    """Ingest and processor at work."""

    def __init__(self, stack: Stack, client: AsyncClient, producer: AIOKafkaProducer, application: Application) -> None:
        self.stack = stack
        self.client = client
        self.application = application
        self._producer = producer
        self._offset = 0

    async def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """The rows of a query, times as Unix milliseconds."""
        return [tuple(_plain(value) for value in row) for row in (await self.client.query(sql)).result_rows]

    async def produce(self, topic: str, *values: bytes) -> None:
        """Records in one partition, for what ingest would never let through."""
        for value in values:
            await self._producer.send_and_wait(topic, value, partition=0)

    async def drained(self) -> None:
        """Return when the processor has committed everything, and what followed from it."""
        await drained(self.stack.settings.kafka_bootstrap, "processor", PROCESSED)


@pytest.fixture(scope="module")
async def pipeline(stack: Stack, settings: Settings) -> AsyncIterator[Pipeline]:
    store = ApplicationStore(settings)
    application = store.create("pipeline")
    store.close()
    await publish_applications(settings, [application])
    await asyncio.to_thread(stack.start, "ingest", "processor")
    client = await connect(settings)
    producer = AIOKafkaProducer(bootstrap_servers=settings.kafka_bootstrap)
    await producer.start()
    yield Pipeline(stack, client, producer, application)
    await producer.stop()
    await client.close()


@pytest.fixture(scope="module")
async def scenario(pipeline: Pipeline) -> Scenario:
    """A simulation with every kind of disorder, sent and processed."""
    scenario = Scenario(
        start_ms=(now_ms() - 3_600_000) // 10_000 * 10_000 + 1234,
        duration_ms=240_000,
        rooms=10,
        seed=3,
        duplicates=0.1,
        reorder=0.1,
        late=0.1,
    )
    options = SimulationOptions(
        sdk_app_id=pipeline.application.sdk_app_id,
        secret_key=pipeline.application.secret_key,
        scenario=scenario,
        speed=None,
    )
    summary = await simulate(pipeline.stack.settings, options)
    assert summary.rejected == summary.refused == 0
    await pipeline.drained()
    return scenario


def posted_reports(scenario: Scenario, application: Application) -> list[dict[str, Any]]:
    """Every body of a report, as JSON, in the order of sending."""
    wire = Wire(application.sdk_app_id, application.secret_key)
    requests = [wire.request(item) for _, item in traffic(scenario)]
    return [msgspec.json.decode(unpacked(request.body)) for request in requests if request.path == "/v1/reports"]


def planned_stays(scenario: Scenario, app: int) -> list[tuple[tuple[int, str, int], str, int, int]]:
    """(room, user, entry, exit) of every stay that the simulator planned."""
    return [
        ((app, str(room.room_id), int(isinstance(room.room_id, str))), stay.user_id, stay.join_ms, stay.removed_ms)
        for room in map(room_of, range(scenario.rooms))
        for call in calls_of(scenario, room)
        for stay in call.stays
    ]


async def test_rollups_equal_the_oracle(pipeline: Pipeline, scenario: Scenario) -> None:
    app = pipeline.application.sdk_app_id
    rooms = by_room(posted_reports(scenario, pipeline.application))
    reporting = {key: len(numbers.online) for key, numbers in rooms.items()}
    add_stays(rooms, planned_stays(scenario, app))
    found = await pipeline.rows(
        "SELECT RoomId, RoomIdType, BucketTime, OnlineUsers, ReportingUsers, VideoStutterMs, VideoPlayMs, "
        "AudioStutterMs, AudioPlayMs "
        f"FROM room_10s WHERE SdkAppId = {app}"
    )
    assert {row[:3]: row[3:] for row in found} == {
        (text, kind, bucket): (
            len(numbers.online),
            reporting.get(((app, text, kind), bucket), 0),
            numbers.video_stutter_ms,
            numbers.video_play_ms,
            numbers.audio_stutter_ms,
            numbers.audio_play_ms,
        )
        for ((_, text, kind), bucket), numbers in rooms.items()
    }
    found = await pipeline.rows(
        "SELECT BucketTime, OnlineUsers, OnlineRooms, VideoStutterMs, VideoPlayMs, AudioStutterMs, AudioPlayMs "
        f"FROM app_10s FINAL WHERE SdkAppId = {app} AND (OnlineUsers > 0 OR VideoStutterMs + AudioStutterMs > 0)"
    )
    assert {row[0]: row[1:] for row in found} == {
        bucket: (
            len(numbers.online),
            len(numbers.rooms),
            numbers.video_stutter_ms,
            numbers.video_play_ms,
            numbers.audio_stutter_ms,
            numbers.audio_play_ms,
        )
        for (_, bucket), numbers in by_application(rooms).items()
    }
    assert sum(row[3] for row in found) > 0
    assert sum(row[5] for row in found) > 0
    assert {key: len(numbers.online) for key, numbers in rooms.items()} != reporting


async def test_every_fact_is_there_once(pipeline: Pipeline, scenario: Scenario) -> None:
    app = pipeline.application.sdk_app_id
    reports = posted_reports(scenario, pipeline.application)
    samples = {
        (str(report["RoomId"]), isinstance(report["RoomId"], str), report["SessionId"], sample["StartMs"]): sample
        for report in reports
        for sample in report.get("Samples", [])
    }
    found = await pipeline.rows(
        f"SELECT RoomId, RoomIdType, SessionId, StartTime, Rtt, DurMs FROM samples FINAL WHERE SdkAppId = {app}"
    )
    assert sorted(found, key=repr) == sorted(
        ((*key, sample.get("Rtt"), sample["DurMs"]) for key, sample in samples.items()), key=repr
    )
    streams = sum(len(sample.get("Local", [])) + len(sample.get("Remote", [])) for sample in samples.values())
    assert await pipeline.rows(f"SELECT count() FROM streams FINAL WHERE SdkAppId = {app}") == [(streams,)]
    clients = {(report["SessionId"], report["Seq"]) for report in reports if "Client" in report}
    assert await pipeline.rows(f"SELECT count() FROM clients FINAL WHERE SdkAppId = {app}") == [(len(clients),)]
    episodes: dict[tuple[Any, ...], int] = defaultdict(int)
    for key, sample in samples.items():
        for remote in sample.get("Remote", []):
            for start, length in remote.get("Stutters", []):
                episode = (*key[:3], remote["UserId"], remote["Type"], start)
                episodes[episode] = max(episodes[episode], length)
    found = await pipeline.rows(
        "SELECT RoomId, RoomIdType, SessionId, PeerId, toString(Stream), EpisodeTime, EpisodeMs FROM episodes "
        f"WHERE SdkAppId = {app}"
    )
    assert {row[:6]: row[6] for row in found} == episodes


async def test_calls_and_stays_equal_the_plan(pipeline: Pipeline, scenario: Scenario) -> None:
    app = pipeline.application.sdk_app_id
    planned_calls, planned_stays = set(), set()
    for index in range(scenario.rooms):
        room = room_of(index)
        name = (str(room.room_id), int(isinstance(room.room_id, str)))
        for call in calls_of(scenario, room):
            start = call.stays[0].join_ms - CREATED_BEFORE_ENTRY_MS
            joined = len({stay.user_id for stay in call.stays})
            planned_calls.add((*name, start, call.stays[0].user_id, room.scene, call.last_removal_ms, joined))
            planned_stays |= {
                (*name, start, stay.user_id, stay.join_ms, stay.removed_ms, stay.exit_reason) for stay in call.stays
            }
    calls = await pipeline.rows(
        "SELECT RoomId, RoomIdType, StartTime, CreatorId, RoomScene, LastExitTime, JoinedUsers "
        f"FROM calls WHERE SdkAppId = {app}"
    )
    stays = await pipeline.rows(
        "SELECT RoomId, RoomIdType, CallTime, UserId, EnterTime, ExitTime, ExitReason "
        f"FROM stays WHERE SdkAppId = {app}"
    )
    assert sorted(calls) == sorted(planned_calls)
    assert sorted(stays) == sorted(planned_stays)
    assert len({row[:3] for row in calls}) > scenario.rooms


async def test_the_questions_of_the_page_have_answers(pipeline: Pipeline, scenario: Scenario) -> None:
    page = (Path(__file__).parents[2] / "docs" / "processor.md").read_text("utf-8")
    queries = [dedent(block) for block in re.findall(r"(?:^    .+\n)+", page, re.MULTILINE) if "SELECT" in block]
    assert len(queries) == 3
    answers = [await pipeline.rows(query) for query in queries]
    assert [bool(rows) for rows in answers] == [True, True, True]


async def test_exceptions_make_abnormal_users(pipeline: Pipeline) -> None:
    """One user for each rule just above it and one just below; samples of 2 s from the start of a bucket on."""
    t = (now_ms() - 1_800_000) // 60_000 * 60_000

    def samples(*measured: Any, of: Any) -> list[Sample]:
        return [of(t + 2000 * number, **fields) for number, fields in enumerate(measured)]

    def device(start: int, **fields: Any) -> Sample:
        return Sample(start_ms=start, dur_ms=2000, **fields)

    def sent(start: int, **fields: Any) -> Sample:
        return Sample(start_ms=start, dur_ms=2000, local=[LocalStream(**fields)])

    def received(start: int, **fields: Any) -> Sample:
        return Sample(start_ms=start, dur_ms=2000, remote=[RemoteStream(user_id="p", **fields)])

    silent: dict[str, Any] = {"type": "audio", "volume": 0.0, "muted": False}
    loud: dict[str, Any] = {**silent, "volume": 50.0}
    slow: dict[str, Any] = {"type": "big", "cap_fps": 9.0}
    fluent: dict[str, Any] = {"type": "big", "cap_fps": 15.0}
    frozen: dict[str, Any] = {"type": "big", "render_fps": 4.0, "play_ms": 2000}
    moving: dict[str, Any] = {"type": "big", "render_fps": 15.0}
    users: dict[str, tuple[list[Sample], set[int]]] = {
        # Ten samples each: buckets 0 and 1. Which of them are abnormal:
        "cpu": (samples(*[{"sys_cpu": 85.1}] * 10, of=device), {0, 1}),
        "cpu-fine": (samples(*[{"sys_cpu": 85.0}] * 10, of=device), set()),
        "cpu-single": (samples({"sys_cpu": 99.0}, *[{"sys_cpu": 20.0}] * 9, of=device), set()),
        "cpu-across": (
            samples(*[{"sys_cpu": 20.0}] * 4, *[{"sys_cpu": 99.0}] * 2, *[{"sys_cpu": 20.0}] * 4, of=device),
            {1},
        ),
        "task": (samples(*[{"sdk_task_ms": 61}] * 10, of=device), {0, 1}),
        "task-known-cpu": (samples(*[{"sdk_task_ms": 61, "sys_cpu": 20.0}] * 10, of=device), set()),
        "fps": (samples(*[slow] * 10, of=sent), {0, 1}),
        "fps-muted": (samples(*[{**slow, "muted": True}] * 10, of=sent), set()),
        "fps-screen": (samples(*[{"type": "sub", "cap_fps": 5.0}] * 10, of=sent), set()),
        "fps-screen-slow": (samples(*[{"type": "sub", "cap_fps": 4.9}] * 10, of=sent), {0, 1}),
        "fps-send": (samples(*[{**fluent, "send_fps": 3.0}] * 10, of=sent), {0, 1}),
        "fps-swing": (samples(*[fluent] * 5, *[{"type": "big", "cap_fps": 20.5}] * 5, of=sent), {1}),
        "fps-steady": (samples(*[fluent] * 5, *[{"type": "big", "cap_fps": 20.0}] * 5, of=sent), set()),
        "fps-unknown": (samples(*[{"type": "big", "bitrate": 1}] * 10, of=sent), set()),
        "render": (samples(*[frozen] * 10, of=received), {0, 1}),
        "render-not-playing": (samples(*[{**frozen, "play_ms": 0}] * 10, of=received), set()),
        "render-fine": (samples(*[moving] * 10, of=received), set()),
        # The first good sample does not end it yet.
        "silence": (samples(*[silent] * 5, *[loud] * 5, of=sent), {0, 1}),
        "silence-short": (samples(*[silent] * 4, *[loud] * 6, of=sent), set()),
        "silence-across": (samples(*[loud] * 2, *[silent] * 5, *[loud] * 3, of=sent), {1}),
        "silence-muted": (samples(*[{**silent, "muted": True}] * 10, of=sent), set()),
        "silence-playing": (samples(*[silent] * 10, of=received), {0, 1}),
    }
    for number, (user, (measured, _)) in enumerate(users.items()):
        # A record each, the latest samples first: what comes late must change what was computed.
        for half in (measured[5:], measured[:5]):
            report = AcceptedReport(
                sdk_app_id=9,
                user_id=user,
                room_id=number // 2 + 1,
                session_id="s",
                seq=1,
                sent_ms=t,
                arrival_ms=t,
                samples=half,
            )
            await pipeline.produce(QUALITY.name, msgspec.json.encode(ReportBatch([report])))
    await pipeline.drained()
    found = await pipeline.rows(
        "SELECT BucketTime, RoomId, AbnormalUsers FROM room_10s WHERE SdkAppId = 9 AND AbnormalUsers > 0"
    )
    expected: dict[tuple[int, str], int] = defaultdict(int)
    for number, (_, buckets) in enumerate(users.values()):
        for bucket in buckets:
            expected[t + bucket * BUCKET_MS, str(number // 2 + 1)] += 1
    assert {row[:2]: row[2] for row in found} == expected
    totals = await pipeline.rows("SELECT AbnormalUsers FROM app_10s FINAL WHERE SdkAppId = 9 ORDER BY BucketTime")
    assert totals == [
        (sum(0 in abnormal for _, abnormal in users.values()),),
        (sum(1 in abnormal for _, abnormal in users.values()),),
    ]


async def test_a_user_in_two_rooms_is_online_twice_and_abnormal_once(pipeline: Pipeline) -> None:
    t = (now_ms() - 1_800_000) // 60_000 * 60_000
    reports = [
        AcceptedReport(
            sdk_app_id=10,
            user_id="u",
            room_id=room,
            session_id="s",
            seq=1,
            sent_ms=t,
            arrival_ms=t,
            samples=[Sample(start_ms=t + 2000 * number, dur_ms=2000, sys_cpu=99) for number in range(5)],
        )
        for room in (1, "1")
    ]
    await pipeline.produce(QUALITY.name, msgspec.json.encode(ReportBatch(reports)))
    await pipeline.drained()
    found = await pipeline.rows("SELECT OnlineUsers, OnlineRooms, AbnormalUsers FROM app_10s FINAL WHERE SdkAppId = 10")
    assert found == [(2, 2, 1)]


def event(app: int, event_type: int, at_ms: int, room: int | str = 5, **info: Any) -> bytes:
    """A record of topic `events` as ingest makes it."""
    own: dict[str, Any] = {name: info.pop(name) for name in ("EventId", "RoomIdType") if name in info}
    body = {
        "EventGroupId": event_type // 100,
        "EventType": event_type,
        "EventInfo": {"RoomId": room, "EventMsTs": at_ms, **info},
        **own,
    }
    return msgspec.json.encode(read_event(app, msgspec.json.encode(body), at_ms))


async def calls(pipeline: Pipeline, app: int) -> list[tuple[Any, ...]]:
    await pipeline.drained()
    return await pipeline.rows(
        f"SELECT RoomId, RoomIdType, StartTime, CloseTime, JoinedUsers FROM calls WHERE SdkAppId = {app} ORDER BY ALL"
    )


async def test_a_late_event_joins_what_was_two_calls(pipeline: Pipeline) -> None:
    t = now_ms() - 1_800_000
    first = [event(11, 103, t, UserId="a"), event(11, 104, t + 10_000, UserId="a")]
    second = [event(11, 103, t + 20_000, UserId="b"), event(11, 104, t + 30_000, UserId="b")]
    await pipeline.produce(EVENTS.name, *second)
    assert await calls(pipeline, 11) == [("5", 0, t + 20_000, t + 30_000, 1)]
    await pipeline.produce(EVENTS.name, *first)
    assert await calls(pipeline, 11) == [
        ("5", 0, t, t + 10_000, 1),
        ("5", 0, t + 20_000, t + 30_000, 1),
    ]
    await pipeline.produce(EVENTS.name, event(11, 103, t + 5000, UserId="c"), event(11, 104, t + 25_000, UserId="c"))
    assert await calls(pipeline, 11) == [("5", 0, t, t + 30_000, 3)]
    stays = await pipeline.rows("SELECT UserId, CallTime FROM stays WHERE SdkAppId = 11 ORDER BY UserId")
    assert stays == [("a", t), ("b", t), ("c", t)]


async def test_a_dismissal_that_names_no_type_finds_its_room_whenever_it_comes(pipeline: Pipeline) -> None:
    t = now_ms() - 1_800_000
    untold = event(12, 102, t + 50_000, room="77")
    entries = [event(12, 103, t, room=77, UserId="a"), event(12, 103, t + 1, room=77, UserId="b")]
    await pipeline.produce(EVENTS.name, untold)
    assert await calls(pipeline, 12) == []
    await pipeline.produce(EVENTS.name, *entries)
    assert await calls(pipeline, 12) == [("77", 0, t, t + 50_000, 2)]
    # A string room has no 102 of its own then; with a type it ends its own room alone.
    await pipeline.produce(EVENTS.name, event(12, 103, t + 2, room="77", RoomIdType=1, UserId="c"))
    await pipeline.produce(EVENTS.name, event(12, 102, t + 40_000, room="77", RoomIdType=1))
    assert (await calls(pipeline, 12))[1] == ("77", 1, t + 2, t + 40_000, 1)


async def test_of_one_event_that_came_twice_the_first_counts(pipeline: Pipeline) -> None:
    t = now_ms() - 1_800_000
    await pipeline.produce(
        EVENTS.name,
        event(13, 103, t, UserId="first", EventId="e-1"),
        event(13, 103, t + 5000, UserId="second", EventId="e-1"),
    )
    assert await calls(pipeline, 13) == [("5", 0, t, None, 1)]
    assert await pipeline.rows("SELECT UserId FROM events FINAL WHERE SdkAppId = 13") == [("first",)]


async def test_records_that_cannot_be_read_hold_nothing_up(pipeline: Pipeline) -> None:
    t = now_ms() - 1_800_000
    attempt = DeliveryAttempt(
        delivery_id="d",
        attempt=1,
        request_id="r",
        sdk_app_id=14,
        event_id="e",
        event_group_id=1,
        event_type=103,
        event_ms_ts=t,
        accepted_ms=t,
        url="http://customer.example/",
        callback_ts=t,
        started_ms=t,
        duration_ms=7,
        status=200,
        outcome="delivered",
    )
    wrong = (b"", b"{", b"[]", b'{"Reports": 1}', b"\xff", b'{"SdkAppId": -1}')
    for topic in PROCESSED:
        await pipeline.produce(topic, *wrong)
    unfit = {"SdkAppId": 14, "EventId": "x", "ArrivalMs": t, "EventGroupId": 999, "EventType": 103, "EventMsTs": t}
    await pipeline.produce(EVENTS.name, msgspec.json.encode({**unfit, "EventInfo": {}}))
    await pipeline.produce(DELIVERIES.name, msgspec.json.encode(attempt))
    await pipeline.produce(EVENTS.name, event(14, 103, t, UserId="a"))
    assert await calls(pipeline, 14) == [("5", 0, t, None, 1)]
    assert await pipeline.rows("SELECT count() FROM events FINAL WHERE SdkAppId = 14") == [(1,)]
    found = await pipeline.rows("SELECT DeliveryId, StartedTime, Status FROM deliveries FINAL WHERE SdkAppId = 14")
    assert found == [("d", t, 200)]


def _plain(value: Any) -> Any:
    return round(value.replace(tzinfo=UTC).timestamp() * 1000) if isinstance(value, datetime) else value
