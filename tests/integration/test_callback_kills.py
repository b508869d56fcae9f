"""Whoever is killed while a hundred callbacks are in the air: all are delivered, hardly one comes twice.

The short form of `make chaos-callbacks`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.chaos.rounds import IN_THE_AIR, Rounds, Victim

if TYPE_CHECKING:
    from pathlib import Path

ROUNDS: tuple[Victim, ...] = ("dispatcher", "clickhouse", "dispatcher and kafka")
CALLBACKS = 1_000


async def test_kill_9_loses_no_callback_and_repeats_hardly_one(tmp_path: Path) -> None:
    async with Rounds(tmp_path, seed=1) as rounds:
        for victim in ROUNDS:
            ended = await rounds.round(victim, CALLBACKS)
            assert ended.in_the_air >= IN_THE_AIR
            assert ended.answered < CALLBACKS
            assert not ended.lost
        assert await rounds.waiting() == 0
        assert await rounds.recorded() == rounds.events
    assert not rounds.endpoint.wrong
    # A busy machine is some milliseconds late with everything.
    assert rounds.endpoint.duplicates <= rounds.events * 3 // 100
