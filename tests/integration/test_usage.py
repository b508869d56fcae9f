"""Usage, stays and calls from what was posted to the tables, by the real engine, against sums done by hand."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

from services.processor.jobs import CoarserRollups, PresenceHours, PresentUsers
from services.processor.rollups import DAYS, HOURS, MINUTES
from services.processor.usage.jobs import AvUsage, TasksUsage
from services.runtime.clock import now_ms
from tests.support.processing import Worker

if TYPE_CHECKING:
    from services.processor.store import Store

HOUR_MS, MINUTE_MS = 3_600_000, 60_000
# Three hours ago, on the hour: everything that begins here is over by now.
T = (now_ms() - 3 * HOUR_MS) // HOUR_MS * HOUR_MS
_apps = count(1_500_000_001)


class Application:
    """One application, a worker that takes in what it posts, and its tables."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.sdk_app_id = next(_apps)
        self._worker = Worker(store)
        self._offset = 0
        self._version = 0

    async def events(self, *events: tuple[int, int, str], room: int | str = 7, **info: Any) -> None:
        """(type, Unix ms, user) each."""
        posted = [
            {
                "EventGroupId": 1,
                "EventType": kind,
                "EventInfo": {"RoomId": room, "EventMsTs": at, "UserId": user, **info},
            }
            for kind, at, user in events
        ]
        await self._worker.take_events(self.sdk_app_id, *posted)
        await self._worker.recompute()

    async def reports(self, *reports: dict[str, Any]) -> None:
        records = []
        for report in reports:
            records.append((0, self._offset, [{"SdkAppId": self.sdk_app_id, **report}]))
            self._offset += 1
        await self._worker.take(records)
        await self._worker.recompute()

    async def tasks(self, *intervals: dict[str, Any]) -> None:
        await self._worker.take_tasks(self.sdk_app_id, *intervals)

    async def jobs(self) -> None:
        """Everything that the clock does, twice, since that must change nothing."""
        for _ in range(2):
            for job in (
                PresentUsers(self._worker.toucher),
                PresenceHours(),
                AvUsage(),
                TasksUsage(),
                CoarserRollups(MINUTES, 1),
                CoarserRollups(HOURS, 1),
                CoarserRollups(DAYS, 1),
            ):
                await job.run(self.store)
                await self._worker.recompute()

    async def days(self, utc_offset_minutes: int) -> None:
        """Let its days begin so many minutes before those of UTC."""
        self._version += 1
        await self.store.insert(
            "applications", [(self.sdk_app_id, "lessons", "enabled", "premium", utc_offset_minutes, 0, self._version)]
        )

    async def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Rows of a query with `{app:UInt32}`, times as Unix milliseconds less those of the test's start."""
        found = await self.store.query("test", sql, {"app": self.sdk_app_id})
        return [tuple(_plain(value) for value in row) for row in found]

    async def minutes(self) -> dict[tuple[str, bool], tuple[float, ...]]:
        """Minutes by (service, free) and tier, not rounded."""
        found = await self.rows(
            "SELECT Service, Free, sum(AudioMs), sum(HdMs), sum(FhdMs), sum(TwoKMs), sum(TwoKPlusMs) "
            "FROM usage_5m WHERE SdkAppId = {app:UInt32} GROUP BY Service, Free"
        )
        return {(service, bool(free)): tuple(ms / MINUTE_MS for ms in tiers) for service, free, *tiers in found}

    async def stays(self) -> list[tuple[Any, ...]]:
        return await self.rows(
            "SELECT UserId, CallTime, EnterTime, ExitTime FROM stays WHERE SdkAppId = {app:UInt32} ORDER BY ALL"
        )

    async def calls(self) -> list[tuple[Any, ...]]:
        return await self.rows(
            "SELECT RoomId, StartTime, CloseTime, JoinedUsers, Status FROM calls WHERE SdkAppId = {app:UInt32} "
            "ORDER BY ALL"
        )

    async def online(self) -> list[tuple[Any, ...]]:
        return await self.rows(
            "SELECT BucketTime, OnlineUsers, ReportingUsers FROM app_10s FINAL WHERE SdkAppId = {app:UInt32} "
            "AND OnlineUsers > 0 ORDER BY BucketTime"
        )


@pytest.fixture
def application(store: Store) -> Application:
    return Application(store)


def reports(
    user: str, start: int, end: int, *remote: dict[str, Any], session: str = "", room: int | str = 7, **sample: Any
) -> list[dict[str, Any]]:
    """Reports of one user from a time to another, every ten seconds."""
    found = []
    for number, at in enumerate(range(start, end, 10_000)):
        samples = [
            {"StartMs": begin, "DurMs": min(2_000, end - begin), "Remote": list(remote), **sample}
            for begin in range(at, min(end, at + 10_000), 2_000)
        ]
        found.append(
            {
                "UserId": user,
                "RoomId": room,
                "SessionId": session or f"{user}-{start}",
                "Seq": number + 1,
                "SentMs": at + 10_000,
                "Samples": samples,
            }
        )
    return found


def picture(peer: str, width: int, height: int, kind: str = "big", **fields: Any) -> dict[str, Any]:
    return {"UserId": peer, "Type": kind, "Width": width, "Height": height, "RenderFps": 15, **fields}


async def test_three_anchors_and_a_screen_for_an_hour(application: Application) -> None:
    """Minutes that customers know: HD 60, 2K 240, audio 60."""
    a, b, c = picture("A", 960, 720), picture("B", 640, 480), picture("C", 640, 480)
    screen = picture("A", 1920, 1080, "sub")
    seen = {"A": [b, c], "B": [a, c, screen], "C": [a, b, screen], "D": [a, b, c, screen], "E": [a, b, c, screen]}
    end = T + HOUR_MS
    await application.events(*((103, T, user) for user in (*seen, "F")))
    for user, pictures in seen.items():
        await application.reports(*reports(user, T, end, *pictures))
    await application.reports(*reports("F", T, end, {"UserId": "A", "Type": "audio", "Volume": 50}))
    await application.events(*((104, end, user) for user in (*seen, "F")))
    await application.jobs()
    assert await application.minutes() == {("av", False): (60, 60, 0, 240, 0)}
    days = await application.rows(
        "SELECT AudioMin, HdMin, FhdMin, TwoKMin, TwoKPlusMin FROM usage_1d WHERE SdkAppId = {app:UInt32}"
    )
    assert [sum(column) for column in zip(*days, strict=True)] == [60, 60, 0, 240, 0]


async def test_a_stay_without_a_report_is_sound(application: Application) -> None:
    await application.events((103, T, "a"), (104, T + 301_500, "a"))
    await application.jobs()
    found = await application.rows(
        "SELECT SlotTime, AudioMs, UnreportedMs FROM av_usage_5m FINAL WHERE SdkAppId = {app:UInt32} ORDER BY SlotTime"
    )
    assert found == [(0, 300_000, 300_000), (300_000, 1_500, 1_500)]
    # What comes late says what was received meanwhile.
    await application.reports(*reports("a", T, T + 20_000, picture("p", 1280, 720)))
    await application.jobs()
    found = await application.rows(
        "SELECT SlotTime, AudioMs, HdMs, UnreportedMs FROM av_usage_5m FINAL WHERE SdkAppId = {app:UInt32} "
        "ORDER BY SlotTime"
    )
    assert found == [(0, 280_000, 20_000, 280_000), (300_000, 1_500, 0, 1_500)]


async def test_an_event_that_shortens_a_stay_takes_minutes_back(application: Application) -> None:
    await application.events((103, T, "a"), (104, T + 20 * MINUTE_MS, "a"))
    await application.jobs()
    assert await application.minutes() == {("av", False): (20, 0, 0, 0, 0)}
    assert len(await application.online()) == 120
    await application.events((104, T + 3 * MINUTE_MS, "a"))
    await application.jobs()
    assert await application.minutes() == {("av", False): (3, 0, 0, 0, 0)}
    assert await application.online() == [(bucket, 1, 0) for bucket in range(0, 3 * MINUTE_MS, 10_000)]


@pytest.mark.parametrize(
    ("fields", "tier"),
    [
        ({}, "HdMs"),
        ({"Muted": True}, "AudioMs"),
        ({"PlayMs": 0}, "AudioMs"),
        ({"Bitrate": 0}, "AudioMs"),
        ({"Width": 2560, "Height": 1441}, "TwoKPlusMs"),
    ],
)
async def test_only_what_is_received_is_a_picture(application: Application, fields: dict[str, Any], tier: str) -> None:
    await application.events((103, T, "a"), (104, T + 10_000, "a"))
    await application.reports(*reports("a", T, T + 10_000, {**picture("p", 640, 360), **fields}))
    await application.jobs()
    names = ["AudioMs", "HdMs", "FhdMs", "TwoKMs", "TwoKPlusMs"]
    (found,) = await application.rows(
        f"SELECT {', '.join(names)} FROM av_usage_5m FINAL WHERE SdkAppId = {{app:UInt32}}"
    )
    assert dict(zip(names, found, strict=True)) == {name: 10_000 if name == tier else 0 for name in names}


async def test_reports_alone_make_stays_and_calls(application: Application) -> None:
    first = reports("a", T, T + 60_000, picture("b", 640, 360), room="x")
    await application.reports(*first, *reports("b", T + 30_000, T + 100_000, room="x"))
    # 90 seconds of silence end a call; one second less does not.
    await application.reports(*reports("c", T + 190_000, T + 200_000, room="x"))
    await application.reports(*reports("a", T + 290_002, T + 300_002, room="x"))
    await application.jobs()
    assert await application.calls() == [
        ("x", 0, 200_000, 3, "ended"),
        ("x", 290_002, 300_002, 1, "ended"),
    ]
    assert await application.stays() == [
        ("a", 0, 0, 60_000),
        ("a", 290_002, 290_002, 300_002),
        ("b", 0, 30_000, 100_000),
        ("c", 0, 190_000, 200_000),
    ]
    assert await application.minutes() == {("av", False): (1.5, 1, 0, 0, 0)}
    # A room event that comes later wins.
    await application.events((103, T - 500, "a"), (104, T + 61_000, "a"), room="x", RoomType=1)
    await application.jobs()
    assert ("a", -500, -500, 61_000) in await application.stays()
    assert ("a", 0, 0, 60_000) not in await application.stays()


async def test_who_is_silent_for_90_s_has_left(application: Application) -> None:
    await application.events((103, T, "a"), (103, T, "b"))
    await application.reports(*reports("a", T, T + 60_000))
    await application.jobs()
    # The one who never reported is still there.
    assert [row[0::3] for row in await application.stays()] == [("a", 150_000), ("b", None)]
    assert (await application.calls())[0][-1] == "open"
    await application.events((104, T + 200_000, "b"))
    await application.jobs()
    assert [row[0::3] for row in await application.stays()] == [("a", 150_000), ("b", 200_000)]
    assert await application.calls() == [("7", 0, 200_000, 2, "ended")]
    online = await application.online()
    assert online[0] == (0, 2, 1)
    assert [users for _, users, _ in online] == [2] * 15 + [1] * 5


async def test_all_of_a_room_have_vanished(application: Application) -> None:
    await application.events((103, T, "a"), (103, T, "b"))
    await application.reports(*reports("a", T, T + 10_000), *reports("b", T, T + 20_000))
    await application.jobs()
    assert await application.calls() == [("7", 0, 110_000, 2, "ended")]
    assert await application.minutes() == {("av", False): (210 / 60, 0, 0, 0, 0)}


async def test_an_open_stay_counts_by_the_passing_of_time(application: Application) -> None:
    begun = now_ms() - 2 * HOUR_MS
    await application.events((103, begun, "a"))
    await application.jobs()
    minutes = (await application.minutes())["av", False][0]
    assert 120 <= minutes < 121
    online = await application.online()
    assert len(online) in (720, 721, 722)
    assert all(row[1:] == (1, 0) for row in online)


async def test_rollups_by_minute_hour_and_day(application: Application) -> None:
    stutter = picture("p", 640, 360, Stutters=[[T + 58_000, 4_000]])
    await application.events((103, T, "a"), (104, T + 2 * HOUR_MS, "a"))
    await application.reports(*reports("a", T, T + 58_000, picture("p", 640, 360), session="s", SysCpu=20))
    await application.reports(*reports("a", T + 60_000, T + 62_000, stutter, session="s", SysCpu=90))
    await application.reports(*reports("b", T + 50_000, T + 70_000, picture("p", 640, 360), SysCpu=90))
    await application.jobs()
    columns = "BucketTime, OnlineUsers, ReportingUsers, AbnormalUsers, PeakOnlineUsers, VideoStutterMs, VideoPlayMs"
    minutes = await application.rows(
        f"SELECT {columns} FROM app_1m FINAL WHERE SdkAppId = {{app:UInt32}} ORDER BY BucketTime LIMIT 3"
    )
    assert minutes == [
        (0, 2, 2, 1, 2, 2_000, 68_000),
        (60_000, 2, 2, 1, 2, 2_000, 12_000),
        (120_000, 1, 0, 0, 1, 0, 0),
    ]
    hours = await application.rows(
        f"SELECT {columns} FROM app_1h FINAL WHERE SdkAppId = {{app:UInt32}} ORDER BY BucketTime"
    )
    assert hours == [(0, 2, 2, 1, 2, 4_000, 80_000), (HOUR_MS, 1, 0, 0, 1, 0, 0)]
    (total,) = await application.rows(
        "SELECT max(OnlineUsers), max(PeakOnlineUsers), sum(VideoPlayMs) FROM app_1d FINAL "
        "WHERE SdkAppId = {app:UInt32}"
    )
    assert total == (2, 2, 80_000)
    # A day of the application: its sums and peaks from hours or minutes, its distinct users from their rows.
    for size in ("1h", "1m"):
        day = f"toDate(BucketTime + toIntervalMinute(480)) = toDate(toDateTime({T // 1000} + 480 * 60, 'UTC'))"
        (own,) = await application.rows(
            f"SELECT max(PeakOnlineUsers), sum(VideoStutterMs), sum(VideoPlayMs) FROM app_{size} FINAL "
            f"WHERE SdkAppId = {{app:UInt32}} AND {day}"
        )
        assert own == (2, 4_000, 80_000), size
        (users,) = await application.rows(
            "SELECT uniqExact(UserId), uniqExactIf(UserId, ReportedMs > 0), uniqExactIf(UserId, AbnormalMs > 0) "
            f"FROM user_{size} FINAL WHERE SdkAppId = {{app:UInt32}} AND {day}"
        )
        assert users == (2, 2, 1), size


async def test_dimensions_hold_for_the_whole_session_however_late_they_come(application: Application) -> None:
    where = (
        "SELECT Value, OnlineUsers FROM dimension_10s WHERE SdkAppId = {app:UInt32} AND Dimension = 'network' "
        "AND BucketTime = (SELECT min(BucketTime) FROM user_10s WHERE SdkAppId = {app:UInt32}) ORDER BY Value"
    )
    measured = reports("a", T, T + 20_000, session="s")
    await application.reports(*measured, *reports("b", T, T + 20_000))
    assert await application.rows(where) == [("unknow", 2)]
    late = {**measured[0], "Seq": 3, "Samples": [], "Client": {"NetworkType": "wifi"}}
    await application.reports(late)
    assert await application.rows(where) == [("unknow", 1), ("wifi", 1)]
    # An earlier part that comes later does not take it back.
    await application.reports({**late, "Seq": 2, "Client": {"NetworkType": "4g", "SdkVersion": "9"}})
    assert await application.rows(where) == [("unknow", 1), ("wifi", 1)]
    assert await application.rows(where.replace("'network'", "'sdk-version'")) == [("9", 1), ("unknow", 1)]


async def test_exceptions_say_who_met_what_and_why(application: Application) -> None:
    frozen = picture("p", 640, 360, RenderFps=3, RecFps=15, DecFps=4)
    await application.reports(*reports("a", T, T + 10_000, frozen, Rtt=20))
    found = await application.rows(
        "SELECT BucketTime, UserId, Exception, PeerId, Stream, Cause, Network FROM exceptions "
        "WHERE SdkAppId = {app:UInt32}"
    )
    assert found == [(0, "a", "frame-rate", "p", "big", "decoder", "unknow")]


def interval(start: int, end: int, task: Any = "t", kind: Any = "record", **fields: Any) -> dict[str, Any]:
    return {"TaskId": task, "TaskType": kind, "RoomId": 7, "StartMs": T + start, "EndMs": T + end, **fields}


async def test_recordings_and_their_robots(application: Application) -> None:
    seen = {"Inputs": [{"UserId": "a", "Type": "big", "Width": 1280, "Height": 720}]}
    robots = {"Robots": [{"RoomId": 7, "UserId": "robot"}]}
    to_cos = {"Outputs": [{"Format": "mp4", "Destination": "cos", "VideoBitrate": 800_000}], "RecordMode": "mixed"}
    to_vod = {"Outputs": [{"Format": "hls+mp4", "Destination": "vod"}]}
    await application.tasks(
        interval(0, 30_000, **seen, **robots, **to_cos),
        interval(30_000, 60_000, **robots, **to_cos),
        interval(0, 60_000, task="vod", **seen, **robots, **to_vod),
    )
    await application.jobs()
    assert await application.minutes() == {
        ("recording", False): (0.5, 0.5 + 2, 0, 0, 0),
        ("av", False): (0.5, 0.5, 0, 0, 0),
        ("av", True): (0, 1, 0, 0, 0),
        ("delivery", True): (1, 0, 0, 0, 0),
    }
    # The same once more, then a longer one: it counts instead.
    await application.tasks(interval(30_000, 60_000, **robots, **to_cos))
    await application.tasks(interval(30_000, 90_000, **robots, **to_cos, Final=True))
    await application.jobs()
    assert (await application.minutes())["recording", False] == (1, 2.5, 0, 0, 0)
    (row,) = await application.rows(
        "SELECT sum(Bytes), any(RecordMode) FROM task_usage_5m FINAL "
        "WHERE SdkAppId = {app:UInt32} AND Kind = 'delivery'"
    )
    assert row[0] == 90 * 100_000


async def test_a_recording_over_five_minutes_is_cut_there(application: Application) -> None:
    await application.tasks(interval(299_000, 301_000))
    await application.jobs()
    found = await application.rows(
        "SELECT SlotTime, AudioMs FROM usage_5m "
        "WHERE SdkAppId = {app:UInt32} AND Service = 'recording' ORDER BY SlotTime"
    )
    assert found == [(0, 1_000), (300_000, 1_000)]


async def test_the_peak_of_a_relay_is_its_largest_ten_seconds(application: Application) -> None:
    def to(destination: str, bitrate: int) -> dict[str, Any]:
        return {"Outputs": [{"Destination": destination, "VideoBitrate": bitrate, "Codec": "none"}], "kind": "relay"}

    # Ten relays of 500 kbit/s at one time, two of them for five of the ten seconds, are 4.5 Mbit/s.
    for number in range(8):
        await application.tasks(interval(0, 30_000, task=f"r{number}", **to("other-cdn", 500_000)))
    for number in range(8, 10):
        await application.tasks(interval(10_000, 15_000, task=f"r{number}", **to("other-cdn", 500_000)))
    await application.tasks(interval(0, 10_000, task="own", **to("css", 3_000_000)))
    await application.jobs()
    found = await application.rows(
        "SELECT SlotTime, Free, PeakBitsPerSecond, RelayedMs FROM relay_bandwidth_5m WHERE SdkAppId = {app:UInt32} "
        "ORDER BY ALL"
    )
    assert found == [(0, False, 4_500_000, 250_000), (0, True, 3_000_000, 10_000)]


async def test_a_relay_that_transcodes_owes_mix_transcoding(application: Application) -> None:
    inputs = [{"UserId": user, "Type": "big", "Width": 640, "Height": 360} for user in "ab"]
    outputs = [{"Codec": "h264", "Width": 640, "Height": 360, "Destination": "css", "VideoBitrate": 1}]
    await application.tasks(interval(0, 60_000, kind="relay", Inputs=inputs, Outputs=outputs))
    await application.jobs()
    assert await application.minutes() == {("mix-h264", False): (0, 1, 0, 0, 0)}


async def test_usage_of_a_room_has_its_robots_with_it(application: Application) -> None:
    await application.events((103, T, "a"), (104, T + 60_000, "a"))
    await application.tasks(interval(0, 30_000, kind="moderate", Robots=[{"RoomId": 7, "UserId": "robot"}]))
    await application.jobs()
    found = await application.rows("SELECT RoomId, RoomIdType, AudioMs FROM room_usage WHERE SdkAppId = {app:UInt32}")
    assert found == [("7", 0, 90_000)]


MIDNIGHT = T // (24 * HOUR_MS) * 24 * HOUR_MS


async def slots(application: Application, kind: str, *used: tuple[int, tuple[int, int, int, int, int]]) -> None:
    """Rows of task usage: (Unix ms of the five minutes, milliseconds by tier)."""
    await application.store.insert(
        "task_usage_5m",
        [
            (application.sdk_app_id, at // 1000, "t", kind, kind == "delivery", "", 0, "", "", *tiers, 0, number)
            for number, (at, tiers) in enumerate(used)
        ],
    )


@pytest.mark.parametrize(
    ("offset", "days"),
    [
        (0, [(-1, 1, 0), (0, 1, 2)]),
        (480, [(0, 2, 1), (1, 0, 1)]),
        (-720, [(-1, 2, 1), (0, 0, 1)]),
        (15, [(0, 2, 2)]),
    ],
)
async def test_days_begin_where_the_application_says(
    application: Application, offset: int, days: list[tuple[int, int, int]]
) -> None:
    await slots(
        application,
        "record",
        (MIDNIGHT - 300_000, (30_000, 0, 0, 0, 0)),
        (MIDNIGHT, (30_001, 1, 0, 0, 0)),
        # From eight hours before midnight on it is the next day in UTC+8.
        (MIDNIGHT + 57_600_000 - 300_000, (0, 1, 0, 0, 0)),
        (MIDNIGHT + 57_600_000, (0, 59_999, 0, 0, 0)),
    )
    await application.days(offset)
    found = await application.rows(
        f"SELECT toInt32(Day) - {MIDNIGHT // (24 * HOUR_MS)}, AudioMin, HdMin FROM usage_1d "
        "WHERE SdkAppId = {app:UInt32} ORDER BY Day"
    )
    assert found == days


async def test_seconds_are_rounded_up_to_minutes_at_the_very_end(application: Application) -> None:
    """5,000 s of sound and two tasks of as much: 250 minutes. Pictures of 3,500, 1,800 and 540 s: 59, 30 and 9."""
    await slots(application, "record", (MIDNIGHT, (15_000_000, 0, 0, 0, 0)))
    await slots(application, "web-record", (MIDNIGHT, (0, 3_500_000, 1_800_000, 0, 540_000)))
    await slots(application, "mix-h264", *((MIDNIGHT + number * 300_000, (1_000, 0, 0, 0, 1)) for number in range(288)))
    found = await application.rows(
        "SELECT Service, AudioMin, HdMin, FhdMin, TwoKMin, TwoKPlusMin FROM usage_1d "
        "WHERE SdkAppId = {app:UInt32} ORDER BY Service"
    )
    assert found == [("mix-h264", 5, 0, 0, 0, 1), ("recording", 250, 59, 30, 0, 9)]


async def test_five_minutes_take_from_a_package_what_the_day_grew_by(application: Application) -> None:
    """30, 20 and 40 seconds take 1, 0 and 1 minute; the next day begins anew."""
    steps = [(MIDNIGHT, 30_000), (MIDNIGHT + 300_000, 20_000), (MIDNIGHT + 600_000, 40_000)]
    await slots(application, "robot", *((at, (0, 0, ms, 0, 0)) for at, ms in steps))
    await slots(application, "record", (MIDNIGHT + 900_000, (60_000, 0, 0, 0, 60_001)))
    await slots(application, "mix-h265", (MIDNIGHT + 24 * HOUR_MS, (0, 1, 0, 0, 0)))
    await slots(application, "delivery", (MIDNIGHT, (60_000, 0, 0, 0, 0)))
    taken = (
        "SELECT SlotTime, Service, Tier, Turn, Minutes, MonthlyMinutes FROM usage_deductions "
        "WHERE SdkAppId = {app:UInt32} ORDER BY SlotTime, Turn"
    )
    first = MIDNIGHT - T
    assert await application.rows(taken) == [
        (first, "av", "fhd", 3, 1, 9),
        (first + 600_000, "av", "fhd", 3, 1, 9),
        (first + 900_000, "recording", "audio", 6, 1, 0),
        (first + 900_000, "recording", "2k+", 10, 2, 0),
        (first + 24 * HOUR_MS, "mix-h265", "hd", 12, 1, 0),
    ]
    # Days that begin five past midnight of UTC take apart what was together.
    await application.days(-15)
    assert [row[4] for row in await application.rows(taken)][:2] == [1, 1]
    days = await application.rows(
        "SELECT Day, sum(Minutes) FROM usage_deductions WHERE SdkAppId = {app:UInt32} AND Service = 'av' GROUP BY Day"
    )
    assert [minutes for _, minutes in days] == [2]


async def test_a_monthly_package_gives_its_minutes_by_tier(application: Application) -> None:
    await slots(application, "robot", (MIDNIGHT, (60_000,) * 5))
    found = await application.rows(
        "SELECT Tier, Turn, Minutes, MonthlyMinutes FROM usage_deductions WHERE SdkAppId = {app:UInt32} ORDER BY Turn"
    )
    ratios = {"audio": 1, "hd": 4, "fhd": 9, "2k": 16, "2k+": 36}
    assert found == [(tier, number, 1, ratio) for number, (tier, ratio) in enumerate(ratios.items(), 1)]


async def test_a_month_of_relay_is_charged_by_its_peak(application: Application) -> None:
    begun = int(datetime(2026, 2, 1, tzinfo=UTC).timestamp())
    relayed = [(begun - 3_600, 9_000_000), (begun, 30_000_000), (begun + 20 * 86_400, 40_000_000)]
    await application.store.insert(
        "relay_usage_10s",
        [(application.sdk_app_id, at, "r", False, bits, 10_000, number) for number, (at, bits) in enumerate(relayed)],
    )
    # Two at a time are added up, and so is no time that is another's.
    await application.store.insert(
        "relay_usage_10s", [(application.sdk_app_id, begun, "s", False, 5_000_000, 5_000, 9)]
    )
    months = (
        "SELECT toMonth(Month), PeakBitsPerSecond, RelayedMs FROM relay_bandwidth_month "
        "WHERE SdkAppId = {app:UInt32} ORDER BY Month"
    )
    assert await application.rows(months) == [(1, 900_000, 10_000), (2, 4_000_000, 25_000)]
    await application.days(480)
    assert await application.rows(months) == [(2, 4_000_000, 35_000)]
    days = await application.rows(
        "SELECT toString(Day), PeakBitsPerSecond FROM relay_bandwidth_1d WHERE SdkAppId = {app:UInt32} ORDER BY Day"
    )
    assert days == [("2026-02-01", 3_500_000), ("2026-02-21", 4_000_000)]


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return round(value.replace(tzinfo=UTC).timestamp() * 1000) - T
    return value
