"""The page of tables: current, without a gap, and its questions have the answers that were put into the tables."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from textwrap import dedent
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from schemas.deliveries import DeliveryAttempt
from services.processor.jobs import CoarserRollups
from services.processor.records import delivery_row
from services.processor.reference import PAGE, page, read_tables, sections
from services.processor.rollups import MINUTES
from services.processor.store import Store
from services.processor.usage.jobs import AvUsage
from services.runtime.clickhouse import migrate
from services.runtime.clock import now_ms
from services.runtime.settings import Settings
from tests.support.processing import Worker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.clickhouse import ClickHouseServer

APP = 1_400_000_001
QUESTIONS = re.findall(r"```sql\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)


@pytest.fixture(scope="module")
async def settings(clickhouse: ClickHouseServer, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    settings = Settings(data=tmp_path_factory.mktemp("tables"), clickhouse_url=f"http://127.0.0.1:{clickhouse.port}")
    await migrate(settings)
    return settings


class Call(NamedTuple):
    """A call of two users, one of whom has a bad time, in the tables."""

    store: Store
    begun: int
    """Unix ms; it lasts for two minutes."""


@pytest.fixture(scope="module")
async def call(settings: Settings) -> AsyncIterator[Call]:
    store = Store(settings)
    worker = Worker(store)
    # So that it has ended more than a quarter of a minute ago and less than ten.
    begun = (now_ms() - 180_000) // 10_000 * 10_000
    entries = [
        _room_event(103, begun, "alice"),
        _room_event(103, begun, "bob"),
        _room_event(104, begun + 120_000, "alice"),
        _room_event(104, begun + 120_000, "bob"),
    ]
    await worker.take_events(APP, *entries)
    await worker.take([(0, number, [_report(begun, number)]) for number in range(12)])
    await worker.recompute()
    failed = DeliveryAttempt(
        delivery_id="d",
        attempt=1,
        request_id="r",
        sdk_app_id=APP,
        event_id="e",
        event_group_id=1,
        event_type=103,
        event_ms_ts=begun,
        accepted_ms=begun,
        url="http://customer.example/",
        callback_ts=begun,
        started_ms=begun,
        duration_ms=7,
        status=503,
        outcome="failed",
        error_class="status",
    )
    await store.insert("deliveries", [delivery_row(failed)])
    for job in (CoarserRollups(MINUTES, 1), AvUsage()):
        await job.run(store)
    yield Call(store, begun)
    await store.close()


def _room_event(kind: int, at: int, user: str) -> dict[str, Any]:
    return {"EventGroupId": 1, "EventType": kind, "EventInfo": {"RoomId": 8801, "EventMsTs": at, "UserId": user}}


def _report(begun: int, number: int) -> dict[str, Any]:
    """Ten seconds of alice, who sees bob at three frames a second and with a stutter of a second."""
    start = begun + number * 10_000
    seen = {"UserId": "bob", "Type": "big", "Width": 640, "Height": 360, "RenderFps": 3, "Bitrate": 200_000, "Loss": 20}
    heard = {"UserId": "bob", "Type": "audio", "Volume": 50}
    samples: list[dict[str, Any]] = [
        {"StartMs": at, "DurMs": 2_000, "Remote": [seen, heard]} for at in range(start, start + 10_000, 2_000)
    ]
    samples[1]["Remote"] = [{**seen, "Stutters": [[samples[1]["StartMs"], 1_000]]}, heard]
    return {
        "SdkAppId": APP,
        "RoomId": 8801,
        "UserId": "alice",
        "SessionId": "s",
        "Seq": number + 1,
        "SentMs": start + 10_000,
        "Client": {"NetworkType": "wifi", "SdkVersion": "5.0", "DeviceModel": "Pixel"},
        "Samples": samples,
    }


async def test_the_page_is_current(settings: Settings) -> None:
    assert PAGE.read_text("utf-8") == await page(settings), "run: make docs"


async def test_everything_is_on_the_page_and_every_column_has_a_comment(settings: Settings) -> None:
    tables = await read_tables(settings)
    assert sorted(tables) == sorted(name for _, names in sections() for name in names)
    assert [table.name for table in tables.values() if not table.comment or not table.columns] == []
    # Of a view with parameters the database keeps no columns; the views of this section have no comments yet.
    untold = set(dict(sections())["Experience"])
    bare = [
        f"{table.name}.{column.name}"
        for table in tables.values()
        if table.engine != "View" or not (table.parameters or table.name in untold)
        for column in table.columns
        if not column.comment
    ]
    assert bare == []


def _answers(t: int) -> dict[int, list[tuple[Any, ...]]]:
    """By number; `t` is the beginning of the call in Unix ms."""
    return {
        1: [(t + 110_000, 2, 1, 1, 1)],
        2: [("8801", 0, 2, 10.0)],
        3: [("frame-rate", "loss", 1, 12)],
        4: [("wifi", 1, 0.0), ("unknow", 1, None)],
        5: [(f"{APP}_8801_{t // 1000}", "8801", t, t + 120_000, "ended", 2)],
        6: [
            ("8801", "alice", t, t + 120_000, "5.0", "Pixel", "wifi"),
            ("8801", "bob", t, t + 120_000, None, None, None),
        ],
        7: [("bob", "big", 12, 12_000)],
        8: [(t + 2_000 * number, 200_000, 20.0, 3.0, 640, 360, None) for number in range(60)],
        # Without its day.
        9: [("av", False, 2, 2, 0, 0, 0)],
        10: [("http://customer.example/", "status", 503, 1)],
    }


def test_there_are_ten_questions() -> None:
    assert len(QUESTIONS) == len(_answers(0)) == 10


@pytest.mark.parametrize("number", range(1, 11))
async def test_the_question_has_its_answer(call: Call, number: int) -> None:
    found = [tuple(map(_plain, row)) for row in await call.store.query("question", QUESTIONS[number - 1], {})]
    if number == 9:
        found = [row[1:] for row in found]
        if len(found) == 2:
            pytest.skip("a day ends within the call")
    assert sorted(found, key=repr) == sorted(_answers(call.begun)[number], key=repr)


@pytest.mark.parametrize("name", ["calls.md", "usage.md"])
async def test_the_queries_of_other_pages_have_answers(call: Call, name: str) -> None:
    text = PAGE.with_name(name).read_text("utf-8")
    (query,) = [dedent(block) for block in re.findall(r"(?:^    .+\n)+", text, re.MULTILINE)]
    assert await call.store.query("question", query, {})


def _plain(value: Any) -> Any:
    return round(value.replace(tzinfo=UTC).timestamp() * 1000) if isinstance(value, datetime) else value
