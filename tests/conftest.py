"""Servers for tests. Each test module gets its own, so that no module sees another's topics or tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import hypothesis
import pytest

from services.processor.store import Store
from services.runtime.clickhouse import migrate
from services.runtime.settings import Settings
from services.runtime.topics import ensure_topics
from tests.support.clickhouse import ClickHouseServer, free_port
from tests.support.kafka import KafkaBroker
from tests.support.stack import Stack

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

# The same examples every time, and a busy machine is no reason to fail.
hypothesis.settings.register_profile(
    "roompulse",
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("roompulse")


_LONGEST_FIRST = (
    *("test_pipeline_crashes", "test_planted_faults", "test_oracle", "test_usage_oracle", "test_dispatcher_crashes"),
    *("test_callback_commands", "test_up", "test_calls_oracle", "test_dispatcher_isolation", "test_processor_workers"),
    *("test_processor", "test_callback_kills", "test_retention", "test_ingest_crashes", "test_usage"),
)
"""Files that take half a minute or more: they begin first, so that in the end nobody waits for one of them alone."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let what takes long begin first; within a file nothing changes."""
    places = {name: place for place, name in enumerate(_LONGEST_FIRST)}
    items.sort(key=lambda item: places.get(item.path.stem, len(places)))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A process that runs a part of the tests hands its crashes of ClickHouse on to the one that tells them."""
    if (output := getattr(session.config, "workeroutput", None)) is not None:
        output["crashes"] = ClickHouseServer.crashes


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take what such a process handed on."""
    ClickHouseServer.crashes += getattr(node, "workeroutput", {}).get("crashes", [])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The engine is not ours, and a crash of it makes no test fail: it is told."""
    for crash in ClickHouseServer.crashes:
        terminalreporter.section("ClickHouse crashed and was started again")
        terminalreporter.line(crash)


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaBroker]:
    """A running broker."""
    with KafkaBroker(tmp_path_factory.mktemp("kafka"), free_port()) as broker:
        yield broker


@pytest.fixture(scope="module")
def clickhouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouseServer]:
    """A running ClickHouse."""
    with ClickHouseServer(tmp_path_factory.mktemp("clickhouse")) as server:
        yield server


@pytest.fixture(scope="module")
def stack(
    tmp_path_factory: pytest.TempPathFactory, kafka: KafkaBroker, clickhouse: ClickHouseServer
) -> Iterator[Stack]:
    """Both servers and a data folder; services are started by `stack.start("ingest", …)`."""
    with Stack(tmp_path_factory.mktemp("stack"), kafka=kafka, clickhouse=clickhouse) as stack:
        yield stack


@pytest.fixture(scope="module")
async def tables(clickhouse: ClickHouseServer, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings of a ClickHouse with its tables made, for what needs no Kafka."""
    settings = Settings(data=tmp_path_factory.mktemp("tables"), clickhouse_url=f"http://127.0.0.1:{clickhouse.port}")
    await migrate(settings)
    return settings


@pytest.fixture(scope="module")
async def store(tables: Settings) -> AsyncIterator[Store]:
    """The processor's way to these tables."""
    store = Store(tables)
    yield store
    await store.close()


@pytest.fixture(scope="module")
async def settings(stack: Stack) -> Settings:
    """Settings of the stack, its topics and tables made."""
    await ensure_topics(stack.settings)
    await migrate(stack.settings)
    return stack.settings
