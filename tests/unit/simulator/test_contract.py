"""Every body fits the ingest contract: the contracts' own decoders take all of it."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import msgspec
import pytest

from schemas.callbacks import sign
from schemas.events import EventRecord, read_event
from schemas.reports import Report, Sample
from schemas.tasks import MAX_INTERVAL_MS, TaskInterval
from services.runtime.usersig import verify
from services.simulator.traffic.items import ClientReport, Events, Item, Tasks
from services.simulator.wire import Wire
from tests.support.simulation import SDK_APP_ID, SECRET_KEY, unpacked
from tests.unit.simulator.scenarios import SEEDS, intervals_of, scenario, sent

WIRE = Wire(SDK_APP_ID, SECRET_KEY)


def items(seed: int, kind: type[Events | Tasks | ClientReport]) -> list[Item]:
    return [item for _, item in sent(scenario(seed)) if isinstance(item.content, kind)]


def parts(body: bytes) -> list[bytes]:
    return [bytes(part) for part in msgspec.json.decode(body, type=list[msgspec.Raw])] if body[:1] == b"[" else [body]


def posted_events(seed: int) -> list[EventRecord]:
    return [read_event(SDK_APP_ID, part, 0) for item in items(seed, Events) for part in parts(WIRE.request(item).body)]


@pytest.mark.parametrize("seed", SEEDS)
def test_events_are_readable_and_signed(seed: int) -> None:
    for item in items(seed, Events):
        request = WIRE.request(item)
        assert request.path == "/v1/events"
        assert request.headers["SdkAppId"] == str(SDK_APP_ID)
        assert request.headers["Sign"] == sign(SECRET_KEY, request.body)
    events = posted_events(seed)
    assert len({event.event_id for event in events}) == len(events)


def test_every_kind_of_event_occurs() -> None:
    kinds = Counter(event.event_type for seed in SEEDS for event in posted_events(seed))
    assert set(kinds) >= {101, 102, 103, 104, 105, *range(201, 207), *range(301, 308), *range(309, 313), 401}


@pytest.mark.parametrize("seed", SEEDS)
def test_reports_are_readable_and_belong_to_their_user(seed: int) -> None:
    strict = msgspec.json.Decoder(Report)
    encodings = Counter[str]()
    for item in items(seed, ClientReport):
        request = WIRE.request(item)
        encoding = request.headers.get("Content-Encoding", "identity")
        encodings[encoding] += 1
        assert (unpacked(request.body) == request.body) == (encoding == "identity")
        report = strict.decode(unpacked(request.body))
        verify(
            report.user_sig,
            sdk_app_id=SDK_APP_ID,
            key=SECRET_KEY,
            user_id=report.user_id,
            now=report.sent_ms // 1000,
        )
        assert report.samples or report.events or report.client
        assert isinstance(item.content, ClientReport)
        assert {**msgspec.to_builtins(report), "UserSig": "", "SdkAppId": 1} == {
            **msgspec.to_builtins(item.content.report),
            "UserSig": "",
        }
    assert set(encodings) == {"gzip", "zstd", "identity"}


@pytest.mark.parametrize("seed", SEEDS)
def test_intervals_are_readable(seed: int) -> None:
    for item in items(seed, Tasks):
        for part in parts(WIRE.request(item).body):
            interval = msgspec.json.decode(part, type=TaskInterval)
            assert 0 < interval.end_ms - interval.start_ms <= MAX_INTERVAL_MS


@pytest.mark.parametrize("seed", SEEDS)
def test_intervals_of_a_task_follow_each_other_to_the_final_one(seed: int) -> None:
    longest: dict[tuple[str, int], TaskInterval] = {}
    grown = 0
    for interval in intervals_of(scenario(seed)):
        key = interval.task_id, interval.start_ms
        if key in longest:
            grown += 1
            assert interval.end_ms > longest[key].end_ms
        longest[key] = interval
    assert grown
    tasks: dict[str, list[TaskInterval]] = {}
    for (task_id, _), interval in sorted(longest.items()):
        tasks.setdefault(task_id, []).append(interval)
    assert {task[0].task_type for task in tasks.values()} == {"record", "relay", "mix"}
    for task in tasks.values():
        assert [interval.final for interval in task] == [False] * (len(task) - 1) + [True]
        for earlier, later in pairwise(task):
            assert earlier.end_ms == later.start_ms
        assert any(interval.inputs for interval in task)


def test_a_sample_is_about_as_large_as_the_contract_says() -> None:
    """About 440 bytes with two streams."""
    sizes = [
        len(msgspec.json.encode(sample))
        for item in items(1, ClientReport)
        if isinstance(item.content, ClientReport)
        for sample in item.content.report.samples
        if len(sample.local) == len(sample.remote) == 1
    ]
    assert 300 < sum(sizes) / len(sizes) < 600


def test_unknown_is_absent_and_never_zero() -> None:
    samples: list[Sample] = [
        sample
        for item in items(1, ClientReport)
        if isinstance(item.content, ClientReport)
        for sample in item.content.report.samples
    ]
    assert any(sample.sys_cpu is None for sample in samples)
    assert any(sample.sys_cpu is not None for sample in samples)
    assert any(sample.sdk_task_ms is not None for sample in samples)
    assert all(sample.sys_cpu != 0 for sample in samples)
