"""Whoever is killed while a hundred callbacks are in the air: all are delivered, hardly one comes twice.

The short form of `make chaos-callbacks`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.chaos.rounds import IN_THE_AIR, Rounds, Victim

if TYPE_CHECKING:
    from pathlib import Path

ROUNDS: tuple[tuple[Victim, ...], ...] = (("dispatcher",), ("dispatcher", "kafka", "clickhouse"))
CALLBACKS = 1_000
REPEATED = 50
"""By one kill at most: one in a hundred of the callbacks of a round of the long form."""


async def test_kill_9_loses_no_callback_and_repeats_hardly_one(tmp_path: Path) -> None:
    async with Rounds(tmp_path, seed=1) as rounds:
        for victims in ROUNDS:
            ended = await rounds.round(victims, CALLBACKS)
            assert ended.in_the_air >= IN_THE_AIR
            assert ended.answered < CALLBACKS
            assert not ended.lost
        assert await rounds.waiting() == 0
        assert await rounds.recorded() == rounds.events
    assert not rounds.endpoint.wrong
    assert rounds.endpoint.duplicates <= REPEATED * len(ROUNDS)
