"""`make chaos-callbacks`: 100 rounds of 5,000 callbacks, in each of which somebody is killed with `kill -9`.

Not part of the suite, whose short form is `tests/integration/test_callback_kills.py`. `CHAOS_ROUNDS=10` makes fewer
rounds, `CHAOS_SEED=7` kills at other moments.
"""

from __future__ import annotations

import os
from collections import Counter
from typing import TYPE_CHECKING

import structlog

from tests.chaos.rounds import IN_THE_AIR, VICTIMS, Rounds

if TYPE_CHECKING:
    from pathlib import Path

log = structlog.get_logger(__name__)

SEED = int(os.environ.get("CHAOS_SEED", "1"))
ROUNDS = int(os.environ.get("CHAOS_ROUNDS", "100"))
CALLBACKS = 5_000


async def test_no_callback_is_lost_and_hardly_one_comes_twice(tmp_path: Path) -> None:
    async with Rounds(tmp_path, seed=SEED) as rounds:
        for number in range(ROUNDS):
            ended = await rounds.round(VICTIMS[number % len(VICTIMS)], CALLBACKS)
            assert ended.in_the_air >= IN_THE_AIR
            assert ended.answered < CALLBACKS
            assert not ended.lost, f"{len(ended.lost)} never delivered: {ended.lost[:5]}"
        assert await rounds.waiting() == 0
        recorded = await rounds.recorded()
    endpoint = rounds.endpoint
    of: Counter[str] = Counter()
    for ended in rounds.rounds:
        of[" ".join(ended.victims)] += ended.duplicates
    log.info("done", events=rounds.events, requests=endpoint.requests, duplicates=endpoint.duplicates, of=of)
    assert not endpoint.wrong
    assert recorded == rounds.events
    assert endpoint.duplicates <= rounds.events // 100
