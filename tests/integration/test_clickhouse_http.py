"""The embedded ClickHouse answers HTTP requests as ClickHouse's documentation says that it does."""

from __future__ import annotations

import http.client
import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.support.clickhouse import connection_to, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.clickhouse import ClickHouseServer


@pytest.fixture(name="table")
def _table(clickhouse: ClickHouseServer) -> Iterator[str]:
    clickhouse.query("CREATE TABLE letters (Number UInt32, Letter String) ENGINE = MergeTree ORDER BY Number")
    yield "letters"
    clickhouse.query("DROP TABLE letters SYNC")


def test_ping_and_health(clickhouse: ClickHouseServer) -> None:
    for path in ("/ping", "/", "/healthz"):
        answer = clickhouse.ask(method="GET", path=path)
        assert (answer.status, answer.text) == (200, "Ok.\n")
    assert clickhouse.ask(method="GET", path="/readyz").status == 200
    assert clickhouse.ask(method="HEAD", path="/ping").status == 200
    assert "\nClickHouseProfileEvents_Query " in clickhouse.ask(method="GET", path="/metrics").text
    assert clickhouse.ask(method="GET", path="/nowhere").status == 404


def test_a_query_in_the_url_or_the_body_or_both(clickhouse: ClickHouseServer) -> None:
    assert clickhouse.ask(method="GET", query="SELECT 1").text == "1\n"
    assert clickhouse.ask("SELECT 2").text == "2\n"
    assert clickhouse.ask("", query="SELECT 3").text == "3\n"
    assert clickhouse.ask(" 4, 5", query="SELECT").text == "4\t5\n"


def test_get_only_reads(clickhouse: ClickHouseServer) -> None:
    answer = clickhouse.ask(method="GET", query="CREATE TABLE made_by_get (a Int8) ENGINE = Memory")
    assert (answer.status, answer.headers["x-clickhouse-exception-code"]) == (500, "164")
    assert "method GET implies readonly" in answer.text
    assert clickhouse.query("EXISTS TABLE made_by_get") == "0\n"


def test_data_follows_an_insert_in_the_body(clickhouse: ClickHouseServer, table: str) -> None:
    clickhouse.ask("1\ta\n2\tb\n", query=f"INSERT INTO {table} FORMAT TabSeparated")
    clickhouse.ask(f"INSERT INTO {table} FORMAT CSV\n3,c\n")
    clickhouse.ask(f"INSERT INTO {table} VALUES (4, 'd')")
    answer = clickhouse.ask('{"Number": 5, "Letter": "e"}', query=f"INSERT INTO {table} FORMAT JSONEachRow")
    assert json.loads(answer.headers["x-clickhouse-summary"])["written_rows"] == "1"
    assert clickhouse.query(f"SELECT Number, Letter FROM {table} ORDER BY 1 FORMAT CSV") == (
        '1,"a"\n2,"b"\n3,"c"\n4,"d"\n5,"e"\n'
    )


def test_data_may_come_in_chunks(clickhouse: ClickHouseServer, table: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", clickhouse.port, timeout=60)
    rows = (b"".join(b"%d\tx\n" % (start + n) for n in range(10_000)) for start in range(0, 500_000, 10_000))
    connection.request("POST", f"/?query=INSERT+INTO+{table}+FORMAT+TSV", rows, encode_chunked=True)
    assert connection.getresponse().status == 200
    connection.close()
    assert clickhouse.query(f"SELECT count(), uniqExact(Number), sum(Number) FROM {table}") == (
        f"500000\t500000\t{sum(range(500_000))}\n"
    )


@pytest.mark.parametrize("by", ["parameter", "header"])
def test_database_and_format_can_be_chosen(clickhouse: ClickHouseServer, by: str) -> None:
    query = "SELECT currentDatabase() AS name"
    if by == "parameter":
        answer = clickhouse.ask(query, database="system", default_format="JSONEachRow")
    else:
        answer = clickhouse.ask(
            query, headers={"X-ClickHouse-Database": "system", "X-ClickHouse-Format": "JSONEachRow"}
        )
    assert answer.text == '{"name":"system"}\n'
    assert answer.headers["x-clickhouse-format"] == "JSONEachRow"
    assert answer.headers["content-type"].startswith("application/x-ndjson")
    assert clickhouse.ask(f"{query} FORMAT CSV", default_format="JSON").text == '"default"\n'


def test_parameters_of_queries(clickhouse: ClickHouseServer) -> None:
    answer = clickhouse.ask(
        "SELECT {text:String}, {numbers:Array(UInt8)}, {when:DateTime('UTC')}, count() FROM {table:Identifier}",
        param_text="Jürgen's \\t <tab>",
        param_numbers="[1,2]",
        param_when="2026-01-02 03:04:05",
        param_table="one",
        database="system",
    )
    assert answer.text == "Jürgen\\'s \\t <tab>\t[1,2]\t2026-01-02 03:04:05\t1\n"
    assert clickhouse.ask("SELECT {missing:UInt8}").headers["x-clickhouse-exception-code"] == "456"
    form = b'--b\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n'
    body = form % (b"query", b"SELECT {x:UInt8} + 1") + form % (b"param_x", b"41") + b"--b--\r\n"
    assert clickhouse.ask(body, headers={"Content-Type": "multipart/form-data; boundary=b"}).text == "42\n"


def test_tables_can_be_sent_along(clickhouse: ClickHouseServer) -> None:
    body = (
        b'--b\r\nContent-Disposition: form-data; name="sent"; filename="sent"\r\n'
        b"Content-Type: application/octet-stream\r\n\r\n1\n2\n39\n\r\n--b--\r\n"
    )
    answer = clickhouse.ask(
        body,
        headers={"Content-Type": "multipart/form-data; boundary=b", "X-ClickHouse-User": "analyst"},
        query="SELECT sum(n) FROM sent",
        sent_structure="n UInt8",
    )
    assert answer.text == "42\n"


def test_settings_in_the_url(clickhouse: ClickHouseServer) -> None:
    assert clickhouse.ask("SELECT getSetting('max_block_size')", max_block_size=123).text == "123\n"
    refused = clickhouse.ask("SELECT number FROM numbers(10)", max_result_rows=1)
    assert (refused.status, refused.headers["x-clickhouse-exception-code"]) == (500, "396")
    unknown = clickhouse.ask("SELECT 1", no_such_setting=1)
    assert (unknown.status, unknown.headers["x-clickhouse-exception-code"]) == (404, "115")
    assert "Unknown setting 'no_such_setting'" in unknown.text


def test_sessions(clickhouse: ClickHouseServer) -> None:
    clickhouse.ask("CREATE TEMPORARY TABLE mine (a Int8)", session_id="one")
    clickhouse.ask("SET max_block_size = 77", session_id="one")
    assert clickhouse.ask("INSERT INTO mine VALUES (1)", session_id="one").status == 200
    assert clickhouse.ask("SELECT a, getSetting('max_block_size') FROM mine", session_id="one").text == "1\t77\n"
    assert clickhouse.ask("SELECT a FROM mine", session_id="other").headers["x-clickhouse-exception-code"] == "60"
    assert (
        clickhouse.ask("SELECT 1", session_id="none", session_check=1).headers["x-clickhouse-exception-code"] == "372"
    )
    with ThreadPoolExecutor(1) as thread:
        long = thread.submit(clickhouse.ask, "SELECT sleep(1.5), 'long'", session_id="one")
        wait_until(lambda: clickhouse.running("'long'") == 1)
        locked = clickhouse.ask("SELECT 1", session_id="one")
        assert (locked.status, locked.headers["x-clickhouse-exception-code"]) == (500, "373")
        assert long.result().status == 200


def test_what_the_answer_tells_of_the_query(clickhouse: ClickHouseServer) -> None:
    answer = clickhouse.ask("SELECT queryID() FROM numbers(10) LIMIT 1", query_id="mine", wait_end_of_query=1)
    assert answer.text == "mine\n"
    assert answer.headers["x-clickhouse-query-id"] == "mine"
    assert answer.headers["x-clickhouse-format"] == "TabSeparated"
    assert answer.headers["x-clickhouse-timezone"] == "UTC"
    assert answer.headers["x-clickhouse-server-display-name"] == "roompulse"
    summary = json.loads(answer.headers["x-clickhouse-summary"])
    assert (summary["result_rows"], int(summary["read_rows"]) >= 1, int(summary["elapsed_ns"]) > 0) == ("1", True, True)
    first, second = (clickhouse.ask("SELECT 1").headers["x-clickhouse-query-id"] for _ in range(2))
    assert first != second
    zone = clickhouse.ask("SELECT toDateTime(0)", session_timezone="Asia/Tokyo")
    assert (zone.text, zone.headers["x-clickhouse-timezone"]) == ("1970-01-01 09:00:00\n", "Asia/Tokyo")


def test_a_query_id_that_is_in_use_is_refused(clickhouse: ClickHouseServer) -> None:
    with ThreadPoolExecutor(1) as thread:
        first = thread.submit(clickhouse.ask, "SELECT sleep(1)", query_id="twice")
        wait_until(lambda: clickhouse.query("SELECT count() FROM system.processes WHERE query_id = 'twice'") == "1\n")
        second = clickhouse.ask("SELECT 1", query_id="twice")
        assert (second.status, second.headers["x-clickhouse-exception-code"]) == (500, "216")
        assert first.result().status == 200


def test_progress_in_headers(clickhouse: ClickHouseServer) -> None:
    with connection_to(clickhouse) as connection:
        parameters = "send_progress_in_http_headers=1&http_headers_progress_interval_ms=10"
        connection.request("POST", f"/?{parameters}", "SELECT sum(sipHash64(number)) FROM numbers(30000000)")
        response = connection.getresponse()
        response.read()
        progress = [json.loads(text) for text in response.headers.get_all("X-ClickHouse-Progress") or []]
    assert len(progress) >= 2
    assert int(progress[-1]["read_rows"]) > int(progress[0]["read_rows"])


@pytest.mark.parametrize(
    ("query", "status", "code", "text"),
    [
        ("SELCT 1", 400, "62", "Code: 62. DB::Exception: Syntax error"),
        ("", 400, "62", "Code: 62. DB::Exception: Empty query. (SYNTAX_ERROR)"),
        ("SELECT * FROM nowhere", 404, "60", "Code: 60. DB::Exception: Unknown table expression identifier 'nowhere'"),
        ("SELECT nothing", 404, "47", "Code: 47. DB::Exception: Unknown expression identifier `nothing`"),
        ("SELECT nofunction(1)", 404, "46", "(UNKNOWN_FUNCTION)"),
        ("SELECT 1 FORMAT NoFormat", 404, "73", "(UNKNOWN_FORMAT)"),
        ("SELECT toUInt8('x')", 400, "6", "(CANNOT_PARSE_TEXT)"),
        ("SELECT 1 + 'a'", 500, "43", "(ILLEGAL_TYPE_OF_ARGUMENT)"),
        ("SELECT throwIf(1, 'said so')", 500, "395", "Code: 395. DB::Exception: said so"),
        ("SELECT intDiv(1, 0)", 500, "153", "(ILLEGAL_DIVISION)"),
        ("CREATE TABLE system.x (a Int8) ENGINE = NoEngine", 404, "56", "(UNKNOWN_STORAGE)"),
        ("INSERT INTO nowhere VALUES (1)", 404, "60", "(UNKNOWN_TABLE)"),
    ],
)
def test_errors_are_those_of_clickhouse(
    clickhouse: ClickHouseServer, query: str, status: int, code: str, text: str
) -> None:
    answer = clickhouse.ask(query)
    assert (answer.status, answer.headers["x-clickhouse-exception-code"]) == (status, code)
    assert text in answer.text
    assert answer.text.startswith(f"Code: {code}. DB::Exception: ")


def test_an_unknown_database_and_method(clickhouse: ClickHouseServer) -> None:
    answer = clickhouse.ask("SELECT 1", database="nowhere")
    assert (answer.status, answer.headers["x-clickhouse-exception-code"]) == (404, "81")
    assert clickhouse.ask("SELECT 1", method="DELETE").status == 501


def test_an_exception_before_the_first_byte_is_a_status(clickhouse: ClickHouseServer) -> None:
    late = "SELECT throwIf(number = 3000) FROM numbers(10000) SETTINGS max_block_size = 100"
    answer = clickhouse.ask(late, wait_end_of_query=1)
    assert (answer.status, answer.headers["x-clickhouse-exception-code"]) == (500, "395")
    assert answer.text.startswith("Code: 395. ")


def test_requests_of_web_pages_are_refused(clickhouse: ClickHouseServer) -> None:
    for origin in ("http://evil.example", "null", clickhouse.url):
        answer = clickhouse.ask("CREATE TABLE made_by_page (a Int8) ENGINE = Memory", headers={"Origin": origin})
        assert answer.status == 403
    assert clickhouse.query("EXISTS TABLE made_by_page") == "0\n"
    assert clickhouse.ask(method="OPTIONS", headers={"Origin": "http://evil.example"}).status == 403
