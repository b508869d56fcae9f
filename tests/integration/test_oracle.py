"""Drawn scenarios through the processor's code and the real engine, compared with the oracle: exactly, row for row.

`ORACLE_SCENARIOS=3000` draws more of them, `ORACLE_SEED` others.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.oracle.check import check
from tests.support.processing import Worker

if TYPE_CHECKING:
    from services.processor.store import Store

SCENARIOS = int(os.environ.get("ORACLE_SCENARIOS", "300"))
FIRST_SEED = int(os.environ.get("ORACLE_SEED", "1"))
TOGETHER = 20
"""Scenarios of one run, each an application with partitions of its own."""


@pytest.mark.timeout(0)
@pytest.mark.parametrize("first", range(FIRST_SEED, FIRST_SEED + SCENARIOS, TOGETHER))
async def test_every_row_is_as_the_oracle_says(store: Store, first: int) -> None:
    await check(store, range(first, min(first + TOGETHER, FIRST_SEED + SCENARIOS)), 1_400_000_000 + first, Worker)
