"""Real calls through everything: two pages and their web clients, ingest, Kafka, the processor, ClickHouse, callbacks.

Two calls of two users are held at the same time, alike in everything but one: in one of them the sender of a picture
pauses for two seconds. "Pauses" is `RTCRtpEncodingParameters.active = false`: the browser stops sending and the track
stays live and unmuted on both sides, as when an encoder hangs or a network swallows a stream. (A track that is
disabled goes on sending black frames, which is no freeze; one that is replaced by null freezes the same way, but then
the sender has no track any more.) The calls' rooms are the number 8801 and the text "8801", two rooms of one name.

Meanwhile a third user is alone in a lobby, with everything that can go wrong between a page and ingest: a wrong UserSig
at first, a report of yesterday that was never confirmed, and one so large that it is compressed.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import orjson
import pytest
import TLSSigAPIv2

from schemas.callbacks import sign
from services.console.publisher import publish_applications
from services.console.store import ApplicationStore
from services.runtime import usersig
from tests.browser import priority
from tests.browser.call import Call, Party
from tests.browser.media_server import MediaServer
from tests.support.receiver import Receiver

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from playwright.async_api import Browser

    from schemas.applications import Application
    from services.runtime.settings import Settings
    from tests.support.receiver import Received
    from tests.support.stack import Stack

pytestmark = pytest.mark.timeout(300)
PYPI: Any = TLSSigAPIv2
CALLBACK_KEY = "Callback123"
DELAY_MS = 20
FREEZE_MS = 2000
USERS = ("alice", "bob")
EVENT = 4001
EVENTS = 300
"""Of the user who is alone: more than 8 kB of them."""
PICTURE = "Stream = 'big'"
SETTLE_S = 60.0
FACTS = ("samples", "streams", "clients", "client_events")


@dataclass
class Held:
    """A call that is over, and what it was."""

    room_id: int | str
    sessions: dict[str, str]
    """User to session."""
    clients: dict[str, dict[str, Any]]
    """User to what the web client saw: `errors`, and the numbers of `accepted` reports."""
    posted: list[dict[str, Any]]
    """Events of the media server."""
    paused: dict[str, Any] | None = None
    """`start`, Unix milliseconds, and how the tracks were in the middle of it: `sent` and `received`."""


COUNTED = """
SELECT toString(toDateTime64(Place * 10, 3, 'UTC')) AS Bucket,
    uniqExact(RoomId, RoomIdType, UserId) AS OnlineUsers, uniqExact(RoomId, RoomIdType) AS OnlineRooms
FROM (
    SELECT RoomId, RoomIdType, UserId, intDiv(toUnixTimestamp64Milli(StartTime), 10000) AS Place
    FROM {db}.samples WHERE {here}
    UNION ALL
    SELECT RoomId, assumeNotNull(RoomIdType), UserId, arrayJoin(range(
        intDiv(toUnixTimestamp64Milli(minIf(EventTime, EventType = 103)), 10000),
        intDiv(toUnixTimestamp64Milli(maxIf(EventTime, EventType = 104)) + 9999, 10000)
    ))
    FROM {db}.events FINAL WHERE {here} AND EventType IN (103, 104)
    GROUP BY RoomId, RoomIdType, UserId
    HAVING countIf(EventType = 104) > 0
)
GROUP BY Bucket ORDER BY Bucket
"""


@dataclass
class Alone:
    """The stay of the user in the lobby, who has no connection."""

    client: dict[str, Any]
    """What the web client saw."""
    late: dict[str, Any]
    """The report of yesterday."""


class Facts:
    """Rows of ClickHouse about the calls."""

    def __init__(self, stack: Stack, application: Application, receiver: Receiver) -> None:
        self._stack = stack
        self.application = application
        self.receiver = receiver
        self.calls: dict[str, Held] = {}
        self.alone: Alone

    def rows(self, call: Held | None, sql: str, **names: str) -> list[dict[str, Any]]:
        """The rows of a query, in which `{here}` is the condition for the application and the call's room."""
        here = f"SdkAppId = {self.application.sdk_app_id}"
        if call is not None:
            here += f" AND RoomId = '{call.room_id}' AND RoomIdType = {int(isinstance(call.room_id, str))}"
        database = self._stack.settings.clickhouse_database
        text = sql.replace("{here}", here).replace("{db}", database)
        answer = self._stack.clickhouse.query(f"{text} FORMAT JSON SETTINGS output_format_json_quote_64bit_integers=0")
        found: list[dict[str, Any]] = orjson.loads(answer)["data"]
        return found

    def value(self, call: Held | None, sql: str) -> Any:
        """The only value of the only row."""
        (row,) = self.rows(call, sql)
        (value,) = row.values()
        return value

    async def settle(self) -> None:
        """Until every report has become facts and every fact has been added up."""
        deadline = time.monotonic() + SETTLE_S
        counts: list[int] = []
        while True:
            missing = [what for call in self.calls.values() for what in self._missing(call)] + self._missing_alone()
            before, counts = (
                counts,
                [self.value(None, f"SELECT count() FROM {{db}}.{table} WHERE {{here}}") for table in FACTS],
            )
            # The last report of a user may still be on its way from table to table.
            if not missing and counts == before:
                return
            assert time.monotonic() < deadline, f"the pipeline did not settle: {missing}, {counts}"
            await asyncio.sleep(0.25 if missing else 1)

    def lobby(self, sql: str) -> Any:
        """The only value of the only row about the user in the lobby."""
        return self.value(None, f"{sql} AND UserId = 'carol' AND RoomId = 'lobby'")

    def _missing_alone(self) -> list[str]:
        events = self.lobby(f"SELECT count() FROM {{db}}.client_events FINAL WHERE {{here}} AND EventId = {EVENT}")
        left = self.lobby("SELECT countIf(LeaveTime IS NOT NULL) FROM {db}.clients FINAL WHERE {here}")
        found = {
            "events": events == EVENTS,
            "last report": left == 1,
            "online users of the application": self.online() == self.counted(),
        }
        return [f"the lobby: {what}" for what, there in found.items() if not there]

    def online(self) -> list[dict[str, Any]]:
        """What the processor says of how many were online, in ten seconds each."""
        columns = "toString(BucketTime) AS Bucket, OnlineUsers, OnlineRooms"
        return self.rows(None, f"SELECT {columns} FROM {{db}}.app_10s FINAL WHERE {{here}} ORDER BY Bucket")

    def counted(self) -> list[dict[str, Any]]:
        """The same, counted in the samples and in the events of entering and leaving, which may have no sample near."""
        return self.rows(None, COUNTED)

    def _missing(self, call: Held) -> list[str]:
        columns = "uniqExactIf(SessionId, LeaveTime IS NOT NULL)"
        left = self.value(call, f"SELECT {columns} FROM {{db}}.clients WHERE {{here}}")
        events = self.value(call, "SELECT count() FROM {db}.events FINAL WHERE {here}")
        ended = self.value(call, "SELECT count() FROM {db}.calls WHERE {here} AND CloseTime IS NOT NULL")
        stays = self.value(call, "SELECT count() FROM {db}.stays WHERE {here} AND ExitTime IS NOT NULL")
        facts = {
            "last reports": left == len(USERS),
            "events": events == len(call.posted),
            "end of the call": ended == 1,
            "stays": stays == len(USERS),
        }
        for kind, stream in (("Video", "big"), ("Audio", "audio")):
            played = f"SELECT sum(PlayMs) FROM {{db}}.streams FINAL WHERE {{here}} AND Stream = '{stream}'"
            added = f"SELECT sum({kind}PlayMs) FROM {{db}}.%s_10s FINAL WHERE {{here}}"
            facts[f"{kind} of the room"] = self.value(call, played) == self.value(call, added % "room") > 0
            facts[f"{kind} of the application"] = self.value(None, played) == self.value(None, added % "app") > 0
        return [f"{call.room_id!r}: {what}" for what, there in facts.items() if not there]


@pytest.fixture(scope="module")
async def facts(stack: Stack, settings: Settings, browser: Browser, page_url: str) -> AsyncIterator[Facts]:
    """Both calls, held and settled."""
    store = ApplicationStore(settings)
    created = store.create("calls")
    async with Receiver() as receiver:
        application = store.set_callback(
            created.sdk_app_id,
            key=CALLBACK_KEY,
            room_url=receiver.url("/room"),
            media_url=receiver.url("/media"),
        )
        store.close()
        await publish_applications(settings, [application])
        await asyncio.to_thread(stack.start, "ingest", "processor", "dispatcher")
        facts = Facts(stack, application, receiver)
        ingest = stack.services["ingest"].url
        with priority.first():
            frozen, steady, facts.alone = await asyncio.gather(
                hold(browser, page_url, ingest, application, 8801, pause=True),
                hold(browser, page_url, ingest, application, "8801", pause=False),
                stay_alone(browser, page_url, ingest, application),
            )
        facts.calls = {"frozen": frozen, "steady": steady}
        await facts.settle()
        yield facts


async def hold(
    browser: Browser, page_url: str, ingest: str, application: Application, room_id: int | str, *, pause: bool
) -> Held:
    """A call of Alice and Bob, in which Alice's picture may pause."""
    sdk_app_id, key, now = application.sdk_app_id, application.secret_key, int(time.time())
    sigs = {
        "alice": usersig.generate(sdk_app_id, key, "alice", now=now, expire=600),
        "bob": PYPI.TLSSigAPIv2(sdk_app_id, key).gen_sig("bob", 600),
    }
    common = {"endpoint": ingest, "sdkAppId": sdk_app_id, "roomId": room_id, "role": 20, "joinCostMs": 120}
    parties = [Party(user, {**common, "userId": user, "userSig": sigs[user]}) for user in USERS]
    paused = None
    async with (
        Call(browser, page_url, delay_ms=DELAY_MS) as call,
        MediaServer(ingest, application, room_id) as media,
    ):
        await media.opened(*USERS)
        sessions = await call.enter(*parties)
        await asyncio.sleep(5)
        if pause:
            paused = await call.pause(0, "video", FREEZE_MS)
        else:
            await asyncio.sleep(FREEZE_MS / 1000)
        await asyncio.sleep(4)
        clients = await call.leave()
        await media.closed(*USERS)
    return Held(
        room_id,
        dict(zip(USERS, sessions, strict=True)),
        dict(zip(USERS, clients, strict=True)),
        media.posted,
        paused,
    )


async def stay_alone(browser: Browser, page_url: str, ingest: str, application: Application) -> Alone:
    """Carol's stay in the lobby."""
    sdk_app_id, now = application.sdk_app_id, int(time.time())
    yesterday_ms = (now - 20 * 3600) // 2 * 2000
    late = {
        "SdkAppId": sdk_app_id,
        "UserId": "carol",
        "RoomId": "lobby",
        "SessionId": "yesterday",
        "Seq": 3,
        "SentMs": yesterday_ms + 2000,
        "Samples": [{"StartMs": yesterday_ms, "DurMs": 2000, "Rtt": 77, "Local": [], "Remote": []}],
        "Events": [],
    }
    stored = [f"roompulse:{sdk_app_id}:carol:yesterday:3", orjson.dumps(late).decode()]
    options = {"endpoint": ingest, "sdkAppId": sdk_app_id, "roomId": "lobby", "userId": "carol"}
    context = await browser.new_context()
    page = await context.new_page()
    await page.goto(page_url)
    await page.wait_for_function("() => window.call !== undefined")
    await page.evaluate("([key, body]) => localStorage.setItem(key, body)", stored)
    wrong = usersig.generate(sdk_app_id, "another key", "carol", now=now)
    await page.evaluate("options => call.enter(options)", {**options, "userSig": wrong})
    await page.wait_for_function("() => call.state.errors.some(({ kind }) => kind === 'unauthorized')")
    right = usersig.generate(sdk_app_id, application.secret_key, "carol", now=now)
    await page.evaluate("sig => call.state.client.updateUserSig(sig)", right)
    await page.evaluate(
        f"() => {{ for (let i = 0; i < {EVENTS}; i += 1) call.state.client.reportEvent({EVENT}, {{ paramOne: i }}); }}"
    )
    client = await page.evaluate("() => call.leave()")
    await context.close()
    return Alone(client, late)


@pytest.fixture(params=["frozen", "steady"])
def call(request: pytest.FixtureRequest, facts: Facts) -> Held:
    """Each of the calls."""
    held: Held = facts.calls[request.param]
    return held


def test_every_report_is_accepted(call: Held) -> None:
    """Maybe not at once: a busy machine may say 503, and then the report comes again."""
    for client in call.clients.values():
        assert {(error["kind"], error["status"]) for error in client["errors"]} <= {("network", 503)}
        assert client["accepted"] == list(range(1, len(client["accepted"]) + 1))


@pytest.mark.parametrize("user", USERS)
def test_samples(facts: Facts, call: Held, user: str) -> None:
    """They cover the call without a gap; the round trip is the delay of the way, there and back."""
    samples = facts.rows(
        call,
        "SELECT *, toUnixTimestamp64Milli(StartTime) AS StartMs FROM {db}.samples FINAL "
        f"WHERE {{here}} AND UserId = '{user}' ORDER BY StartTime",
    )
    assert {sample["SessionId"] for sample in samples} == {call.sessions[user]}
    assert sum(sample["DurMs"] for sample in samples) >= 10_000
    for sample, following in pairwise(samples):
        assert sample["StartMs"] + sample["DurMs"] == following["StartMs"]
    for sample in samples:
        assert sample["StartMs"] // 2000 == (sample["StartMs"] + sample["DurMs"] - 1) // 2000
        assert sample["Rtt"] >= 2 * DELAY_MS
        if sample["DurMs"] >= 1000:
            assert sample["SentBytes"] > 0
            assert sample["ReceivedBytes"] > 0
        # What a page cannot know is unknown, and not zero.
        assert (sample["AppCpu"], sample["SysCpu"], sample["GatewayRtt"]) == (None, None, None)


@pytest.mark.parametrize("user", USERS)
def test_streams(facts: Facts, call: Held, user: str) -> None:
    """Size, bitrate and frames of what each user sent and received."""
    peer = USERS[1 - USERS.index(user)]
    streams = facts.rows(
        call, f"SELECT * FROM {{db}}.streams FINAL WHERE {{here}} AND UserId = '{user}' ORDER BY StartTime"
    )
    whole = [stream for stream in streams if stream["DurMs"] == 2000]
    assert {(stream["PeerId"], stream["Stream"]) for stream in whole} == {
        (whose, kind) for whose in ("", peer) for kind in ("audio", "big")
    }
    for stream in (stream for stream in whole if stream["Stream"] == "big"):
        assert (stream["Width"], stream["Height"]) == (320, 240)
        assert stream["RenderFps"] is None
        own = stream["PeerId"] == ""
        assert [stream[name] is not None for name in ("CapFps", "EncFps", "SendFps")] == [own] * 3
        assert [stream[name] is not None for name in ("RecFps", "DecFps", "DelayMs", "PlayMs")] == [not own] * 4
    for stream in (stream for stream in whole if stream["Stream"] == "audio"):
        assert (stream["Width"], stream["Height"], stream["CapFps"], stream["DecFps"]) == (None,) * 4
    for kind, least in (("big", 10_000), ("audio", 1_000)):
        rates = [stream["Bitrate"] for stream in whole if stream["Stream"] == kind]
        # A pause may empty one sample; all others have a bitrate.
        assert sum(rate > least for rate in rates) >= len(rates) - (call.paused is not None)


def test_clients(facts: Facts, call: Held) -> None:
    """Who the users were: said at the beginning, and when they left."""
    rows = facts.rows(call, "SELECT * FROM {db}.clients FINAL WHERE {here} ORDER BY UserId, Seq")
    for user in USERS:
        of_user = [row for row in rows if row["UserId"] == user]
        assert {row["SessionId"] for row in of_user} == {call.sessions[user]}
        assert of_user[0]["Seq"] == 1
        for row in of_user:
            assert (row["Role"], row["TerminalType"], row["UserType"]) == (20, 4, 1)
            assert (row["SdkType"], row["SdkVersion"]) == ("webrtc", "0.1.0")
            assert row["DeviceModel"].startswith("Chrome ")
            assert (row["JoinCostMs"], row["JoinResult"], row["NetworkType"]) == (120, 0, None)
        assert [row["LeaveReason"] for row in of_user] == [None] * (len(of_user) - 1) + [1]
        events = facts.rows(
            call, f"SELECT EventId FROM {{db}}.client_events FINAL WHERE {{here}} AND UserId = '{user}'"
        )
        assert {event["EventId"] for event in events} == {32788, 32768, 32769, 32789}


def test_two_seconds_without_frames_are_a_stutter_of_two_seconds(facts: Facts) -> None:
    call = facts.calls["frozen"]
    assert call.paused is not None
    assert call.paused["sent"] == call.paused["received"] == {"muted": False, "readyState": "live"}
    (episode,) = facts.rows(
        call,
        "SELECT UserId, PeerId, SessionId, toUnixTimestamp64Milli(EpisodeTime) AS StartMs, EpisodeMs "
        f"FROM {{db}}.episodes WHERE {{here}} AND {PICTURE}",
    )
    assert (episode["UserId"], episode["PeerId"]) == ("bob", "alice")
    assert episode["SessionId"] == call.sessions["bob"]
    assert episode["EpisodeMs"] == pytest.approx(FREEZE_MS, abs=200)
    assert episode["StartMs"] == pytest.approx(call.paused["start"], abs=500)
    added = facts.value(call, "SELECT sum(VideoStutterMs) FROM {db}.room_10s WHERE {here}")
    assert added == episode["EpisodeMs"]


def test_the_same_call_without_the_pause_has_no_stutter(facts: Facts) -> None:
    call = facts.calls["steady"]
    assert facts.rows(call, f"SELECT * FROM {{db}}.episodes WHERE {{here}} AND {PICTURE}") == []
    sums = "SELECT sum(VideoStutterMs) AS Stutter, sum(VideoPlayMs) AS Play FROM {db}.room_10s WHERE {here}"
    (added,) = facts.rows(call, sums)
    assert added["Stutter"] == 0
    # Two users who see each other for eleven seconds.
    assert added["Play"] >= 20_000


def test_rollups_of_the_application(facts: Facts) -> None:
    sums = "sum(VideoStutterMs) AS Video, sum(VideoPlayMs) AS Play, sum(AudioPlayMs) AS Sound"
    rooms = facts.rows(None, f"SELECT {sums} FROM {{db}}.room_10s WHERE {{here}}")
    assert facts.rows(None, f"SELECT {sums} FROM {{db}}.app_10s FINAL WHERE {{here}}") == rooms
    assert facts.online() == facts.counted()
    assert max(row["OnlineUsers"] for row in facts.online()) in (4, 5)


def test_calls_and_stays(facts: Facts, call: Held) -> None:
    """They are what the media server said, to the millisecond."""
    times: dict[tuple[int, str | None], int] = {
        (event["EventType"], event["EventInfo"].get("UserId")): event["EventInfo"]["EventMsTs"] for event in call.posted
    }
    (row,) = facts.rows(
        call,
        "SELECT toUnixTimestamp64Milli(StartTime) AS StartMs, toUnixTimestamp64Milli(CloseTime) AS CloseMs, "
        "CreatorId, JoinedUsers, Status FROM {db}.calls WHERE {here}",
    )
    assert row == {
        "StartMs": times[101, "alice"],
        "CloseMs": times[102, None],
        "CreatorId": "alice",
        "JoinedUsers": 2,
        "Status": "ended",
    }
    stays = facts.rows(
        call,
        "SELECT UserId, toUnixTimestamp64Milli(EnterTime) AS EnterMs, toUnixTimestamp64Milli(ExitTime) AS ExitMs, "
        "Role, TerminalType, UserType, EnterReason, ExitReason FROM {db}.stays WHERE {here} ORDER BY UserId",
    )
    known = {"Role": 20, "TerminalType": 4, "UserType": 1, "EnterReason": 1, "ExitReason": 1}
    assert stays == [
        {"UserId": user, "EnterMs": times[103, user], "ExitMs": times[104, user], **known} for user in USERS
    ]


async def test_callbacks(facts: Facts) -> None:
    """Every event comes to the customer's server once, signed, at the URL of its group."""
    posted = [event for call in facts.calls.values() for event in call.posted]
    receiver = facts.receiver
    await receiver.wait_for(lambda: len(receiver.requests) >= len(posted))

    def content(event: dict[str, Any]) -> bytes:
        return orjson.dumps([event["EventGroupId"], event["EventType"], event["EventInfo"]])

    def verified(request: Received) -> dict[str, Any]:
        assert request.header("SdkAppId") == str(facts.application.sdk_app_id)
        assert request.header("Sign") == sign(CALLBACK_KEY, request.body)
        event: dict[str, Any] = request.json
        assert request.target == ("/room" if event["EventGroupId"] == 1 else "/media")
        return event

    received = Counter(content(verified(request)) for request in receiver.requests)
    assert received == Counter(content(event) for event in posted)


def test_a_wrong_usersig_stops_nothing_for_good(facts: Facts) -> None:
    """The page hears of it in words, and with the right one everything arrives, compressed or not."""
    client = facts.alone.client
    (error,) = (error for error in client["errors"] if error["kind"] != "network")
    assert (error["kind"], error["status"], error["code"]) == ("unauthorized", 401, "sig not match")
    late, *accepted = client["accepted"]
    assert late == facts.alone.late["Seq"]
    assert accepted == list(range(1, len(accepted) + 1))
    seen = "SELECT sum(DurMs) FROM {db}.samples FINAL WHERE {here} AND SessionId != 'yesterday'"
    assert facts.lobby(seen) > 0
    assert (
        facts.lobby("SELECT uniqExact(ParamOne) FROM {db}.client_events FINAL WHERE {here} AND ParamOne >= 0") == EVENTS
    )


def test_a_report_of_yesterday_counts_yesterday(facts: Facts) -> None:
    late = facts.alone.late
    start = (
        "SELECT toUnixTimestamp64Milli(any(StartTime)) FROM {db}.samples FINAL WHERE {here} AND SessionId = 'yesterday'"
    )
    assert facts.lobby(start) == late["Samples"][0]["StartMs"]
    assert facts.lobby("SELECT any(Rtt) FROM {db}.samples FINAL WHERE {here} AND SessionId = 'yesterday'") == 77
