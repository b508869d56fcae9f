"""What is older than its application may keep, deleted by the real engine; and what may never be deleted."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

from schemas.applications import Application
from services.processor.catalogue import application_row
from services.processor.retention import PARTED, Retention, last_day_of
from services.processor.tables import SCHEMAS
from services.processor.usage.jobs import AvUsage
from services.runtime.clock import now_ms
from services.runtime.settings import Settings
from tests.support.clickhouse import wait_until
from tests.support.processing import Worker

if TYPE_CHECKING:
    from services.processor.store import Store
    from tests.support.clickhouse import ClickHouseServer

DAY_MS = 24 * 3_600_000
_apps = count(1_700_000_001)
EDITIONS: tuple[Any, ...] = ("free", "standard", "premium")


@pytest.fixture
async def apps(store: Store) -> dict[str, int]:
    """One application of each edition, and one that nobody knows."""
    known = {edition: next(_apps) for edition in EDITIONS}
    rows = [
        application_row(
            Application(
                sdk_app_id=app,
                name=edition,
                status="enabled",
                version=1,
                created_ms=0,
                secret_key="",
                monitoring_edition=edition,
            )
        )
        for edition, app in known.items()
    ]
    await store.insert("applications", rows)
    return {**known, "unknown": next(_apps)}


async def retain(store: Store, clickhouse: ClickHouseServer, settings: Settings | None = None) -> None:
    """A day's run, though there was one before, until everything is gone."""
    await store.execute("forget", "TRUNCATE TABLE progress", {})
    await Retention(settings or Settings(), lambda: True).run(store)
    wait_until(lambda: clickhouse.query("SELECT count() FROM system.mutations WHERE NOT is_done").strip() == "0")


def days_ago(days: int) -> int:
    return now_ms() - days * DAY_MS


async def ages(store: Store, table: str, time: str, apps: dict[str, int]) -> dict[str, list[int]]:
    """For each application how many days old its rows are."""
    found = await store.query(
        "ages",
        f"SELECT SdkAppId, dateDiff('day', toDate({time}), toDate(now())) AS Age FROM {table} FINAL ORDER BY ALL",
        {},
    )
    return {name: [age for of, age in found if of == app] for name, app in apps.items()}


async def test_details_go_by_the_edition(store: Store, clickhouse: ClickHouseServer, apps: dict[str, int]) -> None:
    worker = Worker(store)
    for app in apps.values():
        for number, age in enumerate((0, 3, 4, 7, 8, 14, 15)):
            at = days_ago(age) // 10_000 * 10_000
            stutter = {"UserId": "p", "Type": "big", "PlayMs": 2_000, "Stutters": [[at, 700]]}
            report = {
                "SdkAppId": app,
                "UserId": "a",
                "RoomId": 7,
                "SessionId": f"s{number}",
                "Seq": 1,
                "SentMs": at + 2_000,
                "Samples": [{"StartMs": at, "DurMs": 2_000, "Remote": [stutter]}],
                "Events": [{"AtMs": at, "Type": 0, "EventId": 7000, "ParamOne": 0, "ParamTwo": -1}],
            }
            await worker.take([(0, number, [report])])
    await worker.recompute()
    await retain(store, clickhouse)
    right = {
        "free": [0, 3],
        "standard": [0, 3, 4, 7],
        "premium": [0, 3, 4, 7, 8, 14],
        "unknown": [0, 3, 4, 7, 8, 14, 15],
    }
    for table, time in {
        "samples": "StartTime",
        "streams": "StartTime",
        "stutters": "BucketTime",
        "client_events": "EventTime",
        "user_10s": "BucketTime",
        "app_10s": "BucketTime",
    }.items():
        assert await ages(store, table, time, apps) == right, table
    found = await store.query(
        "expired",
        "SELECT SdkAppId, dateDiff('day', Before, toDate(now())) FROM expired FINAL "
        "WHERE Kind = 'details' ORDER BY SdkAppId DESC LIMIT 3",
        {},
    )
    assert dict(map(tuple, found)) == {apps["free"]: 3, apps["standard"]: 7, apps["premium"]: 14}


async def test_a_day_that_nobody_keeps_is_dropped(
    store: Store, clickhouse: ClickHouseServer, apps: dict[str, int]
) -> None:
    times = [days_ago(age) for age in (40, 41, 5)]
    await store.insert("deliveries", [delivery(apps["premium"], at) for at in times])
    await store.insert("deliveries", [delivery(apps["unknown"], times[1])])
    await retain(store, clickhouse)
    assert await ages(store, "deliveries", "StartedTime", apps) == {
        "free": [],
        "standard": [],
        "premium": [5],
        "unknown": [41],
    }
    left = clickhouse.query(
        "SELECT DISTINCT partition_id FROM system.parts "
        "WHERE database = 'roompulse' AND table = 'deliveries' AND active ORDER BY partition_id"
    ).split()
    assert left == [datetime.fromtimestamp(times[number] / 1000, UTC).strftime("%Y%m%d") for number in (1, 2)]


def delivery(app: int, at: int) -> tuple[Any, ...]:
    named = {"SdkAppId": app, "StartedTime": at, "EventTime": at, "AcceptedTime": at, "CallbackTime": at}
    others = {"RoomIdType": None, "Gap": False}
    return tuple(
        named.get(field.name, others.get(field.name, "" if str(field.type) == "string" else 0))
        for field in SCHEMAS["deliveries"]
    )


async def test_months_go_when_their_last_day_does(
    store: Store, clickhouse: ClickHouseServer, apps: dict[str, int]
) -> None:
    today = datetime.now(UTC).date()
    for table in PARTED["summaries"]:
        for app in apps.values():
            for age in (1, 29, 59, 92, 123):
                clickhouse.query(
                    f"INSERT INTO roompulse.{table} (SdkAppId, BucketTime) VALUES "
                    f"({app}, '{today - timedelta(age)} 00:00:00')"
                )
    await retain(store, clickhouse)
    for table in PARTED["summaries"]:
        assert await ages(store, table, "BucketTime", apps) == {
            "free": [age for age in (1, 29, 59, 92, 123) if month_is_kept(age, 30)],
            "standard": [age for age in (1, 29, 59, 92, 123) if month_is_kept(age, 30)],
            "premium": [age for age in (1, 29, 59, 92, 123) if month_is_kept(age, 60)],
            "unknown": [1, 29, 59, 92, 123],
        }
    assert month_is_kept(29, 30)
    assert not month_is_kept(92, 60)


def month_is_kept(age: int, days: int) -> bool:
    today = datetime.now(UTC).date()
    return last_day_of((today - timedelta(age)).strftime("%Y%m")) >= today - timedelta(days)


async def test_calls_go_with_all_they_come_from_and_those_that_go_on_stay(
    store: Store, clickhouse: ClickHouseServer, apps: dict[str, int]
) -> None:
    app = apps["free"]
    worker = Worker(store)
    old, reaching, new = days_ago(40), days_ago(31), days_ago(2)
    await worker.take_events(
        app,
        *(entry(103, old, 1), entry(104, old + 60_000, 1)),
        # Began before what is kept, and ended within it.
        *(entry(103, old, 2), entry(103, old + 1_000, 2, "b"), entry(104, reaching, 2), entry(104, new, 2, "b")),
        *(entry(103, new, 3), entry(104, new + 60_000, 3)),
        # Two lives of one room; the second goes on.
        *(entry(103, old, 4), entry(104, old + 60_000, 4), entry(103, old + 120_000, 4)),
    )
    for number, (room, begun) in enumerate([(1, old), (2, old), (3, new), (5, old), (6, new)]):
        await worker.take([(0, number, [short_report(app, room, begun)])])
    await worker.recompute()
    calls = "SELECT RoomId, dateDiff('day', StartTime, now()) FROM calls WHERE SdkAppId = {app:UInt32} ORDER BY ALL"
    assert len(await store.query("calls", calls, {"app": app})) == 7
    await retain(store, clickhouse)
    # What remains is the same when it is computed anew.
    for _ in range(2):
        assert await store.query("calls", calls, {"app": app}) == [("2", 40), ("3", 2), ("4", 40), ("6", 2)]
        stays = "SELECT RoomId, count() FROM stays WHERE SdkAppId = {app:UInt32} GROUP BY RoomId ORDER BY ALL"
        assert await store.query("stays", stays, {"app": app}) == [("2", 2), ("3", 1), ("4", 1), ("6", 1)]
        for room in (2, 3, 4, 6):
            await worker.take_events(app, entry(105, new, room), offset=100 + room)
        await worker.recompute()
    left = {
        "events": {"2": 5, "3": 3, "4": 2, "6": 1},
        "sessions": {"2": 1, "3": 1, "6": 1},
        "clients": {"2": 1, "3": 1, "6": 1},
        "session_media": {"2": 1, "3": 1, "6": 1},
    }
    for table, expected in left.items():
        counted = f"SELECT RoomId, count() FROM {table} FINAL WHERE SdkAppId = {{app:UInt32}} GROUP BY RoomId"
        assert dict(map(tuple, await store.query(table, counted, {"app": app}))) == expected, table


def entry(kind: int, at: int, room: int, user: str = "a") -> dict[str, Any]:
    return {"EventGroupId": 1, "EventType": kind, "EventInfo": {"RoomId": room, "EventMsTs": at, "UserId": user}}


def short_report(app: int, room: int, at: int) -> dict[str, Any]:
    return {
        "SdkAppId": app,
        "UserId": "a",
        "RoomId": room,
        "SessionId": f"s{room}",
        "Seq": 1,
        "SentMs": at + 12_000,
        "Client": {"NetworkType": "wifi"},
        "Samples": [{"StartMs": at + 10_000, "DurMs": 2_000, "Local": [{"Type": "big"}]}],
    }


async def test_what_was_billed_stays_when_its_facts_are_gone(
    store: Store, clickhouse: ClickHouseServer, apps: dict[str, int]
) -> None:
    app = apps["free"]
    worker = Worker(store)
    begun = days_ago(5) // 300_000 * 300_000
    shown = {"UserId": "p", "Type": "big", "Width": 640, "Height": 360}
    report = short_report(app, 7, begun) | {"Samples": [{"StartMs": begun, "DurMs": 2_000, "Remote": [shown]}]}
    await worker.take_events(app, entry(103, begun, 7))
    await worker.take([(0, 0, [report]), (0, 1, [short_report(app, 7, now_ms() - 70_000) | {"SessionId": "again"}])])
    await worker.recompute()
    usage = (
        "SELECT AudioMs, HdMs FROM av_usage_5m FINAL "
        "WHERE SdkAppId = {app:UInt32} AND SlotTime = fromUnixTimestamp({at:UInt32})"
    )
    scope = {"app": app, "at": begun // 1000}
    await AvUsage().run(store)
    assert await store.query("usage", usage, scope) == [(298_000, 2_000)]
    await retain(store, clickhouse)
    assert 5 not in (await ages(store, "user_10s", "BucketTime", apps))["free"]
    # The stay that began then ends now: all of its hours are looked at.
    await worker.take_events(app, entry(104, now_ms() - 60_000, 7), offset=50)
    await worker.recompute()
    await AvUsage().run(store)
    assert await store.query("usage", usage, scope) == [(298_000, 2_000)]


async def test_for_ever_and_once_a_day(store: Store, clickhouse: ClickHouseServer, apps: dict[str, int]) -> None:
    await store.insert("deliveries", [delivery(apps["premium"], days_ago(300))])
    await retain(store, clickhouse, Settings(retention_deliveries_days=0))
    assert (await ages(store, "deliveries", "StartedTime", apps))["premium"] == [300]
    # It was done today, and it waits until the applications are known.
    await Retention(Settings(), lambda: True).run(store)
    assert (await ages(store, "deliveries", "StartedTime", apps))["premium"] == [300]
    await store.execute("forget", "TRUNCATE TABLE progress", {})
    await Retention(Settings(), lambda: False).run(store)
    assert (await ages(store, "deliveries", "StartedTime", apps))["premium"] == [300]
    await retain(store, clickhouse)
    assert (await ages(store, "deliveries", "StartedTime", apps))["premium"] == []


@pytest.mark.parametrize(
    ("partition", "last"), [("20261125", "2026-11-25"), ("202602", "2026-02-28"), ("202812", "2028-12-31")]
)
def test_the_last_day_of_a_part(partition: str, last: str) -> None:
    assert str(last_day_of(partition)) == last


def test_less_than_kafka_keeps_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 3"):
        Settings(retention_details_free_days=2)
