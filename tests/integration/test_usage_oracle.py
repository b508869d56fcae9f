"""Drawn calls and tasks through the processor's code and the real engine, their usage compared with the oracle's.

`ORACLE_SCENARIOS=3000` draws more of them, `ORACLE_SEED` others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.oracle.check_usage import check_usage
from tests.oracle.seeds import runs
from tests.support.processing import Worker

if TYPE_CHECKING:
    from services.processor.store import Store

RUNS = runs(60, together=60)
"""Each scenario is an application of its own."""


@pytest.mark.timeout(0)
@pytest.mark.parametrize("seeds", RUNS, ids=lambda seeds: str(seeds.start))
async def test_every_millisecond_is_charged_as_the_oracle_says(store: Store, seeds: range) -> None:
    await check_usage(store, seeds, 1_620_000_000 + seeds.start, Worker)
