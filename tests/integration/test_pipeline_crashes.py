"""Whoever is killed in the middle of the work: the tables end the same, and every acknowledged event is delivered.

The short form of `make chaos`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from services.runtime.clock import now_ms
from services.simulator.traffic.scenario import Scenario
from tests.chaos.run import Run
from tests.chaos.tables import differences

if TYPE_CHECKING:
    from pathlib import Path

    from tests.chaos.kills import Plan

PLAN: Plan = (
    (1_000, "ingest"),
    (3_000, "processor"),
    (5_000, "dispatcher"),
    (7_000, "clickhouse"),
    (9_000, "kafka"),
    (11_000, "everything"),
)


@pytest.mark.timeout(400)
async def test_kill_9_of_each_part_in_turn_changes_nothing(tmp_path: Path) -> None:
    scenario = Scenario(
        start_ms=(now_ms() - 4 * 3_600_000) // 10_000 * 10_000,
        duration_ms=240_000,
        rooms=30,
        seed=5,
        duplicates=0.05,
        reorder=0.05,
        late=0.05,
        late_max_ms=60_000,
    )
    async with Run(tmp_path / "undisturbed", scenario) as run:
        undisturbed = await run.outcome(tmp_path / "undisturbed tables")
    assert undisturbed.samples > 20_000
    assert all(undisturbed.rows.values())
    assert not undisturbed.broken_promises

    async with Run(tmp_path / "disturbed", scenario) as run:
        disturbed = await run.outcome(tmp_path / "disturbed tables", PLAN)
    assert [kill.victim for kill in disturbed.kills] == [victim for _, victim in PLAN]
    assert disturbed.samples == undisturbed.samples
    assert disturbed.acknowledged == undisturbed.acknowledged
    assert not disturbed.broken_promises
    found = differences(tmp_path / "disturbed tables", tmp_path / "undisturbed tables")
    assert not found, "\n".join(found)
