"""The simulator against a small server that checks every body with the contracts' decoders (`IngestStub`).

What is tested here is the simulator's own behaviour on the wire: that it says everything, in order, and never gives up.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from services.console.store import ApplicationStore
from services.runtime.clock import now_ms
from services.runtime.settings import Settings
from services.simulator.options import SimulationOptions
from services.simulator.runner import simulate
from services.simulator.sender import RefusedByIngest
from services.simulator.traffic.scenario import Scenario
from services.simulator.traffic.stream import traffic
from services.simulator.wire import Wire
from tests.support.clickhouse import free_port
from tests.support.simulation import SDK_APP_ID, SECRET_KEY, IngestStub, Interference, error_answer, unpacked

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SCENARIO = Scenario(start_ms=1_700_000_000_000, rooms=5, samples=1500, duplicates=0.05, reorder=0.05, late=0.05)
WITHIN_S = 60


def options(url: str, scenario: Scenario = SCENARIO, **changes: Any) -> SimulationOptions:
    return SimulationOptions(
        **{
            "sdk_app_id": SDK_APP_ID,
            "secret_key": SECRET_KEY,
            "scenario": scenario,
            "speed": None,
            "ingest_url": url,
            **changes,
        }
    )


def bodies(scenario: Scenario = SCENARIO) -> list[tuple[str, bytes]]:
    wire = Wire(SDK_APP_ID, SECRET_KEY)
    requests = [wire.request(item) for _, item in traffic(scenario)]
    return sorted((request.path, unpacked(request.body)) for request in requests)


@pytest.mark.parametrize("concurrency", [1, 12])
async def test_everything_arrives_once_whatever_the_concurrency(concurrency: int) -> None:
    async with IngestStub() as ingest:
        summary = await simulate(Settings(), options(ingest.url, concurrency=concurrency))
    assert ingest.wrong == []
    assert sorted(ingest.requests) == bodies()
    assert ingest.busiest <= concurrency
    assert summary.requests == len(ingest.requests)
    assert summary.rejected == summary.refused == summary.retries == 0
    assert summary.samples >= 1500
    assert summary.copies > 0
    assert summary.events == len({event.event_id for event in ingest.events})
    items = sum(len(report.samples) + len(report.events) for report in ingest.reports)
    assert summary.accepted == items + len(ingest.events) + len(ingest.intervals)
    assert not summary.interrupted


async def test_what_is_not_taken_is_sent_again_with_the_same_bytes() -> None:
    """Overload, errors and lost connections: nothing is lost, nothing changes, nothing is overtaken in its room."""
    troubles: list[Callable[[], Interference]] = [
        lambda: error_answer(503, "Busy", **{"Retry-After": "0"}),
        lambda: error_answer(429, "Slow", **{"Retry-After": "0"}),
        lambda: error_answer(500, "Broken"),
        lambda: "hang up",
    ]

    def interfere(number: int) -> Interference:
        return troubles[number % 4]() if number % 10 < 3 else None

    calm = msgspec.structs.replace(SCENARIO, samples=300, duplicates=0, reorder=0, late=0)
    async with IngestStub(interfere) as ingest:
        summary = await simulate(Settings(), options(ingest.url, calm))
    assert ingest.wrong == []
    assert sorted(ingest.requests) == bodies(calm)
    assert summary.retries >= 20
    assert summary.requests == len(ingest.requests)
    times = defaultdict(list)
    for event in ingest.events:
        if event.event_group_id < 3 and event.room_id_type is not None:
            times[event.room_id, event.room_id_type].append(event.event_ms_ts)
    assert len(times) == 5
    assert all(in_room == sorted(in_room) for in_room in times.values())


async def test_an_ingest_that_is_away_is_waited_for() -> None:
    port = free_port()
    small = msgspec.structs.replace(SCENARIO, samples=100)
    running = asyncio.create_task(simulate(Settings(), options(f"http://127.0.0.1:{port}", small)))
    await asyncio.sleep(0.3)
    assert not running.done()
    async with IngestStub(port=port) as ingest:
        summary = await asyncio.wait_for(running, WITHIN_S)
    assert sorted(ingest.requests) == bodies(small)
    assert summary.retries > 0


async def test_an_unusable_request_is_told_and_not_repeated() -> None:
    async with IngestStub(lambda number: error_answer(422, "Unusable") if number == 5 else None) as ingest:
        summary = await simulate(Settings(), options(ingest.url))
    assert summary.refused == 1
    assert [refusal.code for refusal in summary.refusals] == ["Unusable"]
    assert len(ingest.requests) == len(bodies()) - 1


async def test_a_key_that_ingest_does_not_know_ends_it() -> None:
    def interfere(number: int) -> Interference:
        return error_answer(403, "UnknownApplication") if number > 20 else None

    async with IngestStub(interfere) as ingest:
        with pytest.raises(RefusedByIngest, match="403 UnknownApplication"):
            await asyncio.wait_for(simulate(Settings(), options(ingest.url)), WITHIN_S)


async def test_an_application_may_take_a_moment_to_be_known() -> None:
    async with IngestStub(lambda number: error_answer(403, "UnknownApplication") if number < 15 else None) as ingest:
        await asyncio.wait_for(simulate(Settings(), options(ingest.url)), WITHIN_S)
    assert sorted(ingest.requests) == bodies()


async def test_the_record_names_every_acknowledged_event(tmp_path: Path) -> None:
    path = tmp_path / "acknowledged.jsonl"
    async with IngestStub() as ingest:
        await simulate(Settings(), options(ingest.url, record=path))
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert sorted(line["EventId"] for line in lines) == sorted(event.event_id for event in ingest.events)
    first = {event.event_id: event for event in ingest.events}[lines[0]["EventId"]]
    assert lines[0] == {
        "EventId": first.event_id,
        "EventType": first.event_type,
        "EventMsTs": first.event_ms_ts,
        "RoomId": first.room_id,
        "UserId": first.user_id,
        "TaskId": first.task_id,
    }


async def test_nothing_is_told_before_its_time() -> None:
    """However fast: a report about what the clock has not reached would be refused."""
    ahead = Scenario(start_ms=now_ms() - 40_000, rooms=4)
    stopping = asyncio.Event()
    async with IngestStub() as ingest:
        running = asyncio.create_task(simulate(Settings(), options(ingest.url, ahead), stopping=stopping))
        async with asyncio.timeout(WITHIN_S):
            while len(ingest.reports) < 20:
                await asyncio.sleep(0.05)
        stopping.set()
        summary = await asyncio.wait_for(running, WITHIN_S)
    assert max(report.sent_ms for report in ingest.reports) <= now_ms()
    assert summary.interrupted
    assert summary.reports == len(ingest.reports)


async def test_in_real_time_an_item_waits_for_its_moment() -> None:
    """At a tenfold speed the first eight simulated seconds take at least 0.8 s, of a start in the past."""
    scenario = Scenario(start_ms=now_ms() - 600_000, rooms=3, duration_ms=20_000)
    async with IngestStub() as ingest:
        summary = await simulate(Settings(), options(ingest.url, scenario, speed=10.0))
    assert sorted(ingest.requests) == bodies(scenario)
    assert summary.seconds >= (summary.reached_ms - scenario.start_ms) / 10_000


def simulate_command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "services", "simulate", *arguments]


async def run_command(*arguments: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        *simulate_command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    output, errors = await asyncio.wait_for(process.communicate(), WITHIN_S)
    assert process.returncode is not None
    return process.returncode, output.decode(), errors.decode()


async def test_the_command_prints_one_json_document(tmp_path: Path) -> None:
    """With the key of the only application of the data folder."""
    store = ApplicationStore(Settings(data=tmp_path))
    application = store.create("demo", sdk_app_id=SDK_APP_ID)
    store.close()
    async with IngestStub(secret_key=application.secret_key) as ingest:
        status, output, errors = await run_command(
            *("--data", str(tmp_path), "--ingest-url", ingest.url, "--speed", "max", "--samples", "200", "--json")
        )
    assert (status, errors) == (0, "")
    summary = json.loads(output)
    assert summary["SdkAppId"] == SDK_APP_ID
    assert summary["Samples"] >= 200
    assert summary["Requests"] == len(ingest.requests)
    assert ingest.wrong == []


async def test_ctrl_c_ends_it_cleanly() -> None:
    async with IngestStub() as ingest:
        process = await asyncio.create_subprocess_exec(
            *simulate_command("--sdkappid", str(SDK_APP_ID), "--secret-key", SECRET_KEY),
            *("--ingest-url", ingest.url, "--duration", "0", "--json"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        async with asyncio.timeout(WITHIN_S):
            while not ingest.requests:
                await asyncio.sleep(0.05)
        process.send_signal(signal.SIGINT)
        output, errors = await asyncio.wait_for(process.communicate(), WITHIN_S)
    assert process.returncode == 0
    assert errors == b""
    assert json.loads(output)["Interrupted"] is True
    assert ingest.wrong == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--speed", "0"), "a number above 0, or max"),
        (("--late", "2"), "--late"),
        (("--secret-key", "x"), "--secret-key needs --sdkappid"),
        ((), "there is no application; make one with `roompulse app create"),
        (("--sdkappid", "7"), "there is no application 7"),
    ],
)
async def test_mistakes_are_told_in_a_line(tmp_path: Path, arguments: tuple[str, ...], says: str) -> None:
    status, output, errors = await run_command("--data", str(tmp_path), *arguments)
    assert status != 0
    assert output == ""
    assert says in errors
    assert "Traceback" not in errors
