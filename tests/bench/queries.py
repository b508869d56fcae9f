"""`make bench-storage BENCH=queries`: how long the console's questions take on a hundred million stream samples, cold.

Before each one ClickHouse is started anew and the pages of its files are dropped from the page cache. What is timed is
from the request to the last byte of the answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from services.console import queries
from services.console.buckets import BUCKET_MS, window_start
from services.console.queries import Query
from services.processor.store import Store
from services.runtime.clickhouse import connect, migrate
from services.runtime.clock import now_ms
from services.runtime.settings import Settings
from tests.bench import history, storage
from tests.bench.day import APP, DAY_MS, Day
from tests.support.clickhouse import ClickHouseServer

if TYPE_CHECKING:
    from clickhouse_connect.driver.asyncclient import AsyncClient

DAY_STREAMS = 3_000_000
TIMES = 3
POINT_S = 30
"""Seconds of a point in the charts of five hours."""

_REGIONS = """
SELECT Value, OnlineUsers, AbnormalUsers, VideoStutterMs / nullIf(VideoPlayMs, 0) * 100 AS VideoStutterRate,
    AudioStutterMs / nullIf(AudioPlayMs, 0) * 100 AS AudioStutterRate
FROM dimension_10s
WHERE SdkAppId = {app:UInt32} AND BucketTime = fromUnixTimestamp64Milli({bucket:Int64}, 'UTC') AND Dimension = 'region'
ORDER BY OnlineUsers DESC LIMIT 5
"""

_CALLS = """
SELECT CommId, RoomId, RoomIdType, StartTime, CloseTime, Status, FirstEntryTime, LastExitTime, JoinedUsers
FROM calls
WHERE SdkAppId = {app:UInt32} AND StartTime >= fromUnixTimestamp64Milli({since:Int64}, 'UTC')
    AND StartTime < fromUnixTimestamp64Milli({until:Int64}, 'UTC')
ORDER BY StartTime DESC LIMIT 10
"""

_ROOM = "SdkAppId = {app:UInt32} AND RoomId = {room:String} AND RoomIdType = 0"
_HEADER = f"SELECT * FROM calls WHERE {_ROOM} AND StartTime = fromUnixTimestamp64Milli({{since:Int64}}, 'UTC')"
_STAYS = f"SELECT * FROM call_users WHERE {_ROOM} AND CallTime = fromUnixTimestamp64Milli({{since:Int64}}, 'UTC')"

_MEASURED = f"""
{_ROOM} AND UserShard = CRC32({{user:String}}) % 16 AND UserId = {{user:String}}
    AND StartTime >= fromUnixTimestamp64Milli({{since:Int64}}, 'UTC')
    AND StartTime < fromUnixTimestamp64Milli({{until:Int64}}, 'UTC')
"""
_POINT = f"toStartOfInterval(StartTime, INTERVAL {POINT_S} SECOND)"

_SERIES = f"""
SELECT PeerId, Stream, {_POINT} AS Point, avg(Bitrate), max(Loss), max(Width), max(Height), avg(RecFps), avg(DecFps),
    avg(RenderFps), avg(Volume)
FROM streams FINAL
WHERE PeerId != '' AND {_MEASURED}
GROUP BY PeerId, Stream, Point ORDER BY PeerId, Stream, Point
"""

_DEVICE = f"""
SELECT {_POINT} AS Point, avg(Rtt), max(SysCpu), max(AppCpu), max(SdkTaskMs)
FROM samples FINAL WHERE {_MEASURED} GROUP BY Point ORDER BY Point
"""


class Question(NamedTuple):
    """A page of the console: what it asks for, one after another, and how long that may take."""

    name: str
    at_most_ms: int
    parts: dict[str, Query]


def questions(day_ms: int, call: history.Call) -> list[Question]:
    """The questions, with everything that they ask about."""
    evening_ms = day_ms + history.EVENING_MS
    last = evening_ms + history.EVENING_BUCKETS * BUCKET_MS
    where: dict[str, queries.Parameter] = {"app": APP, "since": day_ms, "until": day_ms + DAY_MS}
    long: dict[str, queries.Parameter] = {
        "app": APP,
        "room": history.LONG_ROOM,
        "user": call.user_id,
        "since": call.first_ms,
        "until": call.first_ms + history.LONG_MS,
    }
    return [
        Question(
            "live board, 64 minutes",
            200,
            {
                "points": queries.points(APP, window_start(last), last),
                "rooms": queries.rooms(APP, last, offset=0, size=10, search=""),
                "number of rooms": queries.room_count(APP, last, search=""),
                "regions": Query(_REGIONS, {"app": APP, "bucket": last}),
            },
        ),
        Question("call list, a page", 150, {"calls": Query(_CALLS, where)}),
        Question(
            "call details, 5 hours, 20 users",
            500,
            {
                "header": Query(_HEADER, long),
                "stays": Query(_STAYS, long),
                "38 series": Query(_SERIES, long),
                "device and network": Query(_DEVICE, long),
            },
        ),
    ]


def forget_pages(folder: Path) -> None:
    """Drop the files' pages from the page cache."""
    os.sync()
    for path in folder.rglob("*"):
        # Merges may have removed it meanwhile.
        with contextlib.suppress(OSError):
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(descriptor)


async def ask(client: AsyncClient, query: Query) -> tuple[float, int]:
    """Milliseconds until the last byte of the answer, and its rows."""
    began = time.perf_counter()
    answer = await client.raw_query(query.sql, parameters=dict(query.parameters), fmt="JSONCompactEachRow")
    return (time.perf_counter() - began) * 1000, answer.count(b"\n")


async def time_all(settings: Settings, clickhouse: ClickHouseServer, asked: list[Question]) -> None:
    """Each question, cold and then warm."""
    for question in asked:
        wholes: list[float] = []
        for turn in range(TIMES):
            clickhouse.stop()
            forget_pages(settings.data)
            clickhouse.start()
            client = await connect(settings)
            taken = {name: await ask(client, query) for name, query in question.parts.items()}
            warm = [(await ask(client, query))[0] for query in question.parts.values()]
            await client.close()
            wholes.append(sum(ms for ms, _ in taken.values()))
            told = ", ".join(f"{name} {ms:.0f} ms ({rows} rows)" for name, (ms, rows) in taken.items())
            click.echo(f"  {question.name}, {turn + 1}: {told}; warm {sum(warm):.0f} ms")
        best = sorted(wholes)[len(wholes) // 2]
        click.echo(f"{question.name}: {best:.0f} ms (at most {question.at_most_ms}), the middle of {TIMES}")


async def measure(folder: Path, streams: int, keep: bool) -> None:
    """Fill where nothing is there yet, and ask."""
    with ClickHouseServer(folder / "clickhouse") as clickhouse:
        settings = Settings(data=folder, clickhouse_url=clickhouse.url)
        database = settings.clickhouse_database
        await migrate(settings)
        noted = folder / "day"
        if not noted.exists():
            day = Day((now_ms() // DAY_MS - 1) * DAY_MS, DAY_STREAMS)
            store = Store(settings)
            await storage.fill(store, day)
            await history.fill(clickhouse, store, database, day.first_ms, streams)
            await store.close()
            noted.write_text(str(day.first_ms))
        day_ms = int(noted.read_text())
        (row,) = storage.rows_of(
            clickhouse,
            f"SELECT count() AS Rows, (SELECT count() FROM system.parts WHERE database = '{database}' "
            f"AND table = 'streams' AND active) AS Parts FROM {database}.streams",
        )
        (most,) = storage.rows_of(clickhouse, f"SELECT max(OnlineUsers) AS Users FROM {database}.app_10s")
        click.echo(f"{row['Rows']:,} stream samples in {row['Parts']} parts, at most {most['Users']:,} users online")
        await time_all(settings, clickhouse, questions(day_ms, history.long_call(day_ms)))
        if keep:
            return
        storage.merge(clickhouse, database)
        storage.sizes(clickhouse, database, row["Rows"])


@click.command()
@click.option("--streams", default=100_000_000, show_default=True, help="Stream samples, about.")
@click.option("--folder", type=click.Path(path_type=Path), help="Keep the data here, and use what is here.")
@click.option("--keep", is_flag=True, help="Neither merge nor print sizes at the end.")
def bench(streams: int, folder: Path | None, keep: bool) -> None:
    """How long the console's questions take on many samples, cold."""
    with contextlib.ExitStack() as exits:
        where = folder or Path(exits.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
        asyncio.run(measure(where, streams, keep))


if __name__ == "__main__":
    bench()
