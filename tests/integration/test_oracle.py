"""Drawn scenarios through the processor's code and the real engine, compared with the oracle: exactly, row for row.

`ORACLE_SCENARIOS=3000` draws more of them, `ORACLE_SEED` others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.oracle.check import check
from tests.oracle.seeds import runs
from tests.support.processing import Worker

if TYPE_CHECKING:
    from services.processor.store import Store

RUNS = runs(300, together=20)
"""Each scenario is an application of its own."""


@pytest.mark.timeout(0)
@pytest.mark.parametrize("seeds", RUNS, ids=lambda seeds: str(seeds.start))
async def test_every_row_is_as_the_oracle_says(store: Store, seeds: range) -> None:
    await check(store, seeds, 1_400_000_000 + seeds.start, Worker)
