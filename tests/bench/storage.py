"""`make bench-storage`: bytes on disk of a stream sample, all tables and rollups with it.

A simulated day goes through the processor's own code into a real ClickHouse, without Kafka. Then everything is merged,
and what is on disk is divided by the stream samples.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from services.processor.exceptions import Thresholds
from services.processor.intake import QualityIntake, QualityRecord
from services.processor.jobs import CoarserRollups
from services.processor.rollups import DAYS, HOURS, MINUTES
from services.processor.store import Store
from services.processor.usage.jobs import AvUsage
from services.runtime.clickhouse import migrate
from services.runtime.clock import now_ms
from services.runtime.settings import Settings
from tests.bench.day import APP, DAY_MS, Day
from tests.bench.recording import GRID_MS
from tests.support.clickhouse import ClickHouseServer
from tests.support.processing import Worker

if TYPE_CHECKING:
    from collections.abc import Iterator

    from schemas.reports import AcceptedReport
    from tests.bench.day import Room

TURN_MS = 600_000
TARGET = 20.0
ROOMS_AT_ONCE = 50


async def fill(store: Store, day: Day) -> int:
    """Let the processor take in a day; how many samples of streams that were."""
    worker = Worker(store)
    for first in range(0, len(day.rooms), ROOMS_AT_ONCE):
        posted = [event for room in day.rooms[first : first + ROOMS_AT_ONCE] for event in events_of(room)]
        await worker.take_events(APP, *posted)
    await worker.recompute()
    intake = QualityIntake(store, worker.toucher, Thresholds())
    streams = 0
    for offset, reports in enumerate(turns(day.reports())):
        await intake.take([QualityRecord(0, offset, reports)])
        await worker.recompute()
        streams += sum(len(one.local) + len(one.remote) for report in reports for one in report.samples)
    for job in (CoarserRollups(MINUTES, 1), CoarserRollups(HOURS, 1), CoarserRollups(DAYS, 1), AvUsage()):
        await job.run(store)
    return streams


def turns(reports: Iterator[AcceptedReport]) -> Iterator[list[AcceptedReport]]:
    """What arrives within ten minutes, together: as many samples as a busy worker takes in at once."""
    turn: list[AcceptedReport] = []
    until = 0
    for report in reports:
        if report.arrival_ms >= until:
            if turn:
                yield turn
            turn, until = [], report.arrival_ms // TURN_MS * TURN_MS + TURN_MS
        turn.append(report)
    yield turn


def events_of(room: Room) -> Iterator[dict[str, Any]]:
    """What a media server would post of a call."""
    last = max(user.first_ms + GRID_MS * user.samples for user in room.users)
    yield _event(room, 101, room.users[0].first_ms, room.users[0].user_id)
    for user in room.users:
        role = 20 if user.sends else 21
        leaves = user.first_ms + GRID_MS * user.samples
        yield _event(room, 103, user.first_ms, user.user_id, Role=role, TerminalType=2, UserType=3, Reason=1)
        yield _event(room, 104, leaves, user.user_id, Role=role, Reason=1)
    yield _event(room, 102, last, None)


def _event(room: Room, kind: int, at_ms: int, user_id: str | None, **more: int) -> dict[str, Any]:
    who = {} if user_id is None else {"UserId": user_id}
    info = {"RoomId": room.room_id, "EventTs": at_ms // 1000, "EventMsTs": at_ms, **who, **more}
    return {"EventGroupId": 1, "EventType": kind, "EventInfo": info}


def rows_of(clickhouse: ClickHouseServer, sql: str) -> list[dict[str, Any]]:
    """The rows of a query."""
    answer = clickhouse.query(f"{sql} FORMAT JSON SETTINGS output_format_json_quote_64bit_integers = 0", timeout=600)
    rows: list[dict[str, Any]] = msgspec.json.decode(answer)["data"]
    return rows


def merge(clickhouse: ClickHouseServer, database: str) -> None:
    """Merge every table to one part a partition."""
    for row in rows_of(
        clickhouse,
        f"SELECT name FROM system.tables WHERE database = '{database}' AND engine LIKE '%MergeTree'",
    ):
        clickhouse.query(f"OPTIMIZE TABLE {database}.{row['name']} FINAL", timeout=600)


def sizes(clickhouse: ClickHouseServer, database: str, streams: int) -> float:
    """Print the bytes on disk by table, and by column of the large ones; gives the bytes of a stream sample in all.

    What a stream sample costs beside its own row depends on how many streams its user has at a time: that is printed
    for users of two streams too, who have the largest share.
    """
    tables = rows_of(
        clickhouse,
        "SELECT table, sum(rows) AS Rows, sum(bytes_on_disk) AS Bytes FROM system.parts "
        f"WHERE database = '{database}' AND active GROUP BY table ORDER BY Bytes DESC",
    )
    whole: float = sum(row["Bytes"] for row in tables) / streams
    click.echo(f"\n{'':<22}{'rows':>12}{'bytes':>14}{'bytes a stream sample':>24}")
    for row in tables:
        click.echo(f"{row['table']:<22}{row['Rows']:>12,}{row['Bytes']:>14,}{row['Bytes'] / streams:>24.3f}")
    click.echo(f"{'in all':<22}{'':>12}{'':>14}{whole:>24.3f}")
    size = {row["table"]: row["Bytes"] for row in tables}
    rows = {row["table"]: row["Rows"] for row in tables}
    own = size["streams"] / streams
    beside = (sum(size.values()) - size["streams"]) / rows["samples"]
    click.echo(
        f"{streams / rows['samples']:.1f} streams a sample; were it 2, {own + beside / 2:.2f} bytes a stream sample"
    )
    for table in ("streams", "samples", "user_10s"):
        columns = rows_of(
            clickhouse,
            "SELECT column, sum(column_bytes_on_disk) AS Bytes FROM system.parts_columns "
            f"WHERE database = '{database}' AND active AND table = '{table}' GROUP BY column ORDER BY Bytes DESC",
        )
        told = ", ".join(f"{row['column']} {row['Bytes'] / streams:.3f}" for row in columns)
        click.echo(f"{table}: {told}")
    return whole


async def measure(folder: Path, streams: int) -> None:
    """Fill, merge, print."""
    with ClickHouseServer(folder / "clickhouse") as clickhouse:
        settings = Settings(data=folder, clickhouse_url=clickhouse.url)
        await migrate(settings)
        database = settings.clickhouse_database
        # Yesterday, so that nothing of it is too old or yet to come.
        day = Day((now_ms() // DAY_MS - 1) * DAY_MS, streams)
        click.echo(f"values: {day.origin}")
        store = Store(settings)
        began = time.perf_counter()
        found = await fill(store, day)
        await store.close()
        click.echo(
            f"{found:,} samples of streams in {len(day.rooms):,} calls, taken in {time.perf_counter() - began:.0f} s"
        )
        merge(clickhouse, database)
        stored = rows_of(clickhouse, f"SELECT count() AS Rows FROM {database}.streams")[0]["Rows"]
        assert stored == found, f"{stored} rows of {found}"
        whole = sizes(clickhouse, database, found)
        click.echo(f"\n{whole:.2f} bytes a stream sample (target {TARGET:.0f})")


@click.command()
@click.option("--streams", default=3_000_000, show_default=True, help="Samples of streams in the simulated day, about.")
@click.option("--folder", type=click.Path(path_type=Path), help="Keep the data here instead of throwing it away.")
def bench(streams: int, folder: Path | None) -> None:
    """Bytes on disk of a stream sample."""
    with contextlib.ExitStack() as exits:
        where = folder or Path(exits.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
        asyncio.run(measure(where, streams))


if __name__ == "__main__":
    bench()
