from __future__ import annotations

import asyncio
import gzip
import os
import re
import shutil
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import psutil
import pytest
import zstandard

from schemas.callbacks import sign
from schemas.keys import event_key
from schemas.topics import EVENTS, QUALITY
from services.runtime import usersig
from services.runtime.clock import now_ms
from tests.integration.ingesting import Client, World, encoded, event, report, sample, task, world_on
from tests.support.places import write_databases
from tests.support.stack import Stack

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from schemas.applications import Application
    from tests.support.kafka import KafkaBroker

DAY_S = 86_400
HOUR_MS = 3_600_000
LIMITS = {
    "ROOMPULSE_INGEST_MAX_BODY_BYTES": "50000",
    "ROOMPULSE_INGEST_MAX_EXPANDED_BYTES": "200000",
    "ROOMPULSE_INGEST_MAX_RECORD_BYTES": "40000",
    "ROOMPULSE_INGEST_MAX_ITEMS": "20",
    "ROOMPULSE_INGEST_MAX_DEPTH": "16",
    "ROOMPULSE_INGEST_MAX_STRING_BYTES": "2000",
    "ROOMPULSE_INGEST_BODY_TIMEOUT_S": "1",
    "ROOMPULSE_INGEST_LINGER_MS": "200",
}


@pytest.fixture(scope="module")
async def world(kafka: KafkaBroker, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    databases = write_databases(tmp_path_factory.mktemp("places"))
    places = {f"ROOMPULSE_{name.upper()}": str(path) for name, path in databases.items()}
    trusted = {"ROOMPULSE_TRUSTED_PROXIES": "127.0.0.0/8"}
    async with world_on(kafka, tmp_path_factory.mktemp("ingest"), **LIMITS, **places, **trusted) as world:
        yield world


@pytest.fixture(scope="module")
async def application(world: World) -> Application:
    return await world.application()


@pytest.fixture
async def client(world: World, application: Application) -> Any:
    with world.client(application) as client:
        await until_known(client)
        yield client


async def until_known(client: Client, *, known: bool = True) -> None:
    """A change of applications is live within two seconds."""
    deadline = time.monotonic() + 2
    while (client.signed("/v1/events", b"[]").status == 403) is known:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


class TestEvents:
    async def test_good_events_arrive_one_a_record_and_bad_neighbours_are_named(
        self, world: World, client: Client
    ) -> None:
        first, second = world.number(), world.number()
        wrong = event(0)
        wrong["EventInfo"]["Role"] = "anchor"
        before = now_ms()
        answer = client.signed("/v1/events", encoded([event(first), wrong, 7, event(second, room="Room A")]))
        assert answer.status == 200
        assert answer.json["Accepted"] == 2
        assert [(r["Index"], r["Field"], r["Code"]) for r in answer.json["Rejected"]] == [
            (1, "EventInfo.Role", "InvalidParameter"),
            (2, "", "InvalidParameter"),
        ]
        found = {e.event_id: e for e in await world.events()}
        assert found[f"event-{first}"].room_id == "8801"
        assert found[f"event-{second}"].room_id_type == 1
        assert before <= found[f"event-{first}"].arrival_ms <= now_ms()
        keys = [r.key for r in await world.records(EVENTS) if f"event-{second}".encode() in (r.value or b"")]
        assert keys == [event_key(client.application.sdk_app_id, "Room A", None)]

    async def test_one_object_is_a_list_of_one(self, world: World, client: Client) -> None:
        number = world.number()
        assert client.signed("/v1/events", encoded(event(number))).json == {"Accepted": 1, "Rejected": []}
        refused = client.signed("/v1/events", encoded(event(number, EventType=999)))
        assert (refused.status, refused.json["Error"]["Field"]) == (422, "EventType")

    @pytest.mark.parametrize(
        ("offset_ms", "code"),
        [(6 * 60_000, "ClockSkew"), (-25 * HOUR_MS, "TooOld"), (4 * 60_000, ""), (-23 * HOUR_MS, "")],
    )
    async def test_time(self, world: World, client: Client, offset_ms: int, code: str) -> None:
        answer = client.signed("/v1/events", encoded(event(world.number(), at_ms=now_ms() + offset_ms)))
        assert answer.status == (422 if code else 200)
        if code:
            assert (answer.code, answer.json["Error"]["Field"]) == (code, "EventInfo.EventMsTs")

    async def test_order_of_a_request_is_the_order_in_its_room(self, world: World, client: Client) -> None:
        numbers = [world.number() for _ in range(20)]
        assert client.signed("/v1/events", encoded([event(n, room=4711) for n in numbers])).json["Accepted"] == 20
        found = [e.event_id for e in await world.events() if e.room_id == "4711"]
        assert found == [f"event-{n}" for n in numbers]

    async def test_half_a_character_costs_nobody_anything(self, world: World, client: Client) -> None:
        first, second = world.number(), world.number()
        cut = encoded(event(first, Note="cut here")).replace(b"cut here", rb"cut \ud83d")
        answer = client.signed("/v1/events", b"[" + cut + b"," + encoded(event(second)) + b"]")
        assert answer.json == {"Accepted": 2, "Rejected": []}
        assert {f"event-{first}", f"event-{second}"} <= {e.event_id for e in await world.events()}


class TestTasks:
    async def test_good_intervals_arrive_and_bad_neighbours_are_named(self, world: World, client: Client) -> None:
        number, start = world.number(), now_ms() - 70_000
        items = [
            task(number),
            task(0, start_ms=start, EndMs=start + 60_001),
            task(0, TaskType="record", RoomId=None),
            task(0, Inputs=[{"UserId": "alice", "Type": "huge"}]),
            task(0, start_ms=now_ms() + 400_000),
        ]
        answer = client.signed("/v1/tasks", encoded(items))
        assert answer.status == 200
        assert [(r["Index"], r["Field"], r["Code"]) for r in answer.json["Rejected"]] == [
            (1, "EndMs", "InvalidParameter"),
            (2, "RoomId", "InvalidParameter"),
            (3, "Inputs[0].Type", "InvalidParameter"),
            (4, "EndMs", "ClockSkew"),
        ]
        assert [t.interval.task_id for t in await world.tasks() if t.interval.task_id == f"task-{number}"]
        assert "task-0" not in {t.interval.task_id for t in await world.tasks()}


class TestReports:
    async def test_a_report_arrives_without_its_credentials(self, world: World, client: Client) -> None:
        posted = report(client.application, user="carol", Client={"Role": 20, "JoinMs": now_ms() - 90 * HOUR_MS})
        before = now_ms()
        answer = client.report(encoded(posted))
        assert answer.status == 200
        assert answer.json.keys() == {"Accepted", "Rejected", "Seq", "ServerMs"}
        assert (answer.json["Accepted"], answer.json["Rejected"], answer.json["Seq"]) == (4, [], 1)
        assert before <= answer.json["ServerMs"] <= now_ms()
        (found,) = [r for r in await world.reports() if r.user_id == "carol"]
        assert before <= found.arrival_ms <= now_ms()
        stored = msgspec.json.decode(msgspec.json.encode(found))
        assert "UserSig" not in stored
        assert stored["Samples"] == posted["Samples"]
        assert stored["Client"] == posted["Client"]
        assert posted["UserSig"].encode() not in b"".join([r.value or b"" for r in await world.records(QUALITY)])

    async def test_bad_parts_are_named_and_their_neighbours_arrive(self, world: World, client: Client) -> None:
        now = now_ms()
        samples = [
            sample(now - 8000),
            sample(now - 6000, DurMs=2001),
            sample(now + 400_000),
            sample(now - 2000, Local=[{"Type": "big"}, {"Type": "big", "Width": -1}]),
            sample(now - 25 * HOUR_MS),
            sample(now - 4001, DurMs=2000),
        ]
        events = [{"AtMs": now, "EventId": "x"}, {"AtMs": now, "EventId": 3}]
        posted = report(client.application, user="dave", Samples=samples, Events=events, Client={"Role": "anchor"})
        answer = client.report(encoded(posted))
        assert answer.status == 200
        assert answer.json["Accepted"] == 3
        assert [(r["Index"], r["Field"], r["Code"]) for r in answer.json["Rejected"]] == [
            (1, "Samples[1].DurMs", "InvalidParameter"),
            (2, "Samples[2].StartMs", "ClockSkew"),
            (3, "Samples[3].Local[1].Width", "InvalidParameter"),
            (4, "Samples[4].StartMs", "TooOld"),
            (0, "Events[0].EventId", "InvalidParameter"),
            (0, "Client.Role", "InvalidParameter"),
        ]
        (found,) = [r for r in await world.reports() if r.user_id == "dave"]
        assert [s.start_ms for s in found.samples] == [now - 8000, now - 4001]
        assert [e.event_id for e in found.events] == [3]
        assert found.client is None

    async def test_a_client_part_alone_and_an_empty_report_are_welcome(self, client: Client) -> None:
        alone = report(client.application, Samples=[], Events=[], Client={"Role": 21})
        assert client.report(encoded(alone)).json["Accepted"] == 1
        empty = {name: value for name, value in alone.items() if name not in ("Samples", "Events", "Client")}
        answer = client.report(encoded({**empty, "Seq": 9}))
        assert (answer.status, answer.json["Accepted"], answer.json["Seq"]) == (200, 0, 9)

    async def test_nothing_good_in_it(self, client: Client) -> None:
        answer = client.report(encoded(report(client.application, Samples=[sample(5)], Events=[])))
        assert (answer.status, answer.code) == (422, "TooOld")
        assert answer.json["Rejected"][0]["Field"] == "Samples[0].StartMs"
        assert answer.json["ServerMs"] > 0

    async def test_reports_of_one_shard_that_come_together_share_a_record(self, world: World, client: Client) -> None:
        async def one(seq: int) -> None:
            reader, writer = await asyncio.open_connection("127.0.0.1", world.settings.ingest_port)
            body = encoded(report(client.application, user="erin", seq=seq))
            writer.write(b"POST /v1/reports HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            assert b" 200 " in await reader.readline()
            writer.close()

        await asyncio.gather(*(one(seq) for seq in range(1, 41)))
        of_erin = [[r.seq for r in b.reports if r.user_id == "erin"] for b in await world.batches()]
        of_erin = [seqs for seqs in of_erin if seqs]
        assert sorted(seq for seqs in of_erin for seq in seqs) == list(range(1, 41))
        assert len(of_erin) < 20
        partitions = {r.partition for r in await world.records(QUALITY) if b'"erin"' in (r.value or b"")}
        assert len(partitions) == 1


class TestWhoMaySend:
    @pytest.mark.parametrize(
        ("headers", "status", "code"),
        [
            ({"Sign": ""}, 401, "sig not match"),
            ({"Sign": "x"}, 401, "sig not match"),
            ({"Sign": "\xff"}, 401, "sig not match"),
            ({"SdkAppId": "1499999999"}, 403, "UnknownApplication"),
            ({"SdkAppId": ""}, 400, "InvalidParameter"),
            ({"SdkAppId": "0x10"}, 400, "InvalidParameter"),
            ({"SdkAppId": "-1"}, 400, "InvalidParameter"),
            ({"SdkAppId": "99999999999"}, 400, "InvalidParameter"),
        ],
    )
    async def test_signed_calls(self, client: Client, headers: dict[str, str], status: int, code: str) -> None:
        for path in ("/v1/events", "/v1/tasks"):
            answer = client.signed(path, encoded(event(1)), **headers)
            assert (answer.status, answer.code) == (status, code)

    async def test_a_call_without_headers(self, client: Client) -> None:
        answer = client.send("POST", "/v1/events", encoded(event(1)))
        assert (answer.status, answer.code, answer.json["Error"]["Field"]) == (400, "MissingParameter", "SdkAppId")

    async def test_another_application_key_is_of_no_use(self, world: World, client: Client) -> None:
        other = await world.application()
        body = encoded(event(1))
        assert client.signed("/v1/events", body, Sign=sign(other.secret_key, body)).status == 401

    @pytest.mark.parametrize(
        ("changes", "code"),
        [
            ({"UserSig": ""}, "zlib error"),
            ({"UserSig": "%%%"}, "base64 error"),
            ({"UserSig": "AAAA"}, "zlib error"),
            ({"UserId": "mallory"}, "identifier not match"),
        ],
    )
    async def test_wrong_user_sigs(self, client: Client, changes: dict[str, Any], code: str) -> None:
        answer = client.report(encoded({**report(client.application), **changes}))
        assert (answer.status, answer.code, answer.json["Error"]["Field"]) == (401, code, "UserSig")
        assert answer.json["ServerMs"] > 0

    async def test_a_user_sig_of_another_key_or_application(self, world: World, client: Client) -> None:
        other = await world.application()
        now = now_ms() // 1000
        forged = usersig.generate(client.application.sdk_app_id, other.secret_key, "alice", now=now)
        foreign = usersig.generate(other.sdk_app_id, other.secret_key, "alice", now=now)
        for sig, code in ((forged, "sig not match"), (foreign, "sdk appid not match")):
            assert client.report(encoded({**report(client.application), "UserSig": sig})).code == code

    @pytest.mark.parametrize(
        ("sent_s_ago", "expired_s_ago", "status"),
        [
            (7200, 3600, 200),  # late, but valid when it was sent
            (3600, 7200, 401),  # expired when it was sent
            (0, 3600, 401),
            (-100, 50, 401),  # the future is judged now
            (25 * 3600, 3600, 401),  # too late for that: judged now
            (0, -10, 200),
        ],
    )
    async def test_expiry_is_judged_when_the_report_was_sent(
        self, client: Client, sent_s_ago: int, expired_s_ago: int, status: int
    ) -> None:
        application, now = client.application, now_ms()
        sig = usersig.generate(
            application.sdk_app_id,
            application.secret_key,
            "frank",
            now=now // 1000 - expired_s_ago - 30 * DAY_S,
            expire=30 * DAY_S,
        )
        posted = report(application, user="frank", UserSig=sig, SentMs=now - sent_s_ago * 1000)
        for _ in range(2):  # the second time the UserSig may be remembered
            answer = client.report(encoded(posted))
            assert answer.status == status
            if status == 401:
                assert answer.code == "expired"

    async def test_life_of_an_application(self, world: World) -> None:
        application = await world.application()
        with world.client(application) as client:
            await until_known(client)
            disabled = await world.publish(application, status="disabled")
            await asyncio.sleep(0.5)
            assert client.signed("/v1/events", encoded(event(world.number()))).status == 200
            await world.publish(disabled, status="deleted")
            await until_known(client, known=False)
            assert client.report(encoded(report(application))).code == "UnknownApplication"

    async def test_private_map_key_where_the_application_demands_it(self, world: World) -> None:
        application = await world.application(advanced_permission=True)
        now = now_ms() // 1000

        def key(room: int | str, rights: usersig.Privilege) -> str:
            return usersig.generate_private_map_key(
                application.sdk_app_id, application.secret_key, "alice", room, rights, now=now
            )

        with world.client(application) as client:
            await until_known(client)
            for given, code in (
                ("", "zlib error"),
                (key("8801", usersig.Privilege.ALL), "userbuf not match"),
                (key(8801, usersig.Privilege.SEND_AUDIO), "userbuf not match"),
            ):
                answer = client.report(encoded(report(application, PrivateMapKey=given)))
                assert (answer.status, answer.code, answer.json["Error"]["Field"]) == (401, code, "PrivateMapKey")
            good = report(application, PrivateMapKey=key(8801, usersig.Privilege.ENTER_ROOM))
            assert client.report(encoded(good)).status == 200


class TestBodies:
    @pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress])
    async def test_codings(self, world: World, client: Client, pack: Any) -> None:
        coding = "gzip" if pack is gzip.compress else "zstd"
        numbers = [world.number() for _ in range(2)]
        key = client.application.secret_key
        for number, signs_packed in zip(numbers, (True, False), strict=True):
            body = encoded(event(number))
            packed = pack(body)
            signature = sign(key, packed if signs_packed else body)
            assert client.signed("/v1/events", packed, Content_Encoding=coding, Sign=signature).status == 200
        assert client.report(pack(encoded(report(client.application))), Content_Encoding=coding).status == 200
        assert {f"event-{n}" for n in numbers} <= {e.event_id for e in await world.events()}

    @pytest.mark.parametrize(
        ("headers", "body", "status", "code"),
        [
            ({"Content_Encoding": "br"}, b"{}", 415, "UnsupportedEncoding"),
            ({"Content_Encoding": "deflate"}, b"{}", 415, "UnsupportedEncoding"),
            ({"Content_Encoding": "gzip, zstd"}, b"{}", 415, "UnsupportedEncoding"),
            ({"Content_Encoding": "gzip"}, b"{}", 400, "InvalidEncoding"),
            ({"Content_Encoding": "gzip"}, gzip.compress(b"{}" * 50, mtime=0)[:-9], 400, "InvalidEncoding"),
            ({"Content_Encoding": "gzip"}, gzip.compress(b"{}", mtime=0) + b"rest", 400, "InvalidEncoding"),
            ({"Content_Encoding": "zstd"}, b"{}", 400, "InvalidEncoding"),
            ({"Content_Encoding": "zstd"}, zstandard.compress(b"[" + b" " * 999)[:-3], 400, "InvalidEncoding"),
            ({"Content_Encoding": "gzip"}, gzip.compress(b"", mtime=0), 400, "EmptyBody"),
            ({"Content_Type": "text/xml"}, b"{}", 415, "UnsupportedMediaType"),
            ({"Content_Type": "application/json; charset=utf-16"}, b"{}", 415, "UnsupportedMediaType"),
        ],
    )
    async def test_what_cannot_be_unpacked(
        self, client: Client, headers: dict[str, str], body: bytes, status: int, code: str
    ) -> None:
        for answer in (client.report(body, **headers), client.signed("/v1/events", body, **headers)):
            assert (answer.status, answer.code) == (status, code)

    @pytest.mark.parametrize("kind", ["application/json", "text/plain;charset=UTF-8", "application/vnd.x+json", ""])
    async def test_types_that_are_json(self, client: Client, kind: str) -> None:
        assert client.report(encoded(report(client.application)), Content_Type=kind).status == 200

    async def test_every_limit_is_named(self, world: World, client: Client) -> None:
        deep = b'{"EventGroupId":1,"x":' + b"[" * 20 + b"]" * 20 + b"}"
        cases = [
            (b" " * 50_001, 413, "BodyTooLarge", "ingest_max_body_bytes"),
            (encoded([event(0)] * 21), 413, "TooManyItems", "ingest_max_items"),
            (deep, 422, "TooDeep", "ingest_max_depth"),
            (encoded(event(0, Note="x" * 2001)), 422, "TextTooLong", "ingest_max_string_bytes"),
            (encoded(event(0, Notes=["x" * 1900] * 22)), 422, "ItemTooLarge", "ingest_max_record_bytes"),
        ]
        for body, status, code, setting in cases:
            answer = client.signed("/v1/events", body)
            assert (answer.status, answer.code) == (status, code)
            assert setting in answer.json["Error"]["Reason"]
            assert setting in world.settings.model_fields_set

    async def test_limits_of_reports(self, client: Client) -> None:
        application, now = client.application, now_ms()
        many = [{"StartMs": now - 2000, "DurMs": 1}] * 21
        wide = [{"UserId": f"peer_{n}", "Type": "big", "Bitrate": 1, "Width": 1, "Height": 1} for n in range(900)]
        cases = [
            (report(application, Samples=many), 413, "ingest_max_items"),
            (report(application, Samples=[sample(now, Remote=wide)]), 413, "ingest_max_record_bytes"),
            (report(application, Note="x" * 2001), 413, "ingest_max_string_bytes"),
            (report(application, Samples=[], Events=[], Note=nested(20)), 400, "ingest_max_depth"),
        ]
        for posted, status, setting in cases:
            body = gzip.compress(encoded(posted))
            answer = client.report(body, Content_Encoding="gzip")
            assert (answer.status, setting in answer.json["Error"]["Reason"]) == (status, True), answer.body
            assert answer.json["ServerMs"] > 0

    async def test_one_item_beyond_a_limit_leaves_its_neighbours(self, world: World, client: Client) -> None:
        numbers = [world.number() for _ in range(2)]
        items = [event(0, Note="x" * 2001), event(numbers[0]), event(0, Tree=nested(200)), event(numbers[1])]
        answer = client.signed("/v1/events", encoded(items))
        assert [(r["Index"], r["Code"]) for r in answer.json["Rejected"]] == [(0, "TextTooLong"), (2, "TooDeep")]
        assert {f"event-{n}" for n in numbers} <= {e.event_id for e in await world.events()}
        now = now_ms()
        samples = [sample(now - 4000, Note="x" * 2001), sample(now - 2000), sample(now, Tree=nested(200))]
        answer = client.report(encoded(report(client.application, Samples=samples)))
        assert [(r["Field"], r["Code"]) for r in answer.json["Rejected"]] == [
            ("Samples[0]", "TextTooLong"),
            ("Samples[2]", "TooDeep"),
        ]

    @pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress])
    async def test_a_bomb_is_not_inflated(self, world: World, client: Client, pack: Any) -> None:
        coding = "gzip" if pack is gzip.compress else "zstd"
        bomb = pack(b" " * (40 << 20))
        assert len(bomb) < 50_000
        assert world.ingest.process is not None
        memory = psutil.Process(world.ingest.process.pid).memory_info
        client.report(bomb, Content_Encoding=coding)
        before = memory().rss
        for _ in range(20):
            answer = client.report(bomb, Content_Encoding=coding)
            assert (answer.status, answer.code) == (413, "BodyTooLarge")
            assert "ingest_max_expanded_bytes" in answer.json["Error"]["Reason"]
        assert memory().rss - before < 20 << 20


class TestHttp:
    async def test_every_answer_has_a_request_id(self, client: Client) -> None:
        answers = [
            client.send("GET", "/v1/time"),
            client.send("GET", "/nothing"),
            client.send("GET", "/v1/events"),
            client.send("PATCH", "/v1/reports"),
            client.send("OPTIONS", "/v1/reports"),
            client.report(b"{"),
            client.signed("/v1/events", b" " * 60_000),
            client.send("GET", "/healthz"),
            client.send("GET", "/x", A="b" * 9000),
        ]
        assert [a.status for a in answers] == [200, 404, 405, 405, 204, 400, 413, 200, 400]
        ids = {a.headers["x-request-id"] for a in answers}
        assert len(ids) == len(answers)
        for answer in answers:
            if answer.status >= 400:
                assert answer.json["RequestId"] == answer.headers["x-request-id"]
                assert answer.json["Error"]["Reason"]
                assert answer.headers["content-type"].startswith("application/json")
        assert answers[2].headers["allow"] == "POST"

    async def test_pages_of_any_origin_may_report(self, client: Client) -> None:
        preflight = client.send(
            "OPTIONS", "/v1/reports", Origin="https://x.example", Access_Control_Request_Method="POST"
        )
        assert preflight.status == 204
        assert "POST" in preflight.headers["access-control-allow-methods"]
        assert {"content-type", "content-encoding"} <= {
            name.strip().lower() for name in preflight.headers["access-control-allow-headers"].split(",")
        }
        answers = [
            preflight,
            client.report(encoded(report(client.application)), Origin="https://x.example"),
            client.report(b"{", Origin="https://x.example"),
            client.send("DELETE", "/v1/reports", Origin="https://x.example"),
            client.send("GET", "/v1/time", Origin="https://x.example"),
        ]
        for answer in answers:
            assert answer.headers["access-control-allow-origin"] == "*"
            assert "access-control-allow-credentials" not in answer.headers
        assert "access-control-allow-origin" not in client.signed("/v1/events", b"[]").headers

    async def test_time(self, client: Client) -> None:
        before = now_ms()
        assert before <= client.send("GET", "/v1/time").json["ServerMs"] <= now_ms()

    async def test_metrics_count(self, client: Client) -> None:
        client.signed("/v1/events", encoded([event(1), 5]))
        text = client.send("GET", "/metrics").body.decode()
        assert 'roompulse_ingest_items_rejected_total{code="InvalidParameter",kind="events"}' in text
        assert 'roompulse_ingest_requests_total{path="/v1/events",status="200"}' in text
        assert "roompulse_ingest_waiting_bytes 0.0" in text

    @pytest.mark.parametrize(
        "raw",
        [
            b"NONSENSE\r\n\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
            b"POST /v1/reports HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
            b"POST /v1/reports HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"POST /v1/reports HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
            b"POST /v1/reports HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}xx\r\n0\r\n\r\n",
            b"POST /v1/reports HTTP/1.1\r\nHost: x\r\nBad Header: 1\r\nContent-Length: 2\r\n\r\n{}",
            b"POST /v1/reports HTTP/1.1\r\nHost: x\r\nExpect: magic\r\nContent-Length: 2\r\n\r\n{}",
            b"POST /v1/\xff HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}",
        ],
    )
    async def test_what_is_no_http_is_a_4xx_of_our_shape(self, world: World, raw: bytes) -> None:
        with world.connect() as connection:
            connection.sendall(raw)
            connection.settimeout(3)
            head, _, body = connection.recv(65536).partition(b"\r\n\r\n")
        status = int(head.split(b" ")[1])
        assert 400 <= status < 500
        assert b"X-Request-Id: " in head
        assert msgspec.json.decode(body)["Error"]["Code"]

    async def test_a_chunked_body(self, world: World, client: Client) -> None:
        body = encoded(report(client.application, user="grace"))
        chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:100], body[100:])) + b"0\r\n\r\n"
        head = b"POST /v1/reports HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        with world.connect() as connection:
            connection.sendall(head + chunks)
            assert b" 200 " in connection.recv(65536)
        endless = b"".join(b"3e8\r\n%s\r\n" % (b" " * 1000) for _ in range(60))
        with world.connect() as connection:
            connection.sendall(head + endless)
            answer = connection.recv(65536)
            assert b" 413 " in answer
            assert b"ingest_max_body_bytes" in answer

    async def test_a_body_that_never_ends_is_given_up(self, world: World) -> None:
        with world.connect() as connection:
            connection.sendall(b"POST /v1/reports HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
            assert b" 408 " in connection.recv(65536)

    async def test_who_goes_away_takes_nobody_along(self, world: World, client: Client) -> None:
        number, body = world.number(), encoded(report(client.application, user="heidi"))
        head = b"POST /v1/reports HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
        for _ in range(20):
            with world.connect() as connection:
                connection.sendall(head + body[:-20])
            with world.connect() as connection:
                connection.sendall(head + body)  # and does not wait for the answer
        assert client.signed("/v1/events", encoded(event(number))).status == 200
        assert client.report(encoded(report(client.application, user="heidi", seq=2))).status == 200
        assert 2 in {r.seq for r in await world.reports() if r.user_id == "heidi"}
        assert f"event-{number}" in {e.event_id for e in await world.events()}
        assert "Traceback" not in world.ingest.last_lines(1000)


@pytest.mark.skipif(not all(map(shutil.which, ("sh", "curl", "openssl"))), reason="curl or openssl is missing")
async def test_the_examples_of_the_documentation_work(world: World, client: Client) -> None:
    page = (Path(__file__).parents[2] / "docs" / "ingest.md").read_text("utf-8")
    blocks = [textwrap.dedent(block) for block in re.findall(r"(?:^ {4}.*\n)+", page, re.MULTILINE) if "curl" in block]
    assert len(blocks) == 3
    script = "\n".join(blocks)
    for there, here in (
        ("http://127.0.0.1:8081", world.ingest.url),
        ("1400000001", str(client.application.sdk_app_id)),
        (".venv/bin/roompulse", f"{sys.executable} -m services"),
    ):
        assert there in script
        script = script.replace(there, here)
    process = await asyncio.create_subprocess_exec(
        "sh", "-euc", script, env={**os.environ, **world.stack.environment}, stdout=subprocess.PIPE
    )
    answers, _ = await process.communicate()
    assert process.returncode == 0
    assert re.findall(rb"HTTP/1.1 (\d+)", answers) == [b"200"] * 3
    assert re.findall(rb'"Accepted":(\d+),"Rejected":\[\]', answers) == [b"1", b"1", b"3"]


async def test_before_kafka_is_there_everybody_is_asked_to_come_again(tmp_path_factory: pytest.TempPathFactory) -> None:
    with Stack(tmp_path_factory.mktemp("lonely")) as stack:
        world = World(stack)
        world.ingest.launch()
        application = world.store.create("early")
        with world.client(application) as client:
            deadline = time.monotonic() + 20
            while True:
                try:
                    client.send("GET", "/healthz")
                    break
                except OSError:
                    client.close()
                    assert time.monotonic() < deadline
                    await asyncio.sleep(0.05)
            ready = client.send("GET", "/readyz")
            assert (ready.status, ready.json["Checks"]["Kafka"]) == (503, False)
            for answer in (
                client.signed("/v1/events", encoded(event(1))),
                client.signed("/v1/tasks", encoded(task(1))),
                client.report(encoded(report(application))),
            ):
                assert (answer.status, answer.code) == (503, "ServiceUnavailable")
                assert int(answer.headers["retry-after"]) > 0
        began = time.monotonic()
        assert world.ingest.stop() == 0
        assert time.monotonic() - began < 3
        world.store.close()


async def test_sigterm_answers_who_waits(kafka: KafkaBroker, tmp_path_factory: pytest.TempPathFactory) -> None:
    data = tmp_path_factory.mktemp("ending")
    async with world_on(kafka, data, ROOMPULSE_INGEST_LINGER_MS="60000") as world:
        application = await world.application()
        with world.client(application) as client:
            await until_known(client)
            waiting = asyncio.create_task(asyncio.to_thread(client.report, encoded(report(application, user="ivan"))))
            await asyncio.sleep(0.3)
            assert not waiting.done()
            began = time.monotonic()
            assert await asyncio.to_thread(world.ingest.stop) == 0
            assert time.monotonic() - began < 3
            assert (await waiting).status == 200
        assert "ivan" in {r.user_id for r in await world.reports()}


def nested(depth: int) -> Any:
    """A list in a list in a list."""
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


async def test_a_client_is_placed_by_its_address_which_is_not_kept(
    world: World, client: Client, application: Application
) -> None:
    user = f"placed-{world.number()}"
    body = encoded(report(application, user=user, Client={"Role": 20}))
    answer = client.report(body, X_Forwarded_For="203.0.113.9, 81.2.69.142")
    assert answer.status == 200
    (found,) = [one for one in await world.reports() if one.user_id == user]
    assert (found.region, found.isp) == ("Bavaria, Germany", "Munich Net")
    assert not [record for record in await world.records(QUALITY) if b"81.2.69.142" in (record.value or b"")]
