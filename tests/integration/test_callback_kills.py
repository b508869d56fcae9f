"""Whoever is killed while a hundred callbacks are in the air: all are delivered, and twice only what Kafka had not yet.

The short form of `make chaos-callbacks`, which counts besides how many come twice: that hangs on how fast a machine is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.chaos.rounds import IN_THE_AIR, Rounds, Victim

if TYPE_CHECKING:
    from pathlib import Path

ROUNDS: tuple[tuple[Victim, ...], ...] = (("dispatcher",), ("dispatcher", "kafka", "clickhouse"))
CALLBACKS = 1_000


async def test_kill_9_loses_no_callback_and_repeats_none_that_kafka_had_as_done(tmp_path: Path) -> None:
    async with Rounds(tmp_path, seed=1) as rounds:
        for victims in ROUNDS:
            ended = await rounds.round(victims, CALLBACKS)
            assert ended.in_the_air >= IN_THE_AIR
            assert ended.answered < CALLBACKS
            assert not ended.lost
        assert await rounds.waiting() == 0
        assert await rounds.recorded() == rounds.events
    assert not rounds.endpoint.wrong
