"""How data come and go at the embedded ClickHouse: compressed, streamed, broken off, many at once."""

from __future__ import annotations

import gzip
import http.client
import io
import re
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import lz4.block
import lz4.frame
import psutil
import pytest
import zstandard

from tests.support.clickhouse import connection_to, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.clickhouse import Answer, ClickHouseServer

# They do not say which of their names are for others.
LZ4_BLOCK: Any = lz4.block
LZ4_FRAME: Any = lz4.frame
ENDLESS = "SELECT count() FROM system.numbers WHERE sipHash64(number) = 1"
"""A query that never has anything to send."""


@pytest.fixture(name="table")
def _table(clickhouse: ClickHouseServer) -> Iterator[str]:
    clickhouse.query("CREATE TABLE letters (Number UInt32, Letter String) ENGINE = MergeTree ORDER BY Number")
    yield "letters"
    clickhouse.query("DROP TABLE letters SYNC")


def test_an_exception_in_the_middle_of_a_stream_ends_it_with_its_text(clickhouse: ClickHouseServer) -> None:
    with connection_to(clickhouse) as connection:
        connection.request("POST", "/", "SELECT throwIf(number = 3000000) FROM numbers(10000000)")
        response = connection.getresponse()
        tag = response.headers["X-ClickHouse-Exception-Tag"]
        # A client that does not look into the body sees that the last chunk is missing.
        with pytest.raises(http.client.IncompleteRead) as broken:
            response.read()
    assert response.status == 200
    end = broken.value.partial[-1000:].decode()
    assert re.search(rf"__exception__\r\n{tag}\r\nCode: 395\. DB::Exception: .*\n\d+ {tag}\r\n__exception__\r\n$", end)


def compressed(encoding: str, data: bytes) -> bytes:
    compressors: dict[str, Callable[[bytes], bytes]] = {
        "gzip": gzip.compress,
        "deflate": zlib.compress,
        "zstd": zstandard.compress,
        "lz4": LZ4_FRAME.compress,
    }
    return compressors[encoding](data)


def decompressed(encoding: str, data: bytes) -> bytes:
    if encoding == "zstd":
        with zstandard.ZstdDecompressor().stream_reader(io.BytesIO(data)) as reader:
            return reader.read()
    decompressors: dict[str, Callable[[bytes], bytes]] = {
        "gzip": gzip.decompress,
        "deflate": zlib.decompress,
        "lz4": LZ4_FRAME.decompress,
    }
    return decompressors[encoding](data)


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "zstd", "lz4"])
def test_compression_both_ways(clickhouse: ClickHouseServer, table: str, encoding: str) -> None:
    rows = "".join(f"{number}\t{'letter' * 20}\n" for number in range(50_000)).encode()
    sent = compressed(encoding, rows)
    inserted = clickhouse.ask(sent, headers={"Content-Encoding": encoding}, query=f"INSERT INTO {table} FORMAT TSV")
    assert inserted.status == 200, inserted.text
    answer = clickhouse.ask(f"SELECT * FROM {table} ORDER BY Number", headers={"Accept-Encoding": encoding})
    assert answer.headers["content-encoding"] == encoding
    assert len(answer.body) < len(rows) / 10
    assert decompressed(encoding, answer.body) == rows
    assert clickhouse.ask("SELECT 1").headers.get("content-encoding") is None


def test_errors_of_compressed_answers_can_be_read(clickhouse: ClickHouseServer) -> None:
    answer = clickhouse.ask("SELECT nothing", headers={"Accept-Encoding": "gzip"})
    assert answer.status == 404
    text = gzip.decompress(answer.body) if answer.headers.get("content-encoding") == "gzip" else answer.body
    assert text.startswith(b"Code: 47. ")


def test_an_unknown_compression_is_refused(clickhouse: ClickHouseServer) -> None:
    answer = clickhouse.ask("SELECT 1", headers={"Content-Encoding": "nothing"})
    assert (answer.status, answer.headers["x-clickhouse-exception-code"]) == (501, "48")
    broken = clickhouse.ask(b"this is no gzip", headers={"Content-Encoding": "gzip"})
    assert broken.status >= 400


def test_clickhouse_own_compressed_blocks_both_ways(clickhouse: ClickHouseServer) -> None:
    answer = clickhouse.ask("SELECT 'native'", compress=1, network_compression_method="LZ4")
    # 16 bytes of checksum, the method (0x82 is LZ4), then the sizes of the block with these 9 bytes and without them.
    method, size, original = answer.body[16], *(int.from_bytes(answer.body[n : n + 4], "little") for n in (17, 21))
    assert (method, size, original) == (0x82, len(answer.body) - 16, len(b"native\n"))
    assert LZ4_BLOCK.decompress(answer.body[25:], uncompressed_size=original) == b"native\n"
    query = clickhouse.ask("SELECT 'SELECT 7' FORMAT RawBLOB", compress=1).body
    assert clickhouse.ask(query, decompress=1).text == "7\n"
    altered = clickhouse.ask(query[:-1] + b"8", decompress=1)
    assert altered.headers["x-clickhouse-exception-code"] == "271"
    assert "Checksum doesn't match" in altered.text


def test_a_large_result_is_streamed_in_bounded_memory(clickhouse: ClickHouseServer) -> None:
    assert clickhouse.process is not None
    memory = psutil.Process(clickhouse.process.pid).memory_info
    before = memory().rss
    with connection_to(clickhouse) as connection:
        connection.request("POST", "/", "SELECT number, repeat('x', 100) FROM system.numbers FORMAT RowBinary")
        response = connection.getresponse()
        assert response.status == 200
        received = 0
        while received < 500 << 20:
            received += len(response.read(4 << 20))
        assert memory().rss - before < 200 << 20
        # A client that stops reading makes the query wait.
        time.sleep(0.5)
        assert memory().rss - before < 200 << 20
        assert clickhouse.running("repeat('x', 100)") == 1
    wait_until(lambda: clickhouse.running("repeat('x', 100)") == 0)


@pytest.mark.parametrize(
    ("method", "user"), [("GET", "default"), ("POST", "default"), ("GET", "analyst"), ("POST", "analyst")]
)
def test_a_query_whose_client_went_away_is_cancelled(clickhouse: ClickHouseServer, method: str, user: str) -> None:
    headers = {"X-ClickHouse-User": user}
    with connection_to(clickhouse) as connection:
        if method == "GET":
            connection.request("GET", f"/?query={ENDLESS.replace(' ', '+')}", headers=headers)
        else:
            connection.request("POST", "/", ENDLESS, headers)
        wait_until(lambda: clickhouse.running(ENDLESS) == 1)
    wait_until(lambda: clickhouse.running(ENDLESS) == 0)


def test_an_insert_whose_client_went_away_is_left_to_finish(clickhouse: ClickHouseServer, table: str) -> None:
    with connection_to(clickhouse) as connection:
        statement = f"INSERT INTO {table} SELECT number, toString(sleepEachRow(0.3)) FROM numbers(6)"
        connection.request("POST", "/?max_block_size=1&function_sleep_max_microseconds_per_block=9000000", statement)
        wait_until(lambda: clickhouse.running("sleepEachRow") == 1)
    wait_until(lambda: clickhouse.running("sleepEachRow") == 0)
    assert clickhouse.query(f"SELECT count() FROM {table}") == "6\n"


def test_a_waiting_client_is_not_taken_for_one_that_went_away(clickhouse: ClickHouseServer) -> None:
    answer = clickhouse.ask("SELECT sleepEachRow(0.5) FROM numbers(4) FORMAT Null SETTINGS max_block_size = 1")
    assert answer.status == 200


def test_queries_can_be_killed(clickhouse: ClickHouseServer) -> None:
    with ThreadPoolExecutor(1) as thread:
        endless = thread.submit(clickhouse.ask, ENDLESS, query_id="to be killed")
        wait_until(lambda: clickhouse.running(ENDLESS) == 1)
        clickhouse.query("KILL QUERY WHERE query_id = 'to be killed' SYNC")
        answer = endless.result()
    assert (answer.status, answer.headers["x-clickhouse-exception-code"]) == (500, "394")


def test_many_clients_at_once(clickhouse: ClickHouseServer, table: str) -> None:
    barrier = threading.Barrier(32)

    def client(number: int) -> list[Answer]:
        barrier.wait()
        rows = "".join(f"{number * 1000 + n}\tx\n" for n in range(100))
        return [
            clickhouse.ask(rows, query=f"INSERT INTO {table} FORMAT TSV"),
            clickhouse.ask(f"SELECT count(), min(Number) FROM {table} WHERE intDiv(Number, 1000) = {number}"),
            clickhouse.ask(f"SELECT sum(number) FROM numbers({number})"),
        ]

    with ThreadPoolExecutor(32) as threads:
        for number, (inserted, counted, summed) in enumerate(threads.map(client, range(32))):
            assert inserted.status == 200
            # What was acknowledged can be read at once.
            assert counted.text == f"100\t{number * 1000}\n"
            assert summed.text == f"{sum(range(number))}\n"


def test_a_connection_serves_many_requests(clickhouse: ClickHouseServer) -> None:
    with connection_to(clickhouse) as connection:
        ports = set()
        for number in range(20):
            connection.request("POST", "/", f"SELECT {number}")
            response = connection.getresponse()
            assert response.read() == b"%d\n" % number
            assert response.headers["Connection"] == "Keep-Alive"
            ports.add(connection.sock.getsockname()[1])
        assert len(ports) == 1
