"""`make chaos`: 200,000 samples a run, each part killed several times in the middle of it, compared row for row.

Not part of the suite, whose short form is `tests/integration/test_pipeline_crashes.py`. `CHAOS_SEED=7 make chaos`
kills at other moments.
"""

from __future__ import annotations

import os
import shutil
from random import Random
from typing import TYPE_CHECKING, NamedTuple

import pytest
import structlog

from services.runtime.clock import now_ms
from services.simulator.traffic.scenario import Scenario
from tests.chaos.expected import expected_rollups, found_rollups
from tests.chaos.run import Outcome, Run
from tests.chaos.tables import differences

if TYPE_CHECKING:
    from pathlib import Path

    from tests.chaos.kills import Plan, Victim

log = structlog.get_logger(__name__)

SEED = int(os.environ.get("CHAOS_SEED", "1"))
SAMPLES = 200_000
PARTS: tuple[Victim, ...] = ("ingest", "processor", "dispatcher", "clickhouse", "kafka")


class Undisturbed(NamedTuple):
    """What every other run is compared with."""

    scenario: Scenario
    outcome: Outcome
    tables: Path


@pytest.fixture(scope="module")
async def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    """A run in which nobody dies, compared with the oracle."""
    folder = tmp_path_factory.mktemp("undisturbed")
    scenario = Scenario(
        start_ms=(now_ms() - 6 * 3_600_000) // 10_000 * 10_000,
        duration_ms=1_320_000,
        rooms=60,
        seed=5,
        duplicates=0.05,
        reorder=0.05,
        late=0.05,
    )
    async with Run(folder / "data", scenario) as run:
        outcome = await run.outcome(folder / "tables")
        rooms, applications = found_rollups(run.query, "roompulse")
    _tell("nobody", outcome)
    shutil.rmtree(folder / "data")
    assert outcome.samples >= SAMPLES
    assert all(outcome.rows.values())
    assert not outcome.broken_promises
    expected_rooms, expected_applications = expected_rollups(scenario)
    assert rooms == expected_rooms
    assert applications == expected_applications
    return Undisturbed(scenario, outcome, folder / "tables")


def evenly(*victims: Victim) -> Plan:
    """Kills with equal parts of the traffic between them."""
    return tuple((SAMPLES * number // (len(victims) + 1), victim) for number, victim in enumerate(victims, 1))


def in_disorder() -> Plan:
    """Every part twice and everything once, at times that have no order."""
    random = Random(SEED)
    victims = [*PARTS, *PARTS, "everything"]
    random.shuffle(victims)
    return tuple(zip(sorted(random.sample(range(5_000, SAMPLES - 20_000), len(victims))), victims, strict=True))


PLANS: dict[str, Plan] = {
    **{part: evenly(part, part, part, part, part, part) for part in PARTS},
    "everything": evenly("everything", "everything", "everything"),
    "in disorder": in_disorder(),
}


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS.keys())
async def test_kill_9_changes_nothing(undisturbed: Undisturbed, plan: Plan, tmp_path: Path) -> None:
    async with Run(tmp_path / "data", undisturbed.scenario, seed=SEED, at_work_s=3.0) as run:
        outcome = await run.outcome(tmp_path / "tables", plan)
    _tell(", ".join(sorted({victim for _, victim in plan})), outcome)
    assert [kill.victim for kill in outcome.kills] == [victim for _, victim in plan]
    assert outcome.samples == undisturbed.outcome.samples
    assert outcome.acknowledged == undisturbed.outcome.acknowledged
    assert not outcome.broken_promises
    found = differences(tmp_path / "tables", undisturbed.tables)
    assert not found, "\n".join(found)
    # What fails is kept, to be looked at.
    shutil.rmtree(tmp_path)


def _tell(who: str, outcome: Outcome) -> None:
    log.info(
        "run",
        killed=who,
        kills=len(outcome.kills),
        samples=outcome.samples,
        events=len(outcome.acknowledged),
        repeated_callbacks=outcome.repeated,
        requests_sent_again=outcome.retries,
        back_s=[kill.back_s for kill in outcome.kills],
        **{name: round(seconds) for name, seconds in outcome.seconds.items()},
    )
