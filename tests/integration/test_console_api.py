from __future__ import annotations

import asyncio
import contextlib
import gzip
import socket
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import aiohttp
import orjson
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from services.console import api
from services.console.metrics import VIEWERS
from services.console.monitor import Monitor
from services.console.service import build_app, run
from services.console.store import ApplicationStore
from services.runtime.applications import ApplicationTable
from services.runtime.clickhouse import migrate
from services.runtime.settings import Settings
from services.runtime.topics import ensure_topics
from tests.support.clickhouse import ClickHouseServer, free_port
from tests.support.rollups import Rollups

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from schemas.applications import Application
    from tests.support.kafka import KafkaBroker

NOW = 1_785_000_005_000
OPEN = 1_785_000_000_000
"""The bucket that NOW falls into."""
SETTLED = OPEN - 20_000
"""The newest bucket that ended 15 s before NOW."""
WAIT_S = 60.0

Client = TestClient[web.Request, web.Application]


@pytest.fixture(scope="module")
async def settings(clickhouse: ClickHouseServer, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    settings = Settings(
        data=tmp_path_factory.mktemp("console"),
        clickhouse_url=clickhouse.url,
        clickhouse_database="console_api",
        console_port=free_port(),
    )
    await migrate(settings)
    return settings


@pytest.fixture(scope="module")
def store(settings: Settings) -> ApplicationStore:
    return ApplicationStore(settings)


@pytest.fixture
def application(store: ApplicationStore) -> Application:
    """A fresh application, so that no test sees another's rows."""
    return store.create("one")


@pytest.fixture
def rollups(application: Application, clickhouse: ClickHouseServer, settings: Settings) -> Rollups:
    return Rollups(clickhouse, settings.clickhouse_database, application.sdk_app_id)


@pytest.fixture
async def client(settings: Settings, store: ApplicationStore, tmp_path: Path) -> AsyncIterator[Client]:
    """A console at the time NOW, without built pages."""
    monitor = Monitor(settings)
    app = build_app(settings, store, monitor, clock=lambda: NOW, poll_s=0.1, dist=tmp_path)
    async with TestClient(TestServer(app)) as client:
        yield client
    await monitor.close()


async def get(client: Client, path: str) -> Any:
    async with client.get(path) as response:
        assert response.status == 200, await response.text()
        return orjson.loads(await response.read())


async def test_applications_come_without_secrets(
    client: Client, application: Application, store: ApplicationStore
) -> None:
    store.set_callback(application.sdk_app_id, key="Key0Callback", room_url="https://customer.example/room")
    async with client.get("/api/applications") as response:
        text = await response.text()
    assert application.secret_key not in text
    assert "Key0Callback" not in text
    (found,) = [one for one in orjson.loads(text)["Applications"] if one["SdkAppId"] == application.sdk_app_id]
    assert found == {
        "SdkAppId": application.sdk_app_id,
        "Name": "one",
        "Status": "enabled",
        "CreatedTime": application.created_ms,
        "SDKSecretKey": "*****",
        "CallbackKey": "*****",
        "NextCallbackKey": "",
        "WebhookSecret": "",
        "NextWebhookSecret": "",
        "RoomCallbackUrl": "https://customer.example/room",
        "MediaCallbackUrl": "",
        "RecordingCallbackUrl": "",
        "RelayCallbackUrl": "",
        "GroupCallbackUrls": {},
        "CallbackSchedule": "vendor",
        "CallbackRate": 0,
        "CallbackOrdered": False,
    }


async def test_tiles_show_the_newest_settled_bucket(client: Client, rollups: Rollups) -> None:
    rollups.app(SETTLED - 10_000, OnlineUsers=1, OnlineRooms=1)
    rollups.app(SETTLED, OnlineUsers=7, OnlineRooms=2, AbnormalUsers=1)
    rollups.app(
        SETTLED,
        OnlineUsers=8,
        OnlineRooms=3,
        AbnormalUsers=2,
        VideoStutterMs=700,
        VideoPlayMs=9_000,
        AudioStutterMs=250,
        AudioPlayMs=80_000,
    )
    rollups.app(OPEN - 10_000, OnlineUsers=5, OnlineRooms=2)
    rollups.app(OPEN, OnlineUsers=2, OnlineRooms=1)
    assert await get(client, f"/api/applications/{rollups.sdk_app_id}/live") == {
        "SdkAppId": rollups.sdk_app_id,
        "Now": NOW,
        "State": "settled",
        "BucketTime": SETTLED,
        "UpdatedTime": SETTLED + 10_000,
        "OnlineUsers": 8,
        "AbnormalUsers": 2,
        "OnlineRooms": 3,
        "VideoStutterRate": 700 / 9_000 * 100,
        "AudioStutterRate": 250 / 80_000 * 100,
    }


async def test_tiles_show_a_provisional_bucket_where_there_is_no_other(client: Client, rollups: Rollups) -> None:
    rollups.app(OPEN, OnlineUsers=2, OnlineRooms=1)
    tiles = await get(client, f"/api/applications/{rollups.sdk_app_id}/live")
    assert (tiles["State"], tiles["BucketTime"], tiles["OnlineUsers"]) == ("provisional", OPEN, 2)


async def test_tiles_are_unknown_when_nobody_reported_lately(client: Client, rollups: Rollups) -> None:
    path = f"/api/applications/{rollups.sdk_app_id}/live"
    nothing = await get(client, path)
    assert (nothing["State"], nothing["UpdatedTime"], nothing["OnlineUsers"]) == ("none", None, None)
    rollups.app(OPEN - 70_000, OnlineUsers=2, OnlineRooms=1)
    stale = await get(client, path)
    assert (stale["State"], stale["UpdatedTime"], stale["OnlineUsers"]) == ("stale", OPEN - 60_000, None)


async def test_a_rate_without_play_is_unknown_and_without_stutter_zero(client: Client, rollups: Rollups) -> None:
    rollups.app(SETTLED, OnlineUsers=2, OnlineRooms=1, AudioPlayMs=10_000)
    tiles = await get(client, f"/api/applications/{rollups.sdk_app_id}/live")
    assert tiles["VideoStutterRate"] is None
    assert tiles["AudioStutterRate"] == 0


async def test_charts_are_384_points_and_mark_what_is_provisional(client: Client, rollups: Rollups) -> None:
    first = OPEN - 383 * 10_000
    rollups.app(first - 10_000, OnlineUsers=99)
    rollups.app(first, OnlineUsers=1, OnlineRooms=1)
    rollups.app(SETTLED, OnlineUsers=2, OnlineRooms=1)
    rollups.app(OPEN - 10_000, OnlineUsers=3, OnlineRooms=1)
    rollups.app(OPEN, OnlineUsers=4, OnlineRooms=1)
    path = f"/api/applications/{rollups.sdk_app_id}/charts"
    charts = await get(client, path)
    points = charts["Points"]
    assert (charts["StartTime"], charts["Step"], charts["Count"], len(points)) == (first, 10_000, 384, 384)
    assert [point["BucketTime"] for point in points] == list(range(first, OPEN + 1, 10_000))
    assert [point["OnlineUsers"] for point in points if point["OnlineUsers"] is not None] == [1, 2, 3, 4]
    assert [point["BucketTime"] for point in points if point["Provisional"]] == [OPEN - 10_000, OPEN]

    paused = await get(client, f"{path}?at={first + 4_321}")
    assert paused["Points"][-1]["BucketTime"] == first
    assert [point["OnlineUsers"] for point in paused["Points"][-2:]] == [99, 1]


async def test_rooms_of_the_newest_settled_bucket_are_paged(client: Client, rollups: Rollups) -> None:
    rollups.app(SETTLED, OnlineUsers=30, OnlineRooms=12)
    rollups.app(SETTLED - 10_000, OnlineUsers=1, OnlineRooms=1)
    rollups.room(SETTLED - 10_000, "elsewhen", 1, OnlineUsers=50)
    rollups.room(SETTLED, "gone", 1, OnlineUsers=0)
    for number in range(10):
        rollups.room(SETTLED, f"room-{number}", 1, OnlineUsers=1)
    rollups.room(SETTLED, "123", 0, OnlineUsers=12, AbnormalUsers=1, VideoStutterMs=600, VideoPlayMs=6_000)
    rollups.room(SETTLED, "123", 1, OnlineUsers=8, AudioPlayMs=10_000)
    path = f"/api/applications/{rollups.sdk_app_id}/rooms"
    first = await get(client, path)
    assert (first["BucketTime"], first["Total"], first["Page"], first["Size"]) == (SETTLED, 12, 1, 10)
    assert first["Rooms"][:2] == [
        {
            "RoomId": "123",
            "RoomIdType": 0,
            "OnlineUsers": 12,
            "AbnormalUsers": 1,
            "VideoStutterRate": 10.0,
            "AudioStutterRate": None,
        },
        {
            "RoomId": "123",
            "RoomIdType": 1,
            "OnlineUsers": 8,
            "AbnormalUsers": 0,
            "VideoStutterRate": None,
            "AudioStutterRate": 0.0,
        },
    ]
    second = await get(client, f"{path}?page=2")
    assert [room["RoomId"] for room in first["Rooms"][2:] + second["Rooms"]] == [f"room-{n}" for n in range(10)]
    paused = await get(client, f"{path}?at={SETTLED - 1}")
    assert [room["RoomId"] for room in paused["Rooms"]] == ["elsewhen"]


async def test_deliveries_are_one_row_an_attempt_newest_first(client: Client, rollups: Rollups) -> None:
    rollups.attempt(
        "d1", 1, NOW - 9_000, Status=0, Outcome="failed", ErrorClass="timeout", Error="no answer in 5 s", Response=""
    )
    rollups.attempt("d1", 2, NOW - 4_000)
    # Kafka may tell twice of one attempt.
    rollups.attempt("d1", 2, NOW - 4_000)
    rollups.attempt("d2", 1, NOW - 5_000, EventType=301, EventGroupId=3, RoomIdType=None, TaskId="t1")
    path = f"/api/applications/{rollups.sdk_app_id}/deliveries"
    rows = (await get(client, path))["Deliveries"]
    assert [(row["DeliveryId"], row["Attempt"], row["StartedTime"]) for row in rows] == [
        ("d1", 2, NOW - 4_000),
        ("d2", 1, NOW - 5_000),
        ("d1", 1, NOW - 9_000),
    ]
    assert rows[2] == {
        "DeliveryId": "d1",
        "Attempt": 1,
        "RequestId": "d1-1",
        "EventId": "event-d1",
        "EventGroupId": 1,
        "EventType": 103,
        "EventTime": NOW - 9_200,
        "AcceptedTime": NOW - 9_100,
        "RoomId": "8801",
        "RoomIdType": 0,
        "UserId": "alice",
        "TaskId": "",
        "Url": "http://customer.example:9000/callback",
        "CallbackTime": NOW - 9_000,
        "StartedTime": NOW - 9_000,
        "DurationMs": 12,
        "Status": 0,
        "Outcome": "failed",
        "ErrorClass": "timeout",
        "Error": "no answer in 5 s",
        "Response": "",
    }
    assert rows[1]["RoomIdType"] is None
    limited = await get(client, f"{path}?limit=1")
    assert [row["DeliveryId"] for row in limited["Deliveries"]] == ["d1"]
    paused = await get(client, f"{path}?at={OPEN - 10_000}")
    assert [(row["DeliveryId"], row["Attempt"]) for row in paused["Deliveries"]] == [("d1", 1)]


HOSTILE = ["it's", "back\\slash", "100%", "under_score", "{id:String}", '"', "<script>", "Zürich", "会议", "a b"]


async def test_rooms_are_found_by_a_part_of_their_id(client: Client, rollups: Rollups) -> None:
    rollups.app(SETTLED, OnlineUsers=30, OnlineRooms=12)
    for name in [*HOSTILE, "other"]:
        rollups.room(SETTLED, f"x{name}y", 1, OnlineUsers=1)
    for name in HOSTILE:
        query = urlencode({"search": name.upper(), "size": 1})
        found = await get(client, f"/api/applications/{rollups.sdk_app_id}/rooms?{query}")
        assert ([room["RoomId"] for room in found["Rooms"]], found["Total"]) == ([f"x{name}y"], 1)
    query = urlencode({"search": "nothing like it"})
    assert (await get(client, f"/api/applications/{rollups.sdk_app_id}/rooms?{query}"))["Total"] == 0


async def test_deliveries_are_narrowed_down(client: Client, rollups: Rollups) -> None:
    rollups.attempt("d1", 1, NOW - 20 * 86_400_000, RoomId="too long ago")
    rollups.attempt("d2", 1, NOW - 86_400_000, RoomId="Lecture_1", Outcome="given-up")
    rollups.attempt("d3", 1, NOW - 3_600_000, RoomId="lecture_2", Outcome="failed")
    rollups.attempt("d4", 1, NOW - 5_000, RoomId="other")
    path = f"/api/applications/{rollups.sdk_app_id}/deliveries"
    for query, expected in [
        ("", ["d4", "d3", "d2"]),
        ("?limit=2", ["d4", "d3"]),
        ("?outcome=failed", ["d3"]),
        ("?outcome=given-up", ["d2"]),
        ("?search=lecture", ["d3", "d2"]),
        ("?search=LECTURE&outcome=delivered", []),
        (f"?search=lecture&at={NOW - 7_200_000}", ["d2"]),
    ]:
        rows = (await get(client, path + query))["Deliveries"]
        assert [row["DeliveryId"] for row in rows] == expected, query


@pytest.mark.parametrize(
    ("path", "status", "code", "field"),
    [
        ("/api/applications/{id}/live?at=yesterday", 400, "InvalidParameter", "at"),
        ("/api/applications/{id}/rooms?page=0", 400, "InvalidParameter", "page"),
        ("/api/applications/{id}/rooms?size=101", 400, "InvalidParameter", "size"),
        ("/api/applications/{id}/deliveries?limit=٣", 400, "InvalidParameter", "limit"),
        ("/api/applications/{id}/deliveries?limit=201", 400, "InvalidParameter", "limit"),
        ("/api/applications/7/live", 404, "ResourceNotFound", "SdkAppId"),
        ("/api/applications/7/stream", 404, "ResourceNotFound", "SdkAppId"),
        ("/api/applications/0/live", 404, "ResourceNotFound", "SdkAppId"),
        (f"/api/applications/{'9' * 20}/live", 404, "ResourceNotFound", "SdkAppId"),
        (f"/api/applications/{'9' * 6000}/live", 404, "ResourceNotFound", "SdkAppId"),
        ("/api/applications/{id}/rooms?search=" + "x" * 65, 400, "InvalidParameter", "search"),
        ("/api/applications/{id}/rooms?search=%00", 400, "InvalidParameter", "search"),
        ("/api/applications/{id}/deliveries?outcome=lost", 400, "InvalidParameter", "outcome"),
        ("/api/applications/{id}/charts?at=4102444800001", 400, "InvalidParameter", "at"),
        ("/api/applications/{id}/charts?at=-1", 400, "InvalidParameter", "at"),
        ("/api/applications/one/live", 404, "ResourceNotFound", None),
        ("/api/nothing", 404, "ResourceNotFound", None),
        ("/assets/..%2Findex.html", 404, "ResourceNotFound", None),
    ],
)
async def test_what_cannot_be_answered_says_why(
    client: Client, application: Application, path: str, status: int, code: str, field: str | None
) -> None:
    async with client.get(path.replace("{id}", str(application.sdk_app_id))) as response:
        body = orjson.loads(await response.read())
        assert response.status == status
        assert body["Error"]["Code"] == code
        assert body["Error"].get("Field") == field
        assert body["RequestId"] == response.headers["X-Request-Id"] != ""


@pytest.mark.parametrize("what", ["live", "charts", "rooms", "deliveries"])
@pytest.mark.parametrize("at", [0, 4_102_444_800_000])
async def test_the_ends_of_time_are_empty(client: Client, application: Application, what: str, at: int) -> None:
    answer = await get(client, f"/api/applications/{application.sdk_app_id}/{what}?at={at}")
    assert answer.get("OnlineUsers") is None
    assert not answer.get("Rooms")
    assert not answer.get("Deliveries")


async def test_only_get_is_answered(client: Client, application: Application) -> None:
    # A stream has no end that HEAD could wait for.
    async with client.head(f"/api/applications/{application.sdk_app_id}/stream") as response:
        assert response.status == 405
    async with client.post("/api/applications") as response:
        assert response.status == 405
        assert response.headers["Allow"] == "GET,HEAD"
        assert orjson.loads(await response.read())["Error"]["Code"] == "UnsupportedOperation"


async def test_every_answer_keeps_foreign_content_out(client: Client) -> None:
    for path in ("/", "/api/applications", "/api/nothing"):
        async with client.get(path) as response:
            assert response.headers["X-Content-Type-Options"] == "nosniff"
            assert response.headers["X-Frame-Options"] == "DENY"
            policy = response.headers["Content-Security-Policy"]
            assert "script-src 'self';" in policy
            assert "unsafe" not in policy


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "localhost:8080"}, 200),
        ({"Host": "roompulse.localhost"}, 200),
        ({"Host": "[::1]:8080"}, 200),
        ({"Host": "192.0.2.7"}, 200),
        ({"Host": "rebound.example:8080"}, 421),
        ({"Host": "127.0.0.1.evil.example"}, 421),
        ({"Host": "localhost.evil.example"}, 421),
        ({"Host": "[::1"}, 421),
        ({"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors"}, 200),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, 200),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
    ],
)
async def test_pages_of_other_sites_get_nothing(client: Client, headers: dict[str, str], status: int) -> None:
    async with client.get("/api/applications", headers=headers) as response:
        assert response.status == status
        body = orjson.loads(await response.read())
        assert "Access-Control-Allow-Origin" not in response.headers
    assert status == 200 or body["Error"]["Code"] == "UnauthorizedOperation"


async def test_a_console_that_others_reach_has_any_name(store: ApplicationStore, settings: Settings) -> None:
    monitor = Monitor(settings)
    async with (
        TestClient(TestServer(build_app(settings, store, monitor, only_local_names=False))) as client,
        client.get("/api/applications", headers={"Host": "console.example"}) as response,
    ):
        assert response.status == 200
    await monitor.close()


async def test_a_database_that_cannot_be_read_is_told_of(settings: Settings, tmp_path: Path) -> None:
    store = ApplicationStore(Settings(data=tmp_path / "lost"))
    monitor = Monitor(settings)
    async with TestClient(TestServer(build_app(settings, store, monitor))) as client:
        assert (await get(client, "/api/applications"))["Applications"] == []
        store.close()
        (tmp_path / "lost" / "control.sqlite").write_bytes(b"no database " * 1000)
        for path in ("/api/applications", "/api/applications/1400000001/live"):
            async with client.get(path) as response:
                assert response.status == 503
                assert "control-plane database" in orjson.loads(await response.read())["Error"]["Reason"]
    await monitor.close()


async def test_pages_that_are_not_built_say_what_to_do(client: Client) -> None:
    async with client.get("/") as response:
        assert response.status == 503
        assert "services.console.web.build" in await response.text()


async def test_assets_are_kept_and_the_document_is_asked_for_again(client: Client, tmp_path: Path) -> None:
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_text("<!doctype html>")
    (tmp_path / "assets" / "index-abc123.js").write_text("let x = 1;" * 500)
    (tmp_path / "assets" / "index-abc123.js.gz").write_bytes(gzip.compress(b"let x = 1;" * 500))
    async with client.get("/") as response:
        assert response.status == 200
        assert response.headers["Cache-Control"] == "no-cache"
        tag = response.headers["ETag"]
    async with client.get("/", headers={"If-None-Match": tag}) as response:
        assert response.status == 304
    async with client.get("/assets/index-abc123.js") as response:
        assert response.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert response.headers["Content-Encoding"] == "gzip"
        assert response.content_type in ("text/javascript", "application/javascript")
        assert response.headers["Vary"] == "Accept-Encoding"
        assert await response.text() == "let x = 1;" * 500
    async with client.get("/assets/index-abc123.js", headers={"Accept-Encoding": "identity"}) as response:
        assert "Content-Encoding" not in response.headers
        assert await response.text() == "let x = 1;" * 500


async def test_large_answers_are_compressed(client: Client, rollups: Rollups) -> None:
    async with client.get(f"/api/applications/{rollups.sdk_app_id}/charts") as response:
        assert response.headers["Content-Encoding"] in ("gzip", "deflate")
        assert response.headers["Cache-Control"] == "no-store"


class Stream:
    """Reads server-sent events as a browser does."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        assert response.status == 200
        assert response.content_type == "text/event-stream"
        self._content = response.content
        self.last_event_id = ""

    async def next(self, *names: str) -> dict[str, Any]:
        """The next event of one of these names; heartbeats count only when asked for."""
        async with asyncio.timeout(WAIT_S):
            while True:
                fields = await self._fields()
                if fields.get("event") in names:
                    data: dict[str, Any] = orjson.loads(fields["data"])
                    return data
                assert fields.get("event") in (None, "heartbeat", "update"), fields

    async def _fields(self) -> dict[str, str]:
        fields: dict[str, str] = {}
        while (line := (await self._content.readline()).decode()) != "\n":
            assert line, "the stream ended"
            name, _, value = line.rstrip("\n").partition(": ")
            fields[name] = value
        self.last_event_id = fields.get("id", self.last_event_id)
        return fields


@contextlib.asynccontextmanager
async def streaming(client: Client, sdk_app_id: int, last_event_id: str = "") -> AsyncIterator[Stream]:
    headers = {"Last-Event-ID": last_event_id} if last_event_id else {}
    timeout = aiohttp.ClientTimeout(total=None)
    async with client.get(f"/api/applications/{sdk_app_id}/stream", headers=headers, timeout=timeout) as response:
        yield Stream(response)


async def test_a_stream_begins_with_everything_and_goes_on_with_what_changes(client: Client, rollups: Rollups) -> None:
    rollups.app(SETTLED, OnlineUsers=3, OnlineRooms=1)
    rollups.attempt("old", 1, NOW - 86_400_000)
    async with streaming(client, rollups.sdk_app_id) as stream:
        snapshot = await stream.next("snapshot")
        assert snapshot["Problem"] is None
        assert snapshot["Latest"]["OnlineUsers"] == 3
        assert [point["BucketTime"] for point in snapshot["Points"]] == [SETTLED]
        assert [attempt["DeliveryId"] for attempt in snapshot["Attempts"]] == ["old"]

        rollups.app(OPEN, OnlineUsers=4, OnlineRooms=2)
        update = await stream.next("update")
        assert [(point["BucketTime"], point["OnlineUsers"]) for point in update["Points"]] == [(OPEN, 4)]
        assert update["Attempts"] == []

        rollups.app(SETTLED, OnlineUsers=5, OnlineRooms=2, VideoStutterMs=1, VideoPlayMs=4)
        update = await stream.next("update")
        assert [(point["BucketTime"], point["OnlineUsers"]) for point in update["Points"]] == [(SETTLED, 5)]
        assert update["Latest"]["VideoStutterRate"] == 25.0

        rollups.attempt("new", 1, NOW - 10)
        update = await stream.next("update")
        assert update["Points"] == []
        assert [attempt["DeliveryId"] for attempt in update["Attempts"]] == ["new"]


async def test_a_broken_stream_resumes_after_the_last_event(client: Client, rollups: Rollups) -> None:
    rollups.app(SETTLED, OnlineUsers=3, OnlineRooms=1)
    async with streaming(client, rollups.sdk_app_id) as stream:
        await stream.next("snapshot")
        last_event_id = stream.last_event_id
    rollups.app(OPEN, OnlineUsers=4, OnlineRooms=2)
    seen: list[dict[str, Any]] = []
    async with streaming(client, rollups.sdk_app_id, last_event_id) as stream:
        while not seen:
            seen += (await stream.next("update"))["Points"]
    assert [point["BucketTime"] for point in seen] == [OPEN]
    epoch = last_event_id.partition("-")[0]
    for unknown in ("another-1", f"{epoch}-999999", f"{epoch}-{'9' * 5000}", f"{epoch}-²", f"{epoch}-", "-"):
        async with streaming(client, rollups.sdk_app_id, unknown) as stream:
            snapshot = await stream.next("snapshot")
        assert [point["BucketTime"] for point in snapshot["Points"]] == [SETTLED, OPEN]


async def test_one_poller_serves_all_viewers(client: Client, rollups: Rollups, settings: Settings) -> None:
    async with contextlib.AsyncExitStack() as stack:
        streams = [await stack.enter_async_context(streaming(client, rollups.sdk_app_id)) for _ in range(5)]
        for stream in streams:
            await stream.next("snapshot")
        async with client.get("/") as _:
            pass
        assert len([task for task in asyncio.all_tasks() if task.get_name() == f"feed of {rollups.sdk_app_id}"]) == 1
        rollups.app(SETTLED, OnlineUsers=3, OnlineRooms=1)
        for stream in streams:
            assert (await stream.next("update"))["Latest"]["OnlineUsers"] == 3


async def test_a_viewer_who_takes_nothing_is_dropped_and_holds_nobody_up(
    client: Client, rollups: Rollups, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "WRITE_TIMEOUT_S", 0.5)
    with stalled_viewer(client.port, rollups.sdk_app_id):
        async with streaming(client, rollups.sdk_app_id) as stream:
            await stream.next("snapshot")
            await until(lambda: viewers() == 2)
            users = 0
            while viewers() == 2:
                users += 1
                await change_all(stream, rollups, users)
        await until(lambda: viewers() == 0)


async def test_a_stop_does_not_wait_for_viewers_who_take_nothing(client: Client, rollups: Rollups) -> None:
    with stalled_viewer(client.port, rollups.sdk_app_id):
        async with streaming(client, rollups.sdk_app_id) as stream:
            await stream.next("snapshot")
            await until(lambda: viewers() == 2)
            for users in range(1, 11):
                await change_all(stream, rollups, users)
            # Far less than `WRITE_TIMEOUT_S`, after which the stalled one would be dropped anyway.
            async with asyncio.timeout(10):
                await client.app.shutdown()
                await until(lambda: viewers() == 0)
            with pytest.raises(AssertionError, match="the stream ended"):
                await stream.next()
            async with client.get(f"/api/applications/{rollups.sdk_app_id}/stream") as response:
                assert response.status == 503, "no stream begins while the console stops"


def stalled_viewer(port: int | None, sdk_app_id: int) -> socket.socket:
    """A viewer who never reads."""
    stalled = socket.socket()
    stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    stalled.connect(("127.0.0.1", port))
    stalled.sendall(f"GET /api/applications/{sdk_app_id}/stream HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
    return stalled


async def change_all(stream: Stream, rollups: Rollups, users: int) -> None:
    """Change every point of the window, which makes a large update, and wait for it."""
    rollups.app_window(OPEN, 384, OnlineUsers=users, OnlineRooms=1)
    while (await stream.next("update"))["Latest"]["OnlineUsers"] != users:
        pass


def viewers() -> float:
    return sum(sample.value for metric in VIEWERS.collect() for sample in metric.samples)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not condition():
            await asyncio.sleep(0.02)


async def test_a_clickhouse_that_dies_is_told_of_and_waited_for(
    client: Client, rollups: Rollups, clickhouse: ClickHouseServer
) -> None:
    rollups.app(SETTLED, OnlineUsers=3, OnlineRooms=1)
    path = f"/api/applications/{rollups.sdk_app_id}/live"
    async with streaming(client, rollups.sdk_app_id) as stream:
        await stream.next("snapshot")
        clickhouse.kill9()
        try:
            assert (await stream.next("update"))["Problem"] == "ClickHouse is out of reach"
            async with client.get(path) as response:
                assert response.status == 503
                assert orjson.loads(await response.read())["Error"]["Code"] == "ServiceUnavailable"
            async with streaming(client, rollups.sdk_app_id, stream.last_event_id) as late:
                assert (await late.next("update"))["Problem"]
        finally:
            await asyncio.to_thread(clickhouse.start)
        assert (await stream.next("update"))["Problem"] is None
        assert (await get(client, path))["OnlineUsers"] == 3


async def test_missing_tables_are_named(store: ApplicationStore, settings: Settings, application: Application) -> None:
    monitor = Monitor(settings.model_copy(update={"clickhouse_database": "not_there"}))
    async with (
        TestClient(TestServer(build_app(settings, store, monitor))) as client,
        client.get(f"/api/applications/{application.sdk_app_id}/charts") as response,
    ):
        assert response.status == 503
        assert "migrate" in orjson.loads(await response.read())["Error"]["Reason"]
    await monitor.close()


async def test_the_service_publishes_applications_and_stops_with_viewers(
    kafka: KafkaBroker, settings: Settings, store: ApplicationStore, rollups: Rollups, application: Application
) -> None:
    settings = settings.model_copy(update={"kafka_bootstrap": kafka.bootstrap})
    await ensure_topics(settings)
    stopping = asyncio.Event()
    service = asyncio.create_task(run(settings, stopping))
    url = f"http://127.0.0.1:{settings.console_port}"
    table = ApplicationTable(settings)
    await table.start()
    try:
        async with aiohttp.ClientSession() as session, asyncio.timeout(WAIT_S):
            while True:
                with contextlib.suppress(aiohttp.ClientConnectionError):
                    async with session.get(f"{url}/readyz") as response:
                        if response.status == 200:
                            assert (await response.json())["Checks"] == {
                                "ApplicationsPublished": True,
                                "ClickHouse": True,
                            }
                            break
                await asyncio.sleep(0.1)
            while table.get(application.sdk_app_id) is None:
                await asyncio.sleep(0.1)
            assert len(table.all()) == len(store.all())
            async with session.get(f"{url}/metrics") as response:
                assert "roompulse_console_requests_total" in await response.text()
            async with session.get(f"{url}/api/applications/{rollups.sdk_app_id}/stream") as response:
                await Stream(response).next("snapshot")
                stopping.set()
                await service
    finally:
        await table.stop()
        stopping.set()
        await asyncio.gather(service, return_exceptions=True)
