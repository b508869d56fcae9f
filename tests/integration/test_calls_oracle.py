"""Drawn room events and reports through the processor's code and the real engine, compared with the oracle of calls.

`ORACLE_SCENARIOS=3000` draws more of them, `ORACLE_SEED` others.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.oracle.check_calls import check_calls
from tests.support.processing import Worker

if TYPE_CHECKING:
    from services.processor.store import Store

SCENARIOS = int(os.environ.get("ORACLE_SCENARIOS", "60"))
FIRST_SEED = int(os.environ.get("ORACLE_SEED", "1"))
TOGETHER = 60
"""Scenarios of one run, each an application."""


@pytest.mark.timeout(0)
@pytest.mark.parametrize("first", range(FIRST_SEED, FIRST_SEED + SCENARIOS, TOGETHER))
async def test_calls_stays_and_online_users_are_as_the_oracle_says(store: Store, first: int) -> None:
    await check_calls(store, range(first, min(first + TOGETHER, FIRST_SEED + SCENARIOS)), 1_600_000_000 + first, Worker)
