"""Clients that others wrote work against the embedded ClickHouse: clickhouse-connect, @clickhouse/client, curl."""

from __future__ import annotations

import asyncio
import datetime as dt
import decimal
import ipaddress
import json
import shutil
import subprocess
import time
import uuid
from typing import TYPE_CHECKING, Any

import clickhouse_connect
import pyarrow as pa
import pytest
from clickhouse_connect.driver.exceptions import DatabaseError
from clickhouse_connect.driver.external import ExternalData

from tests.contract import nodejs
from tests.support.clickhouse import ClickHouseServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from clickhouse_connect.driver.asyncclient import AsyncClient
    from clickhouse_connect.driver.client import Client

USER, PASSWORD = "owner", "pass: w@rd"
COMPRESSIONS = [False, "lz4", "zstd", "gzip", True]
COLUMNS = {
    "Id": "UInt64",
    "Name": "String",
    "Kind": "LowCardinality(String)",
    "Ratio": "Float64",
    "Maybe": "Nullable(Int32)",
    "Price": "Decimal(18, 4)",
    "Day": "Date",
    "At": "DateTime64(3, 'UTC')",
    "Tags": "Array(String)",
    "Counts": "Map(String, UInt32)",
    "Pair": "Tuple(UInt8, String)",
    "Key": "UUID",
    "Address": "IPv6",
    "State": "Enum8('on' = 1, 'off' = 2)",
    "Flag": "Bool",
}
TYPES = ", ".join(f"{name} {kind}" for name, kind in COLUMNS.items())


def row(number: int) -> list[Any]:
    return [
        2**63 + number,
        f"größer \t\n'{number}",
        ("a", "b")[number % 2],
        number / 7,
        None if number % 3 else -number,
        decimal.Decimal(number) / 8,
        dt.date(2026, 1, 1 + number % 28),
        dt.datetime(2026, 1, 2, 3, 4, 5, 678000, dt.UTC) + dt.timedelta(seconds=number),
        [f"t{n}" for n in range(number % 4)],
        {"x": number, "y": 2},
        (number % 256, "second"),
        uuid.UUID(int=number),
        ipaddress.IPv6Address(number),
        ("on", "off")[number % 2],
        number % 2 == 0,
    ]


ROWS = [row(number) for number in range(1000)]


@pytest.fixture(name="server", scope="module")
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouseServer]:
    folder = tmp_path_factory.mktemp("clickhouse")
    with ClickHouseServer(folder, user=USER, password=PASSWORD) as server:
        yield server


def options(server: ClickHouseServer, compress: bool | str) -> dict[str, Any]:
    return {
        "host": "127.0.0.1",
        "port": server.port,
        "username": USER,
        "password": PASSWORD,
        "compress": compress,
        "tz_mode": "aware",
    }


@pytest.fixture(name="client", params=COMPRESSIONS)
def _client(server: ClickHouseServer, request: pytest.FixtureRequest) -> Iterator[Client]:
    with clickhouse_connect.get_client(**options(server, request.param)) as client:
        client.command(f"CREATE OR REPLACE TABLE things ({TYPES}) ENGINE = MergeTree ORDER BY Id")
        yield client


@pytest.fixture(name="async_client", params=COMPRESSIONS)
async def _async_client(server: ClickHouseServer, request: pytest.FixtureRequest) -> AsyncIterator[AsyncClient]:
    client = await clickhouse_connect.get_async_client(**options(server, request.param), autogenerate_session_id=False)
    async with client:
        await client.command(f"CREATE OR REPLACE TABLE things ({TYPES}) ENGINE = MergeTree ORDER BY Id")
        yield client


def test_clickhouse_connect_inserts_and_reads_every_type(client: Client) -> None:
    summary = client.insert("things", ROWS[:300], column_names=list(COLUMNS))
    assert summary.written_rows == 300
    columns = [list(column) for column in zip(*ROWS[300:], strict=True)]
    client.insert("things", columns, column_names=list(COLUMNS), column_oriented=True)
    result = client.query("SELECT * FROM things ORDER BY Id")
    assert result.column_names == tuple(COLUMNS)
    assert [list(row) for row in result.result_rows] == ROWS
    assert result.query_id


def test_clickhouse_connect_streams_and_binds(client: Client) -> None:
    client.insert("things", ROWS, column_names=list(COLUMNS))
    bound = client.query(
        "SELECT Name FROM things WHERE Id = {id:UInt64} AND has({kinds:Array(String)}, Kind)",
        parameters={"id": 2**63 + 1, "kinds": ["b", "it's"]},
        settings={"max_threads": 1},
    )
    assert bound.result_rows == [(ROWS[1][1],)]
    with client.query_rows_stream("SELECT number, toString(number) FROM numbers(300000)") as stream:
        count = total = 0
        for number, text in stream:
            assert str(number) == text
            count, total = count + 1, total + number
    assert (count, total) == (300_000, sum(range(300_000)))
    outside = ExternalData(file_name="ids.csv", data=b"1\n2\n", fmt="CSV", structure="n UInt64")
    assert client.query("SELECT sum(n) FROM ids", external_data=outside).first_row == (3,)
    raw = client.raw_query("SELECT count() FROM things", fmt="CSV")
    assert raw == b"1000\n"


def test_clickhouse_connect_has_sessions_and_errors(client: Client) -> None:
    assert client.ping()
    assert client.command("SELECT timezone()") == "UTC"
    client.command("CREATE TEMPORARY TABLE mine (n UInt8)")
    client.insert("mine", [[7]], column_names=["n"])
    assert client.query("SELECT n FROM mine").first_row == (7,)
    with pytest.raises(DatabaseError, match=r"(?s)code: 60.*UNKNOWN_TABLE|Code: 60\..*UNKNOWN_TABLE"):
        client.query("SELECT * FROM nowhere")
    with pytest.raises(DatabaseError, match="said so"):
        client.command("SELECT throwIf(1, 'said so')")
    with (
        pytest.raises(Exception, match=r"(?i)395|throwIf|stream|closed"),
        client.query_rows_stream("SELECT throwIf(number = 3000000) FROM numbers(10000000)") as stream,
    ):
        for _ in stream:
            pass
    # And works again.
    assert client.query("SELECT 1").first_row == (1,)


def test_clickhouse_connect_speaks_arrow(client: Client) -> None:
    numbers = pa.array(range(20_000), pa.uint64())
    table = pa.table(
        {
            "Id": numbers,
            "Name": pa.array([f"n{n}" for n in range(20_000)]),
            "At": pa.array([n * 1000 for n in range(20_000)], pa.timestamp("ms", "UTC")),
            "Tags": pa.array([["a"] * (n % 3) for n in range(20_000)], pa.list_(pa.string())),
            "Maybe": pa.array([n if n % 2 else None for n in range(20_000)], pa.int32()),
        }
    )
    client.insert_arrow("things", table)
    read = client.query_arrow("SELECT Id, Name, At, Tags, Maybe FROM things ORDER BY Id", use_strings=True)
    assert read.num_rows == 20_000
    for name in table.column_names:
        assert read[name].to_pylist() == table[name].to_pylist()
    with client.query_arrow_stream("SELECT Id FROM things") as stream:
        assert sum(batch.num_rows for batch in stream) == 20_000


def test_clickhouse_connect_speaks_pandas(client: Client) -> None:
    pandas = pytest.importorskip("pandas", reason="an option of clickhouse-connect")
    frame = pandas.DataFrame({"Id": range(1000), "Name": [f"n{n}" for n in range(1000)], "Ratio": 0.5})
    client.insert_df("things", frame)
    read = client.query_df("SELECT Id, Name, Ratio FROM things ORDER BY Id")
    assert read.to_dict("list") == frame.to_dict("list")


async def test_asynchronous_clickhouse_connect(async_client: AsyncClient) -> None:
    client = async_client
    await client.insert("things", ROWS, column_names=list(COLUMNS))
    result = await client.query("SELECT * FROM things ORDER BY Id")
    assert [list(row) for row in result.result_rows] == ROWS
    queries = [client.query("SELECT {n:UInt32} + sleep(0.2)", parameters={"n": n}) for n in range(8)]
    assert [answer.first_row for answer in await asyncio.gather(*queries)] == [(n,) for n in range(8)]
    async with await client.query_rows_stream("SELECT number FROM numbers(300000)") as stream:
        assert sum([number async for (number,) in stream]) == sum(range(300_000))
    with pytest.raises(DatabaseError, match="UNKNOWN_TABLE"):
        await client.query("SELECT * FROM nowhere")
    assert await client.ping()


async def test_asynchronous_clickhouse_connect_speaks_arrow(async_client: AsyncClient) -> None:
    table = pa.table({"Id": pa.array(range(50_000), pa.uint64()), "Name": pa.array(["x"] * 50_000)})
    await async_client.insert_arrow("things", table)
    read = await async_client.query_arrow("SELECT Id, Name FROM things ORDER BY Id", use_strings=True)
    assert read.to_pydict() == table.to_pydict()


async def test_an_asynchronous_query_that_is_cancelled_ends_on_the_server(
    server: ClickHouseServer, async_client: AsyncClient
) -> None:
    endless = "SELECT count() FROM system.numbers WHERE sipHash64(number) = 2"
    query = asyncio.create_task(async_client.query(endless))
    while not server.running(endless):
        await asyncio.sleep(0.02)
    query.cancel()
    with pytest.raises(asyncio.CancelledError):
        await query
    deadline = time.monotonic() + 10
    while server.running(endless):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


@pytest.mark.parametrize("compress", COMPRESSIONS)
def test_clickhouse_connect_as_the_analyst(server: ClickHouseServer, compress: bool | str) -> None:
    analyst = {**options(server, compress), "username": "analyst", "password": ""}
    with clickhouse_connect.get_client(**analyst) as client:
        assert client.query("SELECT {n:UInt8}", parameters={"n": 7}, settings={"max_threads": 2}).first_row == (7,)
        assert client.query_arrow("SELECT number FROM numbers(3)").to_pydict() == {"number": [0, 1, 2]}
        with client.query_rows_stream("SELECT number FROM numbers(5)") as stream:
            assert len(list(stream)) == 5
        with pytest.raises(DatabaseError, match="READONLY"):
            client.command("CREATE TEMPORARY TABLE mine (n UInt8)")


def test_strangers_are_refused(server: ClickHouseServer) -> None:
    with pytest.raises(DatabaseError, match="AUTHENTICATION_FAILED"):
        clickhouse_connect.get_client(**{**options(server, True), "password": "wrong"})


@pytest.mark.parametrize("compression", [False, True])
def test_the_npm_package(server: ClickHouseServer, compression: bool) -> None:
    given = {"url": server.url, "username": USER, "password": PASSWORD, "compression": compression}
    said = json.loads(nodejs.run("clickhouse.mjs", given=json.dumps(given)))
    assert said == {
        "ping": True,
        "written": "2",
        "insertedId": True,
        "rows": [
            {
                "id": "18446744073709551615",
                "name": "größer \t\n '\"",
                "tags": ["a", "b"],
                "at": "2026-01-02 03:04:05.678",
            }
        ],
        "types": ["UInt64", "String", "Array(String)", "DateTime64(3, 'UTC')"],
        "streamed": [200_000, sum(range(200_000))],
        "session": [{"n": 7}],
        "settings": [{"size": 123}],
        "unknownTable": {"code": "60", "type": "UNKNOWN_TABLE"},
        "syntax": "62",
        "late": {"code": "395", "type": "FUNCTION_THROW_IF_VALUE_IS_NON_ZERO"},
        "stranger": {"code": "516", "type": "AUTHENTICATION_FAILED"},
        "aborted": True,
    }


def curl(server: ClickHouseServer, *arguments: str, path: str = "/", given: bytes = b"") -> bytes:
    """What curl prints; an HTTP error is an exit status of 22."""
    program = shutil.which("curl")
    if program is None:
        pytest.skip("curl is not on this machine")
    return subprocess.run(
        [program, "-sS", "--fail", *arguments, f"{server.url}{path}"], input=given, capture_output=True, check=True
    ).stdout


def test_curl(server: ClickHouseServer, tmp_path: Path) -> None:
    user = ("--user", f"{USER}:{PASSWORD}")
    assert curl(server, path="/ping") == b"Ok.\n"
    assert curl(server, *user, path="/?query=SELECT%201") == b"1\n"
    assert curl(server, *user, "--get", "--data-urlencode", "query=SELECT 'ä' || '&'") == "ä&\n".encode()
    assert curl(server, *user, "--data", "SELECT 2") == b"2\n"
    assert curl(server, *user, "--data-binary", "@-", given=b"SELECT 3 FORMAT JSONEachRow") == b'{"3":3}\n'
    assert (
        curl(server, "-H", f"X-ClickHouse-User: {USER}", "-H", f"X-ClickHouse-Key: {PASSWORD}", "-d", "SELECT 4")
        == b"4\n"
    )
    numbers = b"".join(b"%d\n" % n for n in range(100_000))
    headers = tmp_path / "headers"
    assert (
        curl(server, *user, "--compressed", "-D", str(headers), "-d", "SELECT number FROM numbers(100000)") == numbers
    )
    assert "content-encoding:" in headers.read_text().lower()
    curl(server, *user, "-d", "CREATE TABLE by_curl (n UInt32) ENGINE = MergeTree ORDER BY n")
    file = tmp_path / "numbers.tsv"
    file.write_bytes(numbers)
    insert = "/?query=INSERT%20INTO%20by_curl%20FORMAT%20TSV"
    # More than a megabyte: curl asks before it sends, and sends a file in chunks.
    curl(server, *user, "-T", "-", "-X", "POST", path=insert, given=numbers * 3)
    curl(server, *user, "--data-binary", f"@{file}", path=insert)
    assert curl(server, *user, "-d", "SELECT count(), sum(n) FROM by_curl") == (
        b"400000\t%d\n" % (4 * sum(range(100_000)))
    )
    with pytest.raises(subprocess.CalledProcessError) as failed:
        curl(server, *user, "-d", "SELECT * FROM nowhere")
    assert failed.value.returncode == 22
    assert b"404" in failed.value.stderr
    with pytest.raises(subprocess.CalledProcessError):
        curl(server, "--user", f"{USER}:wrong", "-d", "SELECT 1")
