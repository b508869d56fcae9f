"""Drawn calls and tasks through the processor's code and the real engine, their usage compared with the oracle's.

`ORACLE_SCENARIOS=3000` draws more of them, `ORACLE_SEED` others.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.oracle.check_usage import check_usage
from tests.support.processing import Worker

if TYPE_CHECKING:
    from services.processor.store import Store

SCENARIOS = int(os.environ.get("ORACLE_SCENARIOS", "60"))
FIRST_SEED = int(os.environ.get("ORACLE_SEED", "1"))
TOGETHER = 60
"""Scenarios of one run, each an application."""


@pytest.mark.timeout(0)
@pytest.mark.parametrize("first", range(FIRST_SEED, FIRST_SEED + SCENARIOS, TOGETHER))
async def test_every_millisecond_is_charged_as_the_oracle_says(store: Store, first: int) -> None:
    await check_usage(store, range(first, min(first + TOGETHER, FIRST_SEED + SCENARIOS)), 1_620_000_000 + first, Worker)
