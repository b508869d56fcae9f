"""The life of the embedded ClickHouse: what it keeps, how it ends, what it does with too little memory."""

from __future__ import annotations

import http.client
import signal
import socket
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.support.clickhouse import ClickHouseServer, connection_to, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MEMORY = 512 << 20
SMALL = {"ROOMPULSE_CLICKHOUSE_MEMORY_BYTES": str(MEMORY)}
ENDLESS = "SELECT count() FROM system.numbers WHERE sipHash64(number) = 1"
BATCHES = 200
ROWS = 50


@pytest.fixture(name="server", scope="module")
def _shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouseServer]:
    server = ClickHouseServer(tmp_path_factory.mktemp("clickhouse"), environment=SMALL)
    yield server
    server.stop()


@pytest.fixture(name="running")
def _running(server: ClickHouseServer) -> ClickHouseServer:
    """A server that runs, and may be stopped and killed."""
    return server if server.process else server.start()


class Inserter:
    """Inserts numbered batches from several threads, each batch until it is acknowledged."""

    def __init__(self, server: ClickHouseServer, table: str) -> None:
        self._server = server
        self._table = table
        self._todo = iter(range(BATCHES))
        self._lock = threading.Lock()
        self.acknowledged: set[int] = set()
        self.outstanding: set[int] = set()
        """Sent and not yet answered."""

    def work(self) -> None:
        """Take batches until none is left."""
        while True:
            with self._lock:
                batch = next(self._todo, None)
            if batch is None:
                return
            self._insert(batch)

    def wait_for(self, count: int) -> None:
        """Return when so many batches are acknowledged and further ones are on their way."""
        wait_until(lambda: len(self.acknowledged) >= count and bool(self.outstanding))

    def _insert(self, batch: int) -> None:
        rows = "".join(f"{batch}\t{row}\n" for row in range(ROWS))
        while batch not in self.acknowledged:
            self.outstanding.add(batch)
            with suppress(OSError, http.client.HTTPException):
                answer = self._server.ask(rows, query=f"INSERT INTO {self._table} FORMAT TSV", async_insert=batch % 2)
                assert answer.status == 200, answer.text
                self.acknowledged.add(batch)
            self.outstanding.discard(batch)
            time.sleep(0.01)


def test_killing_it_loses_no_acknowledged_insert(running: ClickHouseServer) -> None:
    # As the tables of facts do, it takes rows of the same key for one: what failed is sent again.
    running.query("CREATE TABLE numbers (Batch UInt32, Row UInt32) ENGINE = ReplacingMergeTree ORDER BY (Batch, Row)")
    inserter = Inserter(running, "numbers")
    with ThreadPoolExecutor(8) as threads:
        working = [threads.submit(inserter.work) for _ in range(8)]
        for enough in (BATCHES // 4, BATCHES // 2):
            inserter.wait_for(enough)
            running.kill9()
            surely = set(inserter.acknowledged)
            running.start()
            there = set(map(int, running.query("SELECT DISTINCT Batch FROM numbers").split()))
            assert surely - there == set()
        for one in working:
            one.result()
    assert inserter.acknowledged == set(range(BATCHES))
    assert running.query("SELECT count(), uniqExact(Batch) FROM numbers FINAL") == f"{BATCHES * ROWS}\t{BATCHES}\n"


def test_stopping_keeps_everything_and_the_next_start_goes_on(running: ClickHouseServer) -> None:
    running.query("CREATE TABLE facts (n UInt32) ENGINE = MergeTree ORDER BY n")
    running.query("CREATE TABLE sums (t UInt8, s UInt64) ENGINE = SummingMergeTree ORDER BY t")
    running.query("CREATE MATERIALIZED VIEW to_sums TO sums AS SELECT 1 AS t, sum(n) AS s FROM facts GROUP BY t")
    running.query("INSERT INTO facts SELECT number FROM numbers(10)")
    assert running.stop() == 0
    running.start()
    running.query("INSERT INTO facts SELECT 100")
    assert running.query("SELECT sum(n) FROM facts") == "145\n"
    assert running.query("SELECT sum(s) FROM sums") == "145\n"
    running.query("DROP VIEW to_sums SYNC")
    running.query("DROP TABLE sums SYNC")
    running.query("DROP TABLE facts SYNC")


def test_a_token_makes_an_insert_happen_once(running: ClickHouseServer) -> None:
    running.query(
        "CREATE TABLE once (n UInt32) ENGINE = MergeTree ORDER BY n SETTINGS non_replicated_deduplication_window = 100"
    )
    for token, first in (("a", 0), ("a", 0), ("b", 0), ("a", 5)):
        inserted = running.ask(
            "".join(f"{first + n}\n" for n in range(3)),
            query="INSERT INTO once FORMAT TSV",
            insert_deduplication_token=token,
        )
        assert inserted.status == 200
    assert running.query("SELECT n, count() FROM once GROUP BY n ORDER BY n") == "0\t2\n1\t2\n2\t2\n"


def test_parts_are_merged_in_the_background(running: ClickHouseServer) -> None:
    running.query("CREATE TABLE merged (n UInt32, v UInt32) ENGINE = ReplacingMergeTree(v) ORDER BY n")
    for version in range(30):
        running.ask("INSERT INTO merged SELECT number, {v:UInt32} FROM numbers(10)", param_v=version)
    # Nobody asks for it.
    wait_until(lambda: int(running.query("SELECT count() FROM system.parts WHERE table = 'merged' AND active")) < 15)
    assert running.query("SELECT count(), min(v) FROM merged FINAL") == "10\t29\n"


def test_rows_past_their_time_go_and_mutations_happen(running: ClickHouseServer) -> None:
    running.query(
        "CREATE TABLE dated (At DateTime, n UInt32) ENGINE = MergeTree ORDER BY n "
        "TTL At + INTERVAL 1 DAY SETTINGS merge_with_ttl_timeout = 0"
    )
    running.query("INSERT INTO dated SELECT if(number < 5, now() - INTERVAL 2 DAY, now()), number FROM numbers(10)")
    wait_until(lambda: running.query("SELECT count() FROM dated") == "5\n")
    running.query("ALTER TABLE dated DELETE WHERE n < 7 SETTINGS mutations_sync = 1")
    assert running.query("SELECT count(), min(n) FROM dated") == "3\t7\n"


def test_views_are_refreshed(running: ClickHouseServer) -> None:
    running.query("CREATE MATERIALIZED VIEW clock REFRESH EVERY 1 SECOND ENGINE = Memory AS SELECT now64(3) AS At")
    wait_until(lambda: running.query("SELECT count() FROM clock") == "1\n")
    first = running.query("SELECT At FROM clock")
    wait_until(lambda: running.query("SELECT At FROM clock") != first)
    running.query("DROP VIEW clock SYNC")


def test_too_large_queries_end_and_the_server_lives(running: ClickHouseServer) -> None:
    assert running.process is not None
    process = psutil.Process(running.process.pid)
    peak = 0
    with ThreadPoolExecutor(4) as threads:
        large = "SELECT number, count() FROM numbers(200000000) GROUP BY number FORMAT Null"
        answers = [threads.submit(running.ask, large) for _ in range(4)]
        while not all(answer.done() for answer in answers):
            peak = max(peak, process.memory_info().rss)
            time.sleep(0.01)
    for answer in answers:
        assert (answer.result().status, answer.result().headers["x-clickhouse-exception-code"]) == (500, "241")
        assert "(MEMORY_LIMIT_EXCEEDED)" in answer.result().text
    # The program itself is no part of the limit.
    assert peak < MEMORY + (400 << 20)
    # What they had is given back to the system within moments.
    wait_until(lambda: running.ask("SELECT sum(number) FROM numbers(1000000)").text == f"{sum(range(1_000_000))}\n")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_idle_server_stops(running: ClickHouseServer, number: signal.Signals) -> None:
    with connection_to(running) as connection:
        connection.request("GET", "/ping")
        connection.getresponse().read()
        assert seconds_to_stop(running, number) < 4


def test_running_queries_do_not_hold_up_the_end(running: ClickHouseServer) -> None:
    running.query("CREATE TABLE slow (n UInt8) ENGINE = MergeTree ORDER BY n")
    with ThreadPoolExecutor(3) as threads, connection_to(running) as reader:
        reader.request("POST", "/", "SELECT * FROM system.numbers")
        reader.getresponse().read(1000)
        slow_insert = "INSERT INTO slow SELECT sleepEachRow(1) FROM numbers(60) SETTINGS max_block_size = 1"
        for query in (ENDLESS, "SELECT sleep(3), sleep(3), sleep(3), sleep(3)", slow_insert):
            threads.submit(running.ask, query)
        wait_until(lambda: all(running.running(text) for text in ("sipHash64", "sleep(3)", "sleepEachRow", "* FROM")))
        assert seconds_to_stop(running, signal.SIGTERM) < 4
    running.start()
    running.query("DROP TABLE slow SYNC")


def test_a_query_that_ends_soon_gets_its_answer_before_the_end(running: ClickHouseServer) -> None:
    with ThreadPoolExecutor(1) as threads:
        answer = threads.submit(running.ask, "SELECT sleep(1), 'done'")
        wait_until(lambda: running.running("'done'") == 1)
        assert seconds_to_stop(running, signal.SIGTERM) < 4
        assert answer.result().text == "0\tdone\n"


def test_a_second_server_on_the_same_folder_is_refused_in_one_line(running: ClickHouseServer) -> None:
    assert running.process is not None
    line = refusal(ClickHouseServer(running.data))
    assert line.endswith(f"another ClickHouse (process {running.process.pid}) holds {running.data / 'clickhouse'}")
    assert running.query("SELECT 1") == "1\n"


def test_a_port_in_use_is_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        line = refusal(ClickHouseServer(tmp_path, port))
    assert f"cannot listen on 127.0.0.1:{port} for ClickHouse: Address already in use" in line


def test_a_folder_that_cannot_be_used_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert f"Not a directory: '{tmp_path / 'file' / 'clickhouse'}'" in refusal(ClickHouseServer(tmp_path / "file"))


def test_a_user_that_cannot_be_is_one_line(tmp_path: Path) -> None:
    line = refusal(ClickHouseServer(tmp_path, user="default", password="x"))
    assert "user default has no password: name another user in its URL" in line


def test_damaged_tables_are_one_line(tmp_path: Path) -> None:
    with ClickHouseServer(tmp_path) as server:
        server.query("CREATE TABLE facts (n UInt8) ENGINE = MergeTree ORDER BY n")
        [path] = (tmp_path / "clickhouse/store").rglob("facts.sql")
    path.write_text("ATTACH TABLE _ nonsense")
    assert "facts.sql" in refusal(ClickHouseServer(tmp_path))


def refusal(server: ClickHouseServer) -> str:
    """The one line that a server says that cannot start."""
    process = server.launch(stderr=subprocess.PIPE)
    try:
        _, said = process.communicate(timeout=60)
    finally:
        server.kill9()
    assert process.returncode == 1
    [line] = said.decode().splitlines()
    return line.partition(" [services.")[0].rstrip()


def seconds_to_stop(server: ClickHouseServer, number: signal.Signals) -> float:
    process = server.process
    assert process is not None
    started = time.monotonic()
    process.send_signal(number)
    assert process.wait(30) == 0
    server.kill9()
    return time.monotonic() - started
