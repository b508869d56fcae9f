"""Drawn scenarios through the processor's code and the real engine, compared with the oracle: exactly, row for row.

`ORACLE_SCENARIOS=3000` draws more of them, `ORACLE_SEED` others.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from services.processor.store import Store
from services.runtime.clickhouse import migrate
from services.runtime.settings import Settings
from tests.oracle.check import check
from tests.support.processing import Worker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.support.clickhouse import ClickHouseServer

SCENARIOS = int(os.environ.get("ORACLE_SCENARIOS", "300"))
FIRST_SEED = int(os.environ.get("ORACLE_SEED", "1"))
TOGETHER = 20
"""Scenarios of one run, each an application with partitions of its own."""


@pytest.fixture(scope="module")
async def store(clickhouse: ClickHouseServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Store]:
    folder: Path = tmp_path_factory.mktemp("oracle")
    settings = Settings(data=folder, clickhouse_url=f"http://127.0.0.1:{clickhouse.port}")
    await migrate(settings)
    store = Store(settings)
    yield store
    await store.close()


@pytest.mark.timeout(0)
@pytest.mark.parametrize("first", range(FIRST_SEED, FIRST_SEED + SCENARIOS, TOGETHER))
async def test_every_row_is_as_the_oracle_says(store: Store, first: int) -> None:
    await check(store, range(first, min(first + TOGETHER, FIRST_SEED + SCENARIOS)), 1_400_000_000 + first, Worker)
