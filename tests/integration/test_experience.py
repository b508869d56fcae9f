"""What users went through, from what was posted to the views, by the real engine, against rows written by hand."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

from services.processor.limits import Limits, limit_rows
from services.runtime.clock import now_ms
from services.runtime.settings import Settings
from tests.support.processing import Worker

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.processor.store import Store


HOUR_MS, MINUTE_MS, STEP_MS = 3_600_000, 60_000, 2_000
# Noon of the day before yesterday: everything that begins here is over by now, and its day has no other one's hours.
T = (now_ms() // (24 * HOUR_MS) - 2) * 24 * HOUR_MS + 12 * HOUR_MS
_apps = count(1_600_000_001)


class Application:
    """One application, a worker that takes in what it posts, and its views. Times count from `T`."""

    def __init__(self, store: Store) -> None:
        self.sdk_app_id = next(_apps)
        self._store = store
        self._worker = Worker(store)
        self._offset = 0
        self._seq = count(1)

    async def events(self, *events: tuple[int, int, str], room: int | str = 7, **info: Any) -> None:
        """(type, milliseconds, user) each."""
        posted = [
            {
                "EventGroupId": 1,
                "EventType": kind,
                "EventInfo": {"RoomId": room, "EventMsTs": T + at, "UserId": user, **info},
            }
            for kind, at, user in events
        ]
        await self._worker.take_events(self.sdk_app_id, *posted)
        await self._worker.recompute()

    async def report(
        self, user: str, at: int = 0, samples: list[dict[str, Any]] | None = None, session: str = "", **more: Any
    ) -> None:
        """One report whose samples follow one another, each two seconds long unless it says otherwise."""
        report = {
            "SdkAppId": self.sdk_app_id,
            "UserId": user,
            "RoomId": 7,
            "SessionId": session or f"{user}-{at}",
            "Seq": next(self._seq),
            "SentMs": T + at + STEP_MS * len(samples or []),
            "Samples": [
                {"StartMs": T + at + STEP_MS * number, "DurMs": STEP_MS, **sample}
                for number, sample in enumerate(samples or [])
            ],
            **more,
        }
        await self._worker.take([(0, self._offset, [report])])
        self._offset += 1
        await self._worker.recompute()

    async def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Rows of a query with `{app:UInt32}`; times as milliseconds from `T`."""
        found = await self._store.query("test", sql, {"app": self.sdk_app_id})
        return [tuple(_plain(value) for value in row) for row in found]

    async def abnormal(self, since: int = -HOUR_MS, until: int = HOUR_MS) -> list[tuple[Any, ...]]:
        """(user, peer, event, start, end) of abnormal events."""
        return await self.rows(
            "SELECT UserId, PeerId, AbnormalEventId, StartTime, EndTime FROM "
            f"abnormal_events(app = {{app:UInt32}}, since = '{_text(since)}', until = '{_text(until)}') ORDER BY ALL"
        )

    async def experiences(self, since: int = -HOUR_MS, until: int = HOUR_MS) -> list[tuple[Any, ...]]:
        """(user, peer, experience, start, end, causes) of abnormal experiences."""
        return await self.rows(
            "SELECT UserId, PeerId, ExperienceId, StartTime, EndTime, "
            "arrayMap(cause -> (cause.1, cause.2), Causes) FROM "
            f"abnormal_experiences(app = {{app:UInt32}}, since = '{_text(since)}', until = '{_text(until)}') "
            "ORDER BY ALL"
        )


@pytest.fixture
def application(store: Store) -> Application:
    return Application(store)


def device(field: str) -> Callable[[float | None], dict[str, Any]]:
    """Samples with this value of a field."""
    return lambda value: {} if value is None else {field: value}


def sent(kind: str, field: str, **others: Any) -> Callable[[float | None], dict[str, Any]]:
    """Samples of one stream that is sent, with this value of a field."""
    return lambda value: {"Local": [{"Type": kind, **others, **({} if value is None else {field: value})}]}


def received(kind: str, field: str, **others: Any) -> Callable[[float | None], dict[str, Any]]:
    """Samples of one stream that is received, with this value of a field."""
    return lambda value: {
        "Remote": [{"UserId": "p", "Type": kind, **others, **({} if value is None else {field: value})}]
    }


MEASURED: dict[int, tuple[str, Callable[[float | None], dict[str, Any]], str, float, float]] = {
    2001: ("system CPU", device("SysCpu"), "", 85.0, 85.5),
    2002: ("CPU of the application", device("AppCpu"), "", 85.0, 85.5),
    2003: ("upstream latency", device("Rtt"), "", 400, 401),
    2005: ("loss of sent sound", sent("audio", "Loss"), "", 10.0, 10.5),
    2007: ("loss of the sent main picture", sent("big", "Loss"), "", 10.0, 10.5),
    2008: ("loss of the sent small picture", sent("small", "Loss"), "", 10.0, 10.5),
    2009: ("loss of the sent screen", sent("sub", "Loss"), "", 10.0, 10.5),
    2010: ("captured frames of the main picture", sent("big", "CapFps"), "", 10.0, 9.5),
    2011: ("captured frames of the small picture", sent("small", "CapFps"), "", 10.0, 9.5),
    2012: ("captured frames of the screen", sent("sub", "CapFps"), "", 5.0, 4.5),
    2013: ("downstream latency", received("audio", "DelayMs"), "p", 400, 401),
    2014: ("downstream jitter", received("big", "JitterMs"), "p", 100, 101),
    2015: ("loss of received sound", received("audio", "Loss"), "p", 10.0, 10.5),
    2017: ("loss of the received main picture", received("big", "Loss"), "p", 10.0, 10.5),
    2018: ("loss of the received small picture", received("small", "Loss"), "p", 10.0, 10.5),
    2019: ("loss of the received screen", received("sub", "Loss"), "p", 10.0, 10.5),
    2020: ("rendered frames of the main picture", received("big", "RenderFps"), "p", 10.0, 9.5),
    2021: ("rendered frames of the small picture", received("small", "RenderFps"), "p", 10.0, 9.5),
    2022: ("rendered frames of the screen", received("sub", "RenderFps"), "p", 5.0, 4.5),
}
"""What two samples in a row show: (name, sample, peer, the last good value, a bad one)."""


@pytest.mark.parametrize("number", MEASURED, ids=lambda number: f"{number}-{MEASURED[number][0].replace(' ', '-')}")
async def test_abnormal_event(application: Application, number: int) -> None:
    _, sample, peer, good, bad = MEASURED[number]
    # One bad sample is nothing, nor are two with a good, an untold or no sample between them.
    values = [bad, good, bad, None, bad, good, bad, bad, good, bad, good, good, bad, good]
    await application.report("a", 0, [sample(value) for value in values])
    await application.report("a", 60_000, [sample(bad)], session="a-0")
    await application.report("a", 66_000, [sample(bad)], session="a-0")
    await application.report("b", 0, [sample(good)] * 5)
    assert await application.abnormal() == [("a", peer, number, 12_000, 20_000)]


async def test_abnormal_event_2001_by_the_time_of_a_task(application: Application) -> None:
    """Where a device does not tell its CPU."""
    await application.report("a", 0, [{"SdkTaskMs": 61}] * 2)
    await application.report("b", 0, [{"SdkTaskMs": 60}] * 2)
    await application.report("c", 0, [{"SdkTaskMs": 61, "SysCpu": 20}] * 2)
    assert await application.abnormal() == [("a", "", 2001, 0, 4_000)]


@pytest.mark.parametrize(
    ("number", "silent", "peer"),
    [(2006, sent("audio", "Volume"), ""), (2016, received("audio", "Volume"), "p")],
    ids=["2006-capture-volume", "2016-playback-volume"],
)
async def test_abnormal_event_silence(
    application: Application, number: int, silent: Callable[[float | None], dict[str, Any]], peer: str
) -> None:
    muted = {kind: [{**stream, "Muted": True} for stream in streams] for kind, streams in silent(0).items()}
    await application.report("a", 0, [silent(40), *[silent(0)] * 5, silent(40), silent(0)])
    # 9.999 seconds are not enough, and whoever is muted is silent by his own wish.
    await application.report("b", 0, [*[silent(0)] * 4, {**silent(0), "DurMs": 1_999}])
    await application.report("c", 0, [*[silent(0)] * 4, muted, *[silent(0)] * 4])
    events = [event for event in await application.abnormal() if event[2] in (2006, 2016)]
    assert events == [("a", peer, number, 2_000, 12_000)]


async def test_abnormal_event_2004_upstream_jitter(application: Application) -> None:
    """A bitrate of the main picture that swings by more than 30 % within ten seconds."""
    swinging = sent("big", "Bitrate")
    await application.report("a", 0, [swinging(rate) for rate in (1000, 1000, 699, 1000, 1000, 1000, 1000, 1000, 1000)])
    await application.report("b", 0, [swinging(rate) for rate in (1000, 1000, 700, 1000)])
    await application.report("c", 0, [sent("sub", "Bitrate")(rate) for rate in (1000, 10, 1000, 10)])
    await application.report("d", 0, [sent("big", "Bitrate", Muted=True)(rate) for rate in (1000, 10, 1000, 10)])
    assert await application.abnormal() == [("a", "", 2004, 4_000, 14_000)]


async def test_abnormal_event_2014_by_the_bitrate(application: Application) -> None:
    """Where a client does not tell its jitter."""
    rates = (1000, 600, 600)
    await application.report("a", 0, [received("big", "Bitrate")(rate) for rate in rates])
    await application.report("b", 0, [received("big", "Bitrate", JitterMs=10)(rate) for rate in rates])
    assert await application.abnormal() == [("a", "p", 2014, 2_000, 6_000)]


@pytest.mark.parametrize(
    ("number", "fps"),
    [(2010, sent("big", "CapFps")), (2020, received("big", "RenderFps"))],
    ids=["2010-captured", "2020-rendered"],
)
async def test_abnormal_event_of_frames_that_swing(
    application: Application, number: int, fps: Callable[[float | None], dict[str, Any]]
) -> None:
    await application.report("a", 0, [fps(rate) for rate in (20, 20, 14.9, 20, 20, 20, 20, 20)])
    await application.report("b", 0, [fps(rate) for rate in (20, 20, 15, 20)])
    # What is muted, or not meant to play, has no frames; the swing does not reach back over ten seconds.
    idle = [{"Local": [{"Type": "big", "CapFps": 0, "Muted": True}]}] * 2
    unwanted = [{"Remote": [{"UserId": "p", "Type": "big", "RenderFps": 0, "PlayMs": 0}]}] * 8
    await application.report("c", 0, [fps(20), *idle, *unwanted, *[fps(14)] * 2])
    found = await application.abnormal()
    assert [event[:5] for event in found] == [("a", "" if number == 2010 else "p", number, 4_000, 14_000)]


@pytest.mark.parametrize(
    ("number", "kind", "limit"),
    [(2023, "audio", 200), (2024, "big", 600), (2025, "small", 600), (2026, "sub", 600)],
    ids=["2023-sound", "2024-main-picture", "2025-small-picture", "2026-screen"],
)
async def test_abnormal_event_lag(application: Application, number: int, kind: str, limit: int) -> None:
    def stutters(*episodes: tuple[int, int]) -> dict[str, Any]:
        told = [[T + begun, length] for begun, length in episodes]
        return {"Remote": [{"UserId": "p", "Type": kind, "Stutters": told}]}

    await application.report(
        "a", 0, [stutters((100, limit), (1_500, 100)), stutters((1_500, limit + 1), (3_000, limit - 1))]
    )
    # Over ten seconds and more it is still one.
    await application.report("a", 8_000, [stutters((9_000, 1_000)), stutters((9_000, 3_000))])
    assert await application.abnormal() == [
        ("a", "p", number, 100, 100 + limit),
        ("a", "p", number, 1_500, 1_501 + limit),
        ("a", "p", number, 9_000, 12_000),
    ]


async def test_abnormal_events_that_clients_tell(application: Application) -> None:
    """1001 to 1032 are what the client says they are."""
    told = [{"AtMs": T + number, "EventId": number} for number in range(1000, 1034)]
    # With a parameter these are a headset, Bluetooth and the network of the SDK.
    others = [{"AtMs": T, "EventId": number, "ParamOne": 1} for number in (1001, 1002, 1003)]
    await application.report("a", 0, Events=told + others)
    assert await application.abnormal() == [("a", "", number, number, number) for number in range(1001, 1033)]


async def test_an_abnormal_event_is_the_same_from_wherever_it_is_looked_at(application: Application) -> None:
    lossy = received("big", "Loss")
    await application.report("a", 0, [lossy(0), *[lossy(20)] * 10, lossy(0), lossy(0)])
    found = [("a", "p", 2017, 2_000, 22_000)]
    assert await application.abnormal() == found
    assert await application.abnormal(10_000, 11_000) == found
    assert await application.abnormal(-60_000, 2_001) == found
    assert await application.abnormal(21_999, 60_000) == found
    assert await application.abnormal(-60_000, 2_000) == []
    assert await application.abnormal(22_001, 60_000) == []
    # The same once more changes nothing; a later word on a sample does.
    await application.report("a", 0, [lossy(0), *[lossy(20)] * 10, lossy(0), lossy(0)])
    assert await application.abnormal() == found
    await application.report("a", 4_000, [lossy(0), lossy(0)], session="a-0", SentMs=T + HOUR_MS)
    assert await application.abnormal() == [("a", "p", 2017, 8_000, 22_000)]


async def test_abnormal_experience_1_slow_entry(application: Application) -> None:
    await application.events((103, 5_001, "a"), (104, 60_000, "a"))
    await application.report("a", 5_001, [{"SysCpu": 90}] * 2, Client=joined(0, 5_001))
    await application.report("b", 5_001, [{"SysCpu": 10}] * 2, Client=joined(0, 5_000))
    # Who did not get in did not get in slowly.
    await application.report("c", 5_001, [{"SysCpu": 10}] * 2, Client=joined(0, 9_000, -1))
    assert await application.experiences() == [("a", "", 1, 0, 5_001, [(2001, "")])]


async def test_abnormal_experience_2_no_video(application: Application) -> None:
    """A picture that stands for ten seconds although it is meant to play."""
    picture = received("big", "RenderFps", RecFps=0)
    await application.report("a", 0, [picture(15), *[picture(0)] * 5, picture(15)])
    await application.report("b", 0, [picture(15), *[picture(0)] * 4, picture(15)])
    await application.report("c", 0, [received("big", "RenderFps", Muted=True)(0)] * 6)
    # What the peer met when sending is a likely cause, and so is what the user met alone.
    await application.report("p", 0, [sent("big", "CapFps")(0)] * 2)
    await application.report("a", 14_000, [{"Rtt": 500}] * 2, session="a-0")
    # What was longer ago is not, nor what others met.
    await application.report("p", 40_000, [sent("big", "Loss")(20)] * 2)
    await application.report("z", 0, [received("big", "Loss")(20)] * 2)
    assert await application.experiences() == [("a", "p", 2, 2_000, 12_000, [(2003, ""), (2010, "p")])]


async def test_abnormal_experience_3_no_audio(application: Application) -> None:
    sound = received("audio", "Volume", Loss=20)
    await application.report("a", 0, [sound(0)] * 5)
    await application.report("b", 0, [sound(0)] * 4)
    # Who cannot be heard by himself is not one who does not hear.
    await application.report("p", 0, [sent("audio", "Volume")(0)] * 5)
    assert await application.experiences() == [("a", "p", 3, 0, 10_000, [(2006, "p"), (2015, "p")])]


@pytest.mark.parametrize(
    ("number", "kind", "limit"),
    [(4, "big", 600), (4, "small", 600), (4, "sub", 600), (5, "audio", 200)],
    ids=["4-video-lag", "4-video-lag-small", "4-video-lag-screen", "5-audio-lag"],
)
async def test_abnormal_experience_lag(application: Application, number: int, kind: str, limit: int) -> None:
    """Stutters up to ten seconds apart are one."""
    stutters = [[T + begun, limit] for begun in (0, 10_000 + limit, 20_001 + 2 * limit)]
    stutters.append([T + 60_000, limit - 1])
    await application.report("a", 0, [{"Remote": [{"UserId": "p", "Type": kind, "Stutters": stutters}]}])
    await application.report("a", 2_000, [received(kind, "Loss")(50)] * 2, session="a-0")
    loss = {"audio": 2015, "big": 2017, "small": 2018, "sub": 2019}[kind]
    assert await application.experiences() == [
        ("a", "p", number, 0, 10_000 + 2 * limit, [(loss, "p")]),
        ("a", "p", number, 20_001 + 2 * limit, 20_001 + 3 * limit, []),
    ]


async def test_abnormal_experiences_belong_to_calls(application: Application) -> None:
    """The slow entry too, although it began before there was a call."""
    await application.events((103, -3_600_000, "a"), (104, -3_500_000, "a"))
    await application.events((103, 0, "a"), (104, 60_000, "a"))
    stutter = {"Remote": [{"UserId": "p", "Type": "audio", "Stutters": [[T + 500, 1_500]]}]}
    await application.report("a", 0, [stutter], Client=joined(-6_000, 6_000))
    found = await application.rows(
        "SELECT ExperienceId, CommId = (SELECT max(CommId) FROM calls WHERE SdkAppId = {app:UInt32}) "
        f"FROM abnormal_experiences(app = {{app:UInt32}}, since = '{_text(-60_000)}', until = '{_text(60_000)}') "
        "ORDER BY ALL"
    )
    assert found == [(1, True), (5, True)]


def joined(at: int, cost: int | None, result: int | None = 0) -> dict[str, Any]:
    """What a client says of how entering went."""
    told = {"JoinMs": T + at, "JoinCostMs": cost, "JoinResult": result}
    return {name: value for name, value in told.items() if value is not None}


async def test_joins(application: Application) -> None:
    """joinSuccessRate and joinSuccessIn5sRate, by sums; who does not tell the result has not failed."""
    for user, told in {
        "fast": joined(0, 5_000),
        "slow": joined(1, 5_001),
        "failed": joined(2, 100, -3301),
        "next-hour": joined(HOUR_MS, 10),
        "no-cost": joined(3, None),
        "no-result": joined(4, 100, None),
        "nothing": {"Os": "x"},
    }.items():
        await application.report(user, 10_000, Client=told)
    # The last word on each field counts, whenever it comes.
    await application.report("slow", 10_000, Client={"NetworkType": "wifi"})
    found = await application.rows(
        "SELECT UserId, JoinTime, JoinCostMs, JoinResult, Success, Within5s FROM joins WHERE SdkAppId = {app:UInt32} "
        "ORDER BY JoinTime"
    )
    assert found == [
        ("fast", 0, 5_000, 0, True, True),
        ("slow", 1, 5_001, 0, True, False),
        ("failed", 2, 100, -3301, False, False),
        ("no-cost", 3, None, 0, True, None),
        ("no-result", 4, 100, None, None, None),
        ("nothing", 10_000, None, None, None, None),
        ("next-hour", HOUR_MS, 10, 0, True, True),
    ]
    sums = "SELECT BucketTime, Attempts, Successes, Timed, Within5s, Unknown FROM {} WHERE SdkAppId = {{app:UInt32}}"
    hours = await application.rows(sums.format("joins_1h") + " ORDER BY BucketTime")
    assert hours == [(0, 4, 3, 3, 1, 2), (HOUR_MS, 1, 1, 1, 1, 0)]
    assert await application.rows(sums.format("joins_1d")) == [(-12 * HOUR_MS, 5, 4, 4, 2, 2)]


async def test_people_and_calls_by_hour_and_day(application: Application) -> None:
    """userCount and roomCount, UserNumber, UserCount and RoomNumbers."""
    await application.events((103, 0, "a"), (104, 60_000, "a"), (103, 60_000, "b"), (104, 70_000, "b"))
    await application.events((103, 0, "a"), (104, HOUR_MS, "a"), room=8)
    await application.events((103, HOUR_MS - 1, "c"), (104, 13 * HOUR_MS, "c"), room="7", RoomType=1)
    # The same room later is another call.
    await application.events((103, 2 * HOUR_MS, "a"), (104, 2 * HOUR_MS + 1, "a"))
    hours = await application.rows(
        "SELECT BucketTime, Users, Entries, Rooms FROM scale_1h WHERE SdkAppId = {app:UInt32} "
        "ORDER BY BucketTime LIMIT 4"
    )
    assert hours == [(0, 3, 4, 3), (HOUR_MS, 1, 0, 1), (2 * HOUR_MS, 2, 1, 2), (3 * HOUR_MS, 1, 0, 1)]
    days = "SELECT Users, Entries, Rooms FROM scale_1d WHERE SdkAppId = {app:UInt32} ORDER BY Day"
    assert await application.rows(days) == [(3, 5, 4), (1, 0, 1)]
    # Days that begin at 01:00 and at 13:00 UTC; whoever leaves as a day begins was not in it.
    for version, (offset, rows) in enumerate({-60: [(3, 5, 4)], 11 * 60: [(3, 4, 3), (2, 1, 2)]}.items(), 1):
        row = (application.sdk_app_id, "lessons", "enabled", "premium", offset, 0, version)
        await application._store.insert("applications", [row])
        assert await application.rows(days) == rows


async def test_network_delay(application: Application) -> None:
    """networkDelay, by sums: the time with a round trip above 400 ms of that in which it is known."""
    await application.report("a", 0, [{"Rtt": 400}, {"Rtt": 401}, {}, {"Rtt": 20, "DurMs": 500}])
    found = await application.rows(
        "SELECT BucketTime, KnownMs, DelayedMs FROM network_delay_1h WHERE SdkAppId = {app:UInt32}"
    )
    assert found == [(0, 4_500, 2_000)]


async def test_users_of_a_call(application: Application) -> None:
    await application.events((103, 0, "a"), (103, 1_000, "b"), Role=20, TerminalType=2, UserType=3)
    await application.events((104, 10_000, "a"), (104, 30_000, "b"))
    await application.events((103, 20_000, "a"), (105, 21_000, "a"), (104, 25_500, "a"), Role=21)
    first, second = {"SdkVersion": "1", "NetworkType": "4g", "DeviceModel": "x"}, {"SdkVersion": "2", "SdkType": "web"}
    speaks = {"Local": [{"Type": "audio", "Volume": 3}, {"Type": "big", "Muted": True}]}
    await application.report("a", 0, [speaks] * 2, "one", Client={**first, "JoinMs": T - 400, "JoinCostMs": 400})
    # A session that told nothing of itself still has its media.
    heard = {"Remote": [{"UserId": "b", "Type": kind, "Bitrate": 1} for kind in ("audio", "sub")]}
    await application.report("a", 20_000, [{**heard, "Local": [{"Type": "small", "Bitrate": 0}]}], "two", Client=second)
    seen = {"Remote": [{"UserId": "a", "Type": "small"}], "Local": [{"Type": "sub"}, {"Type": "big"}]}
    await application.report("b", 2_000, [seen])
    # Neither a session of another time nor one of another room is of this call.
    await application.report("a", HOUR_MS, [seen], "later", Client={"SdkVersion": "3"})
    await application.report("b", 2_000, [heard], "elsewhere", RoomId="7", Client={"SdkVersion": "4"})
    found = await application.rows(
        "SELECT UserId, FirstEntryTime, LastExitTime, DurationMs, Stays, Role, TerminalType, UserType, SdkType, "
        "SdkVersion, DeviceModel, NetworkType, Region FROM call_users "
        "WHERE SdkAppId = {app:UInt32} AND RoomIdType = 0 AND CallTime < toDateTime64('2200-01-01 00:00:00', 3) "
        "ORDER BY CallTime, UserId LIMIT 2"
    )
    assert found == [
        ("a", 0, 25_500, 15_500, 2, 21, 2, 3, "web", "2", "x", "4g", None),
        ("b", 1_000, 30_000, 29_000, 1, 20, 2, 3, None, None, None, None, None),
    ]
    media = await application.rows(
        "SELECT SentAudio, SentVideo, SentScreen, ReceivedAudio, ReceivedVideo, ReceivedScreen FROM call_users "
        "WHERE SdkAppId = {app:UInt32} AND RoomIdType = 0 ORDER BY CallTime, UserId LIMIT 2"
    )
    assert media == [(True, False, False, True, False, True), (False, True, True, False, True, False)]


async def test_users_of_a_call_that_goes_on(application: Application) -> None:
    """Who is in has no exit yet and stays until now."""
    begun = now_ms() - 60_000 - T
    await application.events((103, begun, "a"))
    await application.report("a", begun, [{}])
    ((exit_time, length),) = await application.rows(
        "SELECT LastExitTime, DurationMs FROM call_users WHERE SdkAppId = {app:UInt32}"
    )
    assert exit_time is None
    assert 60_000 <= length <= now_ms() - T - begun


async def test_users_of_a_call_known_from_reports_alone(application: Application) -> None:
    client = {"Role": 20, "TerminalType": 1, "UserType": 1, "Os": "Linux"}
    await application.report("a", 0, [{"Local": [{"Type": "audio"}]}] * 3, Client=client)
    found = await application.rows(
        "SELECT FirstEntryTime, LastExitTime, Role, TerminalType, UserType, Os, SentAudio FROM call_users "
        "WHERE SdkAppId = {app:UInt32}"
    )
    assert found == [(0, 6_000, 20, 1, 1, "Linux", True)]


async def test_every_column_of_a_table_and_every_view_has_a_comment(application: Application) -> None:
    names = "('session_media', 'session_times', 'call_users', 'joins', 'joins_1h', 'joins_1d', 'scale_1h', 'scale_1d', "
    names += "'network_delay_1h', 'abnormal_runs', 'abnormal_events', 'abnormal_experiences')"
    tables = await application.rows(
        f"SELECT name FROM system.tables WHERE database = currentDatabase() AND name IN {names} AND comment != ''"
    )
    assert len(tables) == names.count(",") + 1
    assert not await application.rows(
        "SELECT name FROM system.columns WHERE database = currentDatabase() AND table = 'session_media' "
        "AND comment = ''"
    )


def _text(at: int) -> str:
    return datetime.fromtimestamp((T + at) / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return round(value.replace(tzinfo=UTC).timestamp() * 1000) - T
    return value


async def test_limits_are_settings(application: Application, store: Store) -> None:
    lossy = {"Remote": [{"UserId": "p", "Type": "audio", "Loss": 15.0, "DelayMs": 500, "JitterMs": 90}]}
    await application.report("alice", 0, [lossy, lossy, {"Rtt": 450}, {"Rtt": 450}])
    view = f"abnormal_events(app = {{app:UInt32}}, since = '{_text(0)}', until = '{_text(HOUR_MS)}')"
    numbers = f"SELECT DISTINCT AbnormalEventId FROM {view} ORDER BY 1"
    assert await application.rows(numbers) == [(2003,), (2013,), (2015,)]
    delayed = "SELECT sum(DelayedMs) FROM network_delay_1h WHERE SdkAppId = {app:UInt32}"
    assert await application.rows(delayed) == [(4_000,)]
    try:
        await Limits(Settings(exception_loss=15, exception_delay_ms=500, exception_jitter_ms=80)).run(store)
        assert await application.rows(numbers) == [(2014,)]
        assert await application.rows(delayed) == [(0,)]
    finally:
        await Limits(Settings()).run(store)
    assert await application.rows(numbers) == [(2003,), (2013,), (2015,)]


async def test_limits_without_a_processor_are_those_of_the_settings(store: Store) -> None:
    """Those that the migration writes."""
    found = await store.query("test", "SELECT Name, Value FROM limits WHERE SetTime = toDateTime64(0, 6, 'UTC')", {})
    assert sorted(map(tuple, found)) == sorted(map(tuple, limit_rows(Settings())))
