"""The same scenario is the same bytes, whatever runs beside it and whatever hash seed Python has."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import tracemalloc
from hashlib import sha256
from itertools import islice

from services.simulator.traffic.rooms import items_of, room_of
from services.simulator.traffic.scenario import Scenario
from services.simulator.traffic.stream import traffic
from services.simulator.wire import Wire
from tests.support.simulation import SDK_APP_ID, SECRET_KEY
from tests.unit.simulator.scenarios import START_MS, scenario

DISORDERLY = scenario(duplicates=0.1, reorder=0.1, late=0.1, rooms=5, duration_ms=200_000)


WIRE = Wire(SDK_APP_ID, SECRET_KEY)


def digest(of: Scenario) -> str:
    total = sha256()
    for send_ms, item in traffic(of):
        request = WIRE.request(item)
        total.update(f"{send_ms} {request.path} {sorted(request.headers.items())} ".encode() + request.body)
    return total.hexdigest()


def test_the_same_scenario_is_the_same_bytes() -> None:
    assert digest(DISORDERLY) == digest(DISORDERLY)


def test_it_is_the_same_in_another_process() -> None:
    code = "from tests.unit.simulator.test_determinism import *; print(digest(DISORDERLY))"
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for seed in ("1", "2")
    }
    assert outputs == {digest(DISORDERLY)}


def test_another_seed_is_other_traffic() -> None:
    assert digest(scenario(1, rooms=3, duration_ms=100_000)) != digest(scenario(2, rooms=3, duration_ms=100_000))


def test_a_room_does_not_depend_on_the_others() -> None:
    few, many = scenario(rooms=2), scenario(rooms=9)
    assert list(items_of(few, room_of(1))) == list(items_of(many, room_of(1)))
    of_both = [item for _, item in traffic(few)]
    of_all = [item for _, item in traffic(many)]
    assert all(item in of_all for item in of_both[:100])


def test_disorder_changes_when_but_not_what() -> None:
    def report_bodies(of: Scenario) -> list[bytes]:
        return [WIRE.request(item).body for _, item in traffic(of) if item.samples]

    calm = report_bodies(scenario(rooms=4))
    wild = report_bodies(scenario(rooms=4, duplicates=0.2, reorder=0.3, late=0.3))
    assert len(set(calm)) == len(calm) > 100
    assert set(calm) == set(wild)
    assert len(wild) > len(calm)
    assert list(dict.fromkeys(wild)) != calm


def test_the_sample_limit_cuts_the_same_stream() -> None:
    whole = [item for _, item in traffic(scenario())]
    cut = [item for _, item in traffic(scenario(samples=1000))]
    made = sum(item.samples for item in cut)
    assert made - cut[-1].samples < 1000 <= made
    assert cut == whole[: len(cut)]


def test_without_an_end_it_goes_on_in_the_same_memory() -> None:
    endless = traffic(Scenario(start_ms=START_MS, rooms=4, late=0.05, late_max_ms=60_000))
    held = []
    # Only what is allocated from here on counts, whatever other tests have left behind.
    tracemalloc.start()
    try:
        for _ in range(6):
            made = [send_ms for send_ms, _ in islice(endless, 1000)]
            gc.collect()
            held.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert made[-1] - START_MS > 900_000
    assert 0 < max(held[3:]) < 1.5 * max(held[:3])
