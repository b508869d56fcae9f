"""The users of the embedded ClickHouse: who gets in, and what the analyst cannot do."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import pytest

from services.embedded.clickhouse.users import UnusableUser, administrator, lets_strangers_in
from services.runtime.settings import Settings
from tests.support.clickhouse import ClickHouseServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.clickhouse import Answer

ADMINISTRATOR = ("owner", "owner's: pass@word")
ANALYST = ("analyst", "analyst's")
ANALYST_HEADERS = {"X-ClickHouse-User": ANALYST[0], "X-ClickHouse-Key": ANALYST[1]}
MEMORY = 1 << 30
SECRET = "s3cr3t-of-the-file"


@pytest.fixture(name="server", scope="module")
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouseServer]:
    environment = {
        "ROOMPULSE_CLICKHOUSE_ANALYST_PASSWORD": ANALYST[1],
        "ROOMPULSE_CLICKHOUSE_MEMORY_BYTES": str(MEMORY),
    }
    user, password = ADMINISTRATOR
    folder = tmp_path_factory.mktemp("clickhouse")
    with ClickHouseServer(folder, user=user, password=password, environment=environment) as server:
        server.query("CREATE TABLE facts (Number UInt32, Text String) ENGINE = MergeTree ORDER BY Number")
        server.query("INSERT INTO facts VALUES (1, 'one'), (2, 'two')")
        server.query("CREATE TABLE elsewhere (a Int32) ENGINE = MySQL('127.0.0.1:1', 'd', 't', 'u', 's3cr3t')")
        yield server


@pytest.fixture(name="secret_file", scope="module")
def _secret_file(server: ClickHouseServer) -> Path:
    path = server.data / "secret.csv"
    path.write_text(SECRET)
    return path


def as_analyst(server: ClickHouseServer, query: str, **parameters: Any) -> Answer:
    return server.ask(query, headers=ANALYST_HEADERS, **parameters)


def basic(user: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


@pytest.mark.parametrize("user", [ADMINISTRATOR, ANALYST])
def test_users_enter_by_basic_authentication_by_headers_and_by_parameters(
    server: ClickHouseServer, user: tuple[str, str]
) -> None:
    name, password = user
    query = "SELECT currentUser()"
    by_headers = {"X-ClickHouse-User": name, "X-ClickHouse-Key": password}
    assert server.ask(query, headers=basic(name, password)).text == f"{name}\n"
    assert server.ask(query, headers=by_headers).text == f"{name}\n"
    assert server.ask(query, user=name, password=password).text == f"{name}\n"


@pytest.mark.parametrize(
    "headers",
    [
        basic("owner", "wrong"),
        basic("nobody", ""),
        basic("analyst", ""),
        {"X-ClickHouse-User": "owner"},
        {"X-ClickHouse-User": "analyst", "X-ClickHouse-Key": "wrong"},
        # Two kinds at once.
        {**basic(*ADMINISTRATOR), "X-ClickHouse-User": "owner"},
    ],
)
def test_nobody_else_enters(server: ClickHouseServer, headers: dict[str, str]) -> None:
    answer = server.ask("SELECT 1", headers=headers)
    assert (answer.status, answer.headers["x-clickhouse-exception-code"]) == (403, "516")
    assert "AUTHENTICATION_FAILED" in answer.text


@pytest.mark.parametrize("headers", [{}, basic("default", ""), {"X-ClickHouse-User": "default"}])
def test_nobody_enters_as_the_user_of_the_engine(server: ClickHouseServer, headers: dict[str, str]) -> None:
    parameters: dict[str, Any]
    for parameters in ({}, {"max_sessions_for_user": 0}, {"session_id": "s"}, {"profile": "analyst"}):
        answer = server.ask("SELECT 1", headers=headers, **parameters)
        # USER_SESSION_LIMIT_EXCEEDED: there is room for the engine's own session only.
        assert (answer.status, answer.headers["x-clickhouse-exception-code"]) == (500, "700"), answer.text


def test_health_asks_for_no_password(server: ClickHouseServer) -> None:
    assert server.ask(method="GET", path="/ping").status == 200
    assert server.ready()


@pytest.mark.parametrize(
    "query",
    [
        "SELECT Text FROM facts WHERE Number = {n:UInt8}",
        "SELECT * FROM facts FORMAT Parquet",
        "WITH x AS (SELECT 1) SELECT * FROM x JOIN numbers(3) AS n ON 1",
        "SHOW TABLES",
        "SHOW CREATE TABLE facts",
        "DESCRIBE TABLE facts",
        "EXPLAIN SELECT * FROM facts",
        "EXISTS TABLE facts",
        "SELECT count() FROM system.parts",
        "SELECT comment FROM system.columns WHERE table = 'facts'",
        "SET max_memory_usage = 1000000",
        "SELECT 1 SETTINGS max_execution_time = 5, max_threads = 2, join_use_nulls = 1",
    ],
)
def test_the_analyst_may_read(server: ClickHouseServer, query: str) -> None:
    answer = as_analyst(server, query, param_n=2)
    assert answer.status == 200, answer.text


@pytest.mark.parametrize(
    "query",
    [
        "INSERT INTO facts VALUES (3, 'three')",
        "INSERT INTO FUNCTION null('a Int8') SELECT 1",
        "CREATE TABLE mine (a Int8) ENGINE = Memory",
        "CREATE TEMPORARY TABLE mine (a Int8)",
        "CREATE DATABASE mine",
        "CREATE VIEW mine AS SELECT 1",
        "CREATE FUNCTION mine AS x -> x",
        "CREATE NAMED COLLECTION mine AS a = 1",
        "DROP TABLE facts",
        "TRUNCATE TABLE facts",
        "ALTER TABLE facts DELETE WHERE 1",
        "ALTER TABLE facts ADD COLUMN a Int8",
        "DELETE FROM facts WHERE 1",
        "OPTIMIZE TABLE facts FINAL",
        "RENAME TABLE facts TO mine",
        "DETACH TABLE facts",
        "CREATE USER mine",
        "ALTER USER analyst SETTINGS readonly = 0",
        "GRANT ALL ON *.* TO analyst",
        "SYSTEM SHUTDOWN",
        "SYSTEM STOP MERGES facts",
        "SYSTEM STOP LISTEN HTTP",
        "SYSTEM FLUSH LOGS",
        "SYSTEM RELOAD USERS",
        "BACKUP TABLE facts TO File('backup')",
        "SELECT 1 INTO OUTFILE 'mine.csv'",
    ],
)
def test_the_analyst_changes_nothing(server: ClickHouseServer, query: str) -> None:
    answer = as_analyst(server, query)
    assert (answer.status, answer.headers["x-clickhouse-exception-code"]) in [
        (500, "164"),  # READONLY
        (403, "497"),  # ACCESS_DENIED
        (500, "358"),  # INTO_OUTFILE_NOT_ALLOWED
    ], answer.text
    assert server.query("SELECT count(), any(length(Text)) FROM facts") == "2\t3\n"
    assert server.query("SELECT count() FROM system.tables WHERE name = 'mine'") == "0\n"


def test_the_analyst_cannot_stop_merges_or_the_queries_of_others(server: ClickHouseServer) -> None:
    # Without a table's name both are for whatever one has a right to.
    as_analyst(server, "SYSTEM STOP MERGES")
    killed = as_analyst(server, "KILL QUERY WHERE user != 'analyst' SYNC")
    assert "finished" not in killed.text
    server.query("CREATE TABLE merged (a UInt8) ENGINE = MergeTree ORDER BY a")
    for number in range(3):
        server.query(f"INSERT INTO merged SELECT {number}")
    server.query("OPTIMIZE TABLE merged FINAL SETTINGS optimize_throw_if_noop = 1")
    assert server.query("SELECT count() FROM system.parts WHERE table = 'merged' AND active") == "1\n"
    server.query("DROP TABLE merged SYNC")


@pytest.mark.parametrize("user", [ADMINISTRATOR, ANALYST])
@pytest.mark.parametrize(
    "query",
    [
        "SELECT * FROM file('{path}', 'LineAsString')",
        "SELECT * FROM file('{name}', 'LineAsString')",
        "DESCRIBE TABLE file('{path}')",
        "SELECT * FROM _local.`{path}`",
        "SELECT * FROM `{path}`",
        "SELECT * FROM sqlite('{path}', 't')",
        "SELECT * FROM icebergLocal('{folder}')",
        "SELECT * FROM filesystem('{folder}')",
        "CREATE TEMPORARY TABLE f (a String) ENGINE = File(CSV, '{path}')",
        "SELECT file('{path}')",
        "SELECT file('{name}')",
        "SELECT file('{path}', 'default')",
        "SELECT `file`(materialize('{path}'))",
        "WITH file('{path}') AS text SELECT text",
        "SELECT arrayMap(x -> file(x), ['{path}'])",
        "SELECT arrayMap(file, ['{path}'])",
        "SELECT * FROM facts WHERE Text != file('{path}')",
        "SELECT 1 ORDER BY file('{path}')",
        "SELECT number FROM numbers(100) LIMIT length(file('{path}'))",
        "SELECT * FROM values('a String', file('{path}'))",
        "SELECT * FROM numbers(length(file('{path}')))",
        "SHOW TABLES WHERE name != file('{path}')",
    ],
)
def test_nobody_reads_files(server: ClickHouseServer, secret_file: Path, query: str, user: tuple[str, str]) -> None:
    text = query.format(path=secret_file, name="../secret.csv", folder=server.data)
    answer = server.ask(text, headers=basic(*user))
    assert answer.status in (400, 403, 404, 500), answer.text
    assert SECRET not in answer.text
    assert "x-clickhouse-exception-code" in answer.headers
    # Neither the words of a file that is not there.
    assert "No such file" not in answer.text


@pytest.mark.parametrize(
    "function",
    [
        "url('http://127.0.0.1:1/', 'CSV', 'a String')",
        "s3('http://127.0.0.1:1/bucket/key', 'CSV', 'a String')",
        "gcs('http://127.0.0.1:1/bucket/key', 'CSV', 'a String')",
        "azureBlobStorage('http://127.0.0.1:1/', 'c', 'b', 'CSV')",
        "hdfs('hdfs://127.0.0.1:1/x', 'CSV', 'a String')",
        "deltaLake('http://127.0.0.1:1/bucket/key')",
        "icebergS3('http://127.0.0.1:1/bucket/key')",
        "remote('127.0.0.1:1', 'system.one')",
        "remoteSecure('127.0.0.1:1', 'system.one')",
        "mysql('127.0.0.1:1', 'd', 't', 'u', 'p')",
        "postgresql('127.0.0.1:1', 'd', 't', 'u', 'p')",
        "mongodb('127.0.0.1:1', 'd', 't', 'u', 'p', 'a Int8')",
        "redis('127.0.0.1:1', 'k', 'k String')",
        "jdbc('x', 't')",
        "odbc('x', 't')",
        "executable('id', 'TSV', 'a String')",
        "python('os', 'CSV')",
    ],
)
def test_the_analyst_reaches_nothing_outside(server: ClickHouseServer, function: str) -> None:
    for query in (
        f"SELECT * FROM {function}",
        f"INSERT INTO FUNCTION {function} SELECT 1",
    ):
        answer = as_analyst(server, query)
        # ACCESS_DENIED, READONLY, FUNCTION_NOT_ALLOWED
        assert answer.headers["x-clickhouse-exception-code"] in ("497", "164", "446"), answer.text


@pytest.mark.parametrize("function", ["url('http://127.0.0.1:1/x.csv')", "remote('127.0.0.1:1', 'system.one')"])
def test_the_analyst_cannot_ask_for_the_columns_of_what_is_outside(server: ClickHouseServer, function: str) -> None:
    answer = as_analyst(server, f"DESCRIBE TABLE {function}")
    assert (answer.status, answer.headers["x-clickhouse-exception-code"]) == (403, "497")


def test_the_analyst_sees_no_secrets(server: ClickHouseServer) -> None:
    for query in (
        "SHOW CREATE TABLE elsewhere",
        "SELECT * FROM system.tables WHERE name = 'elsewhere'",
        "SELECT * FROM system.users",
        "SHOW CREATE USERS",
    ):
        answer = as_analyst(server, query)
        assert "s3cr3t" not in answer.text
        assert "analyst's" not in answer.text
        assert "owner's" not in answer.text
        assert as_analyst(server, f"{query} SETTINGS format_display_secrets_in_show_and_select = 1").status >= 400
    shown = as_analyst(server, "SHOW CREATE TABLE elsewhere").text
    assert "[HIDDEN]" in shown


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("readonly", "0"),
        ("readonly", "2"),
        ("max_memory_usage", "0"),
        ("max_memory_usage", str(MEMORY)),
        ("max_execution_time", "0"),
        ("max_execution_time", "3600"),
        ("max_threads", "1000"),
        ("max_untracked_memory", "1000000000000"),
        ("memory_overcommit_ratio_denominator", "0"),
        ("max_concurrent_queries_for_user", "1000"),
        ("allow_introspection_functions", "1"),
        ("allow_python_table_function", "1"),
        ("allow_experimental_eval_table_function", "1"),
        ("format_schema", "'../../secret.csv:x'"),
        ("format_template_row", "'../../secret.csv'"),
    ],
)
def test_the_analyst_cannot_raise_limits(server: ClickHouseServer, setting: str, value: str) -> None:
    before = as_analyst(server, f"SELECT getSetting('{setting}')").text
    session = f"limits-{setting}-{value}"
    for answer in (
        as_analyst(server, f"SET {setting} = {value}", session_id=session),
        as_analyst(server, f"SELECT 1 SETTINGS {setting} = {value}"),
        as_analyst(server, "SELECT 1", **{setting: value.strip("'")}),
    ):
        # READONLY, SETTING_CONSTRAINT_VIOLATION, QUERY_IS_PROHIBITED
        assert answer.headers.get("x-clickhouse-exception-code") in ("164", "452", "392"), answer.text
    # Those of a part of a query are brought into their bounds without a word.
    inside = as_analyst(server, f"SELECT * FROM (SELECT getSetting('{setting}') SETTINGS {setting} = {value})")
    assert inside.text.strip() != value.strip("'")
    as_analyst(server, "SET profile = 'default'", session_id=session)
    assert as_analyst(server, f"SELECT getSetting('{setting}')", session_id=session).text == before


def test_a_query_of_the_analyst_has_half_of_the_memory(server: ClickHouseServer) -> None:
    answer = as_analyst(server, "SELECT groupArray(number) FROM numbers(1000000000) FORMAT Null")
    assert (answer.status, answer.headers["x-clickhouse-exception-code"]) == (500, "241")
    assert as_analyst(server, "SELECT getSetting('max_memory_usage')").text == f"{MEMORY // 2}\n"
    assert as_analyst(server, "SELECT 1").text == "1\n"


def test_passwords_are_not_in_the_data_folder(server: ClickHouseServer) -> None:
    users = server.data / "clickhouse/users.xml"
    assert users.stat().st_mode & 0o077 == 0
    for path in (server.data / "clickhouse").glob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert ADMINISTRATOR[1].encode() not in content
            assert ANALYST[1].encode() not in content


def test_without_a_user_in_the_url_everybody_on_this_machine_is_the_administrator(clickhouse: ClickHouseServer) -> None:
    assert clickhouse.query("SELECT currentUser()") == "default\n"
    assert clickhouse.ask("SELECT currentUser()", headers=basic("analyst", "")).text == "analyst\n"


@pytest.mark.parametrize("name", ["default:password@", "analyst@", "a%20b@", "1@"])
def test_a_user_that_cannot_be_is_refused(name: str) -> None:
    with pytest.raises(UnusableUser):
        administrator(Settings(clickhouse_url=f"http://{name}127.0.0.1:8123"))


def test_user_and_password_of_the_url_may_be_escaped() -> None:
    settings = Settings(clickhouse_url="http://o_w-n:p%40ss%3A%2F@127.0.0.1:8123")
    assert administrator(settings) == ("o_w-n", "p@ss:/")


@pytest.mark.parametrize(
    ("host", "url", "analyst", "expected"),
    [
        ("127.0.0.1", "http://127.0.0.1:8123", "", False),
        ("localhost", "http://localhost:8123", "", False),
        ("::1", "http://[::1]:8123", "", False),
        ("0.0.0.0", "http://127.0.0.1:8123", "", True),
        ("0.0.0.0", "http://127.0.0.1:8123", "x", True),
        ("192.0.2.1", "http://owner:x@192.0.2.1:8123", "", True),
        ("::", "http://owner:x@127.0.0.1:8123", "x", False),
    ],
)
def test_a_server_for_other_machines_warns_of_users_without_a_password(
    host: str, url: str, analyst: str, expected: bool
) -> None:
    settings = Settings(host=host, clickhouse_url=url, clickhouse_analyst_password=analyst)
    assert lets_strangers_in(settings) is expected
