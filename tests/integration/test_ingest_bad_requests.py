"""Hundreds of bad requests: each gets its reason, none a 5xx, and no good neighbour in the same body is lost."""

from __future__ import annotations

import asyncio
import copy
import json
import re
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.runtime.clock import now_ms
from tests.integration.ingesting import Answer, Client, World, encoded, event, report, sample, task, world_on

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.support.kafka import KafkaBroker


class _Gone:
    def __repr__(self) -> str:
        # Two processes that share the tests know them by the same names.
        return "GONE"


GONE = _Gone()
"""Stands for a field that is taken away."""
AHEAD_MS = 400_000
DAY_MS = 86_400_000
generated = settings(
    max_examples=120, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow], database=None
)


class Bad(NamedTuple):
    """A change that spoils a good item, and what ingest has to say of it."""

    path: str
    """Where the change is made; empty: the whole item is replaced."""
    value: Any
    field: str | None = None
    """The field that is named, where it is not the path."""
    code: str = "InvalidParameter"

    def spoil(self, item: dict[str, Any]) -> Any:
        """The item with the change."""
        if not self.path:
            return self.value
        item = copy.deepcopy(item)
        *parents, last = [int(part) if part.isdigit() else part for part in re.findall(r"[^.\[\]]+", self.path)]
        inner: Any = item
        for name in parents:
            inner = inner[name]
        if self.value is GONE:
            del inner[last]
        else:
            inner[last] = self.value() if callable(self.value) else self.value
        return item

    @property
    def blamed(self) -> str:
        """The field that has to be named."""
        return self.path if self.field is None else self.field


def all_bad(path: str, *values: Any, **more: Any) -> list[Bad]:
    """Several bad values of one field."""
    return [Bad(path, value, **more) for value in values]


def named(value: object) -> str:
    """Short names for cases, the same in every process that runs a part of them."""
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))[:120]


def nested(depth: int) -> Any:
    """A list in a list in a list."""
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


NO_OBJECTS = all_bad("", 7, -1.5, "text", "", None, True, [], [[]], [{}])
BAD_EVENTS = [
    *NO_OBJECTS,
    Bad("", {}, "EventGroupId"),
    *all_bad("EventGroupId", GONE, "1", 0, 100, 1.5, None, True, -1, [1], {}),
    *all_bad("EventType", GONE, "103", 99, 10_000, 103.5, None, [103], 2**70, 203, 999),
    *all_bad("EventInfo", GONE, None, [], "x", 7, [{}]),
    Bad("EventInfo", {}, "EventInfo.RoomId"),
    *all_bad("EventId", "", "x" * 65, 5, [], {}, True),
    *all_bad("RoomIdType", 2, -1, "0", 1, True),
    *all_bad("CallbackTs", -1, "now", 2**63, 1.5),
    *all_bad("EventInfo.RoomId", GONE, 0, -1, 2**32, 1.5, "", "x" * 65, None, {}, True, [8801]),
    *all_bad("EventInfo.EventMsTs", "soon", -1, 2**70, 1.5, [], True, "1" * 30),
    *all_bad("EventInfo.EventMsTs", lambda: now_ms() + AHEAD_MS, code="ClockSkew"),
    *all_bad("EventInfo.EventMsTs", 0, 1, lambda: now_ms() - DAY_MS - 5000, code="TooOld"),
    *all_bad("EventInfo.EventTs", -1, "x", 2**40),
    *all_bad("EventInfo.UserId", GONE, "", "x" * 65, 7, None, ["alice"]),
    *all_bad("EventInfo.Role", 22, "20", 20.5, True, []),
    *all_bad("EventInfo.TerminalType", 256, -1, "ios"),
    *all_bad("EventInfo.UserType", 2**31, {}),
    *all_bad("EventInfo.Reason", 300, "left"),
    *all_bad("EventInfo.RoomScene", "party", 1),
    *all_bad("Tree", nested(40), nested(100), nested(500), field="", code="TooDeep"),
    *all_bad("Note", "x" * 70_000, field="", code="TextTooLong"),
]
BAD_TASKS = [
    *NO_OBJECTS,
    Bad("", {}, "TaskId"),
    *all_bad("TaskId", GONE, "", "x" * 257, 5, None),
    *all_bad("TaskType", GONE, "", "Record", 1, None),
    *all_bad("RecordMode", "both", 1),
    Bad("TaskType", "mix", "RecordMode"),
    *all_bad("RoomId", GONE, None, 0, -1, "", "x" * 65, 2**32, 1.5, {}),
    *all_bad("RoomIdType", 2, "0", True),
    Bad("RoomId", "Room A", "RoomIdType"),
    *all_bad("StartMs", GONE, -1, "x", 1.5, 2**70),
    *all_bad("StartMs", 0, field="EndMs"),
    *all_bad("EndMs", GONE, -1, "x", None, lambda: now_ms() - 80_000, lambda: now_ms() + 55_000),
    *all_bad("Final", "yes", 1),
    *all_bad("Robots", {}, "x"),
    Bad("Robots", [{"UserId": "robot"}], "Robots[0].RoomId"),
    Bad("Robots", [{"UserId": "robot", "RoomId": 5, "RoomIdType": 1}], "Robots[0].RoomIdType"),
    *all_bad("Inputs[0]", 5, [], None),
    *all_bad("Inputs[0].Type", GONE, "huge", 1),
    *all_bad("Inputs[0].UserId", GONE, "", "x" * 65),
    *all_bad("Inputs[0].Width", -1, 16_385, "wide", 1.5),
    *all_bad("Outputs[0].Format", "avi", 1),
    *all_bad("Outputs[0].Codec", "vp8"),
    *all_bad("Outputs[0].VideoBitrate", -1, 2**40),
    *all_bad("Outputs[0].Destination", "moon"),
    *all_bad("Tree", nested(100), field="", code="TooDeep"),
]
BAD_SAMPLES = [
    *NO_OBJECTS,
    Bad("", {}, "StartMs"),
    *all_bad("StartMs", GONE, -1, "x", 1.5, None, 2**70),
    *all_bad("StartMs", lambda: now_ms() + AHEAD_MS, code="ClockSkew"),
    *all_bad("StartMs", 0, lambda: now_ms() - DAY_MS - 5000, code="TooOld"),
    *all_bad("DurMs", GONE, 0, -1, 2001, "2000", 1999.5, None),
    *all_bad("SysCpu", -0.1, 100.5, "41", True),
    *all_bad("AppCpu", [], 1e300),
    *all_bad("Rtt", -1, 1.5, "35"),
    *all_bad("UpLoss", 101, -1),
    *all_bad("SentBytes", -1, 2**63, 0.5),
    *all_bad("Local", {}, "x", None),
    *all_bad("Local[0]", 5, [], None),
    *all_bad("Local[0].Type", GONE, "video", 0, None),
    *all_bad("Local[0].Width", -1, 16_385, "1280", 12.5),
    *all_bad("Local[0].Bitrate", -1, 2**33, 1.5),
    *all_bad("Local[0].EncFps", -1, 1001, "15"),
    *all_bad("Remote[0].UserId", GONE, "", "x" * 65, 7, None, ["bob"]),
    *all_bad("Remote[0].PlayMs", -1, 2001),
    *all_bad("Remote[0].Stutters", {}, 5),
    *all_bad("Remote[0].Stutters[0]", [1], [1, 2, 3], [1, -1], ["a", 1], 5, field=None),
    *all_bad("Tree", nested(100), field="", code="TooDeep"),
    *all_bad("Note", "x" * 70_000, field="", code="TextTooLong"),
]
BAD_CLIENT_EVENTS = [
    *NO_OBJECTS,
    *all_bad("AtMs", GONE, -1, "x", None),
    *all_bad("AtMs", lambda: now_ms() + AHEAD_MS, code="ClockSkew"),
    *all_bad("AtMs", 0, code="TooOld"),
    *all_bad("EventId", GONE, -1, "2001", 2**40),
    *all_bad("Type", -1, 256, "1"),
    *all_bad("ParamOne", 2**60, "x"),
    *all_bad("PeerId", "x" * 65, 5),
]
BAD_CLIENTS = [
    *all_bad("", 7, "text", [], True),
    *all_bad("Role", -1, 256, "20"),
    *all_bad("SdkVersion", "x" * 257, 5),
    *all_bad("JoinMs", -1, "x"),
    *all_bad("JoinMs", lambda: now_ms() + AHEAD_MS, code="ClockSkew"),
    *all_bad("LeaveMs", 5, code="TooOld"),
    *all_bad("LeaveMs", lambda: now_ms() + AHEAD_MS, code="ClockSkew"),
    *all_bad("JoinResult", 2**40, "ok"),
]
BAD_ENVELOPES = [
    *all_bad("SdkAppId", GONE, "x", 0, -1, 2**32, None, 1.5),
    *all_bad("UserId", GONE, "", "x" * 33, "a b", "ä", 5, "alice\n", None),
    *all_bad("RoomId", GONE, 0, -1, 2**32, "", "x" * 65, None, [], 1.5),
    *all_bad("SessionId", GONE, "", "x" * 65, 5),
    *all_bad("Seq", GONE, 0, -1, "1", 2**31 + 1, 1.5, None),
    *all_bad("SentMs", GONE, -1, "x", 2**70),
    *all_bad("UserSig", 5, [], None),
    *all_bad("Samples", {}, "x", None, 5),
    *all_bad("Events", {}, "x", None),
]
NO_JSON = [
    b"nul", b"{", b"}", b"[", b"[1,", b"[}", b"{'a':1}", b'{"a":1,}', b"[1,]", b"[NaN]", b"[Infinity]", b"[-Infinity]",
    b"\xef\xbb\xbf[]", '[{"a":1}]'.encode("utf-16"), b"\x00", b"[]\x00", b"{}{}", b"[],[]", b"// x\n[]", b"[01]",
    b"[+1]", b'["\x01"]', b'["\\x41"]', b'["\\u12"]', b'[".', b"[1.]", b"[.5]", b"[1e]", b"undefined", b"<events/>",
    b"a=1&b=2", b"\xff\xfe", b'{"a"}', b'{"a" 1}', b'{1:2}', b"[--1]", b"\x1f\x8b\x08\x00", b"(", b"{]",
]  # fmt: skip
RAW_ITEMS = [
    (b'{"a":1e999}', ""),
    (b'{"a":%s}' % (b"1" * 5000), ""),
    (b'{"EventGroupId":\xff}', None),
    (b'{"a":"\xff"}', ""),
    (b'{"\xc3\x28":1}', ""),
    (b'{"a":"\xed\xa0\x80"}', ""),
]
HARDLY_JSON = [b'"\xff"', b"1" * 5000, b'{"\xc3\x28":1}']
"""Values of fields that nobody knows."""


class Ledger:
    """What ingest said it took, to be compared with Kafka at the end."""

    def __init__(self) -> None:
        self.accepted = {"events": 0, "tasks": 0, "reports": 0}
        self.neighbours: dict[str, set[str]] = {"events": set(), "tasks": set()}
        self.samples: dict[str, set[int]] = {}
        """Users and the starts of the good samples that they sent."""


@pytest.fixture(scope="module")
def ledger() -> Ledger:
    return Ledger()


@pytest.fixture(scope="module")
async def world(kafka: KafkaBroker, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with world_on(kafka, tmp_path_factory.mktemp("ingest"), ROOMPULSE_INGEST_LINGER_MS="0") as world:
        yield world


@pytest.fixture(scope="module")
async def client(world: World) -> AsyncIterator[Client]:
    with world.client(await world.application()) as client:
        deadline = time.monotonic() + 2
        while client.signed("/v1/events", b"[]").status == 403:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.02)
        yield client


@pytest.fixture(scope="module", autouse=True)
async def kafka_has_exactly_what_was_accepted(world: World, client: Client, ledger: Ledger) -> AsyncIterator[None]:
    """After all tests of the module."""
    yield
    events = await world.events()
    assert {e.event_id for e in events} >= ledger.neighbours["events"]
    assert len(events) == ledger.accepted["events"]
    tasks = await world.tasks()
    assert {t.interval.task_id for t in tasks} >= ledger.neighbours["tasks"]
    assert len(tasks) == ledger.accepted["tasks"]
    reports = await world.reports()
    assert sum(len(r.samples) + len(r.events) + (r.client is not None) for r in reports) == ledger.accepted["reports"]
    starts: dict[str, set[int]] = {}
    for found in reports:
        starts.setdefault(found.user_id, set()).update(s.start_ms for s in found.samples)
    for user, expected in ledger.samples.items():
        assert expected <= starts[user]


class Bench:
    """Sends bad items between good ones and checks what is said of them."""

    def __init__(self, world: World, client: Client, ledger: Ledger) -> None:
        self._world = world
        self._client = client
        self._ledger = ledger

    def post_items(self, kind: str, body: bytes) -> Answer:
        """A signed body; whatever it is, the answer has the shape of the contract."""
        answer = self._client.signed(f"/v1/{kind}", body)
        return self._checked(answer, kind)

    def post_report(self, body: bytes) -> Answer:
        """The same for a report."""
        answer = self._client.report(body)
        assert answer.json["ServerMs"] > 0
        return self._checked(answer, "reports")

    def _checked(self, answer: Answer, kind: str) -> Answer:
        assert answer.status in (200, 400, 413, 415, 422), answer
        assert answer.headers["x-request-id"]
        said = answer.json
        if answer.status == 200:
            self._ledger.accepted[kind] += said["Accepted"]
        else:
            assert said["Error"]["Code"]
            assert said["Error"]["Reason"]
            assert said["RequestId"] == answer.headers["x-request-id"]
        for rejected in said.get("Rejected", []):
            assert rejected.keys() == {"Index", "Field", "Code", "Reason"}
            assert rejected["Code"]
            assert rejected["Reason"]
        return answer

    def good(self, kind: str) -> dict[str, Any]:
        """An item that has to arrive."""
        number = self._world.number()
        item = event(number) if kind == "events" else task(number)
        self._ledger.neighbours[kind].add(item["EventId" if kind == "events" else "TaskId"])
        return item

    def between_neighbours(self, kind: str, bad: bytes) -> Answer:
        """The answer to a list of a good item, the bad one and another good one."""
        first, last = encoded(self.good(kind)), encoded(self.good(kind))
        return self.post_items(kind, b"[" + first + b"," + bad + b"," + last + b"]")

    def report_around(
        self, *, samples: list[Any] | None = None, events: list[Any] | None = None, **fields: Any
    ) -> tuple[Answer, int]:
        """The answer to a report of a new user with these parts between good ones, and how many good ones there are."""
        user, now = f"user_{self._world.number()}", now_ms()
        self._ledger.samples[user] = {now - 9000, now - 2000}
        good_events = [{"AtMs": now - 100, "EventId": n} for n in (1, 2)]
        body = report(
            self._client.application,
            user=user,
            Samples=[sample(now - 9000), *(samples or []), sample(now - 2000)],
            Events=[good_events[0], *(events or []), good_events[1]],
            **fields,
        )
        return self.post_report(encoded(body)), 4


@pytest.fixture(scope="module")
def bench(world: World, client: Client, ledger: Ledger) -> Bench:
    return Bench(world, client, ledger)


def the_rejected(answer: Answer, accepted: int) -> dict[str, Any]:
    assert answer.status == 200, answer
    assert answer.json["Accepted"] == accepted
    (rejected,) = answer.json["Rejected"]
    assert isinstance(rejected, dict)
    return rejected


@pytest.mark.parametrize("bad", BAD_EVENTS, ids=named)
def test_bad_events(bench: Bench, bad: Bad) -> None:
    rejected = the_rejected(bench.between_neighbours("events", encoded(bad.spoil(event(0)))), 2)
    assert (rejected["Index"], rejected["Field"], rejected["Code"]) == (1, bad.blamed, bad.code)


@pytest.mark.parametrize("bad", BAD_TASKS, ids=named)
def test_bad_tasks(bench: Bench, bad: Bad) -> None:
    rejected = the_rejected(bench.between_neighbours("tasks", encoded(bad.spoil(task(0)))), 2)
    assert (rejected["Index"], rejected["Field"], rejected["Code"]) == (1, bad.blamed, bad.code)


@pytest.mark.parametrize("kind", ["events", "tasks"])
@pytest.mark.parametrize(("raw", "code"), RAW_ITEMS, ids=named)
def test_items_that_are_hardly_json(bench: Bench, kind: str, raw: bytes, code: str | None) -> None:
    if code is None:
        assert bench.post_items(kind, b"[" + raw + b"]").status == 400
        return
    rejected = the_rejected(bench.between_neighbours(kind, raw), 2)
    assert rejected["Index"] == 1
    assert code in ("", rejected["Code"])


@pytest.mark.parametrize("kind", ["events", "tasks"])
@pytest.mark.parametrize("value", HARDLY_JSON, ids=named)
def test_fields_that_are_hardly_json(bench: Bench, kind: str, value: bytes) -> None:
    item = encoded(event(0) if kind == "events" else task(0))
    rejected = the_rejected(bench.between_neighbours(kind, item[:-1] + b',"Note":' + value + b"}"), 2)
    assert rejected["Index"] == 1


@pytest.mark.parametrize("kind", ["events", "tasks"])
def test_a_field_that_is_there_twice(bench: Bench, kind: str) -> None:
    item = encoded(event(0) if kind == "events" else task(0))
    twice = item.replace(b'"UserId":', b'"UserId":"someone","UserId":', 1)
    rejected = the_rejected(bench.between_neighbours(kind, twice), 2)
    assert (rejected["Index"], rejected["Field"]) == (1, "UserId")


@pytest.mark.parametrize("bad", BAD_SAMPLES, ids=named)
def test_bad_samples(bench: Bench, bad: Bad) -> None:
    answer, good = bench.report_around(samples=[bad.spoil(sample(now_ms() - 5000))])
    rejected = the_rejected(answer, good)
    assert (rejected["Index"], rejected["Code"]) == (1, bad.code)
    blamed = f"Samples[1].{bad.blamed}" if bad.blamed else "Samples[1]"
    assert rejected["Field"].startswith(blamed) if "Stutters[" in blamed else rejected["Field"] == blamed


@pytest.mark.parametrize("bad", BAD_CLIENT_EVENTS, ids=named)
def test_bad_client_events(bench: Bench, bad: Bad) -> None:
    answer, good = bench.report_around(events=[bad.spoil({"AtMs": now_ms(), "EventId": 3, "Type": 1})])
    rejected = the_rejected(answer, good)
    blamed = f"Events[1].{bad.blamed}" if bad.blamed else "Events[1]"
    assert (rejected["Index"], rejected["Field"], rejected["Code"]) == (1, blamed, bad.code)


@pytest.mark.parametrize("bad", BAD_CLIENTS, ids=named)
def test_bad_clients(bench: Bench, bad: Bad) -> None:
    answer, good = bench.report_around(Client=bad.spoil({"Role": 20, "SdkVersion": "1.2.3"}))
    rejected = the_rejected(answer, good)
    blamed = f"Client.{bad.blamed}" if bad.blamed else "Client"
    assert (rejected["Index"], rejected["Field"], rejected["Code"]) == (0, blamed, bad.code)


@pytest.mark.parametrize("bad", BAD_ENVELOPES, ids=named)
def test_bad_envelopes(bench: Bench, client: Client, bad: Bad) -> None:
    answer = bench.post_report(encoded(bad.spoil(report(client.application))))
    assert (answer.status, answer.code, answer.json["Error"]["Field"]) == (422, bad.code, bad.blamed)


@pytest.mark.parametrize("body", NO_JSON, ids=named)
def test_what_is_no_json(bench: Bench, body: bytes) -> None:
    for answer in (bench.post_items("events", body), bench.post_items("tasks", body), bench.post_report(body)):
        assert (answer.status, answer.code) == (400, "InvalidJson")


@pytest.mark.parametrize("body", [b"", b" ", b"\n\t\r "], ids=named)
def test_nothing_at_all(bench: Bench, body: bytes) -> None:
    for answer in (bench.post_items("events", body), bench.post_items("tasks", body), bench.post_report(body)):
        assert (answer.status, answer.code) == (400, "EmptyBody")


@pytest.mark.parametrize(
    "body", [b"[]", b"null", b"7", b'"text"', b"true", b"{}", b"[[]]", b"[null]", b"[[[{}]]]", b" [ ] "], ids=repr
)
def test_json_that_is_nothing_of_ours(bench: Bench, body: bytes) -> None:
    for answer in (bench.post_items("events", body), bench.post_items("tasks", body), bench.post_report(body)):
        assert answer.status == 422


@pytest.mark.parametrize("depth", [65, 1000, 100_000])
@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_towers(bench: Bench, depth: int, opening: bytes, closing: bytes) -> None:
    for body in (opening * depth + b"1" + closing * depth, opening * depth):
        for answer in (bench.post_items("events", body), bench.post_items("tasks", body), bench.post_report(body)):
            assert answer.status in (400, 413, 422)


def test_too_many(bench: Bench, client: Client) -> None:
    assert bench.post_items("events", b"[" + b",".join([b"{}"] * 1001) + b"]").status == 413
    assert bench.post_items("tasks", b"[" + b",".join([b"7"] * 1001) + b"]").status == 413
    assert bench.post_report(encoded(report(client.application, Samples=[7] * 1001))).status == 413


# What hypothesis makes up. An independent reader of JSON says what is to be expected.

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=40)
)
anything = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4)
)


def paths_of(value: Any, prefix: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a JSON value."""
    yield prefix
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, child in children:
        yield from paths_of(child, (*prefix, name))


@st.composite
def spoiled(draw: st.DrawFn, good: dict[str, Any]) -> Any:
    """A good item with one to three places taken away, replaced or added to."""
    item: Any = copy.deepcopy(good)
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(list(paths_of(item))))
        if not path:
            item = draw(anything | st.just(item))
            continue
        inner = item
        for name in path[:-1]:
            inner = inner[name]
        match draw(st.sampled_from(["replace", "replace", "remove", "add"])):
            case "replace":
                inner[path[-1]] = draw(anything)
            case "remove":
                del inner[path[-1]]
            case "add" if isinstance(inner, dict):
                inner[draw(st.text(max_size=10))] = draw(anything)
    return item


def only_the_middle_one_was_rejected(answer: Answer, good: int, index: int = 1) -> None:
    assert answer.status == 200, answer
    assert answer.json["Accepted"] in (good, good + 1)
    assert answer.json["Accepted"] + len(answer.json["Rejected"]) == good + 1
    for rejected in answer.json["Rejected"]:
        assert rejected["Index"] == index


@given(st.data())
@generated
def test_generated_items(bench: Bench, data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(["events", "tasks"]))
    item = data.draw(spoiled(event(0) if kind == "events" else task(0)))
    only_the_middle_one_was_rejected(bench.between_neighbours(kind, encoded(item)), 2)


@given(st.data())
@generated
def test_generated_parts_of_reports(bench: Bench, data: st.DataObject) -> None:
    now = now_ms()
    match data.draw(st.sampled_from(["sample", "sample", "event", "client"])):
        case "sample":
            answer, good = bench.report_around(samples=[data.draw(spoiled(sample(now - 5000)))])
            index = 1
        case "event":
            part = {"AtMs": now, "EventId": 3, "Type": 1, "ParamOne": 5, "PeerId": "bob"}
            answer, good = bench.report_around(events=[data.draw(spoiled(part))])
            index = 1
        case _:
            part = data.draw(spoiled({"Role": 20, "JoinMs": now, "Os": "x"}).filter(lambda part: part is not None))
            answer, good = bench.report_around(Client=part)
            index = 0
    only_the_middle_one_was_rejected(answer, good, index)


@given(st.data())
@generated
def test_generated_envelopes(bench: Bench, client: Client, data: st.DataObject) -> None:
    good = report(client.application, Client={"Role": 20})
    body = data.draw(spoiled(good))
    answer = client.report(encoded(body))
    if answer.status in (401, 403):  # the change made another user or application of it
        assert answer.code
        return
    bench._checked(answer, "reports")


@given(st.data())
@generated
def test_generated_noise_in_the_bytes(bench: Bench, data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(["events", "tasks"]))
    middle = bytearray(encoded(event(0) if kind == "events" else task(0)))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(middle)))
        cut = data.draw(st.integers(0, 3))
        middle[place : place + cut] = data.draw(
            st.binary(max_size=4) | st.sampled_from([b'"', b"}", b"[", b"\\", b","])
        )
    first, last = bench.good(kind), bench.good(kind)
    body = encoded(first) + b"," + bytes(middle) + b"," + encoded(last)
    answer = bench.post_items(kind, b"[" + body + b"]")
    try:
        read = json.loads((b"[" + body + b"]").decode(), parse_constant=lambda name: pytest.fail(name))
    except UnicodeDecodeError:
        read = None
    except (ValueError, RecursionError):
        read = []
    if read is not None and len(read) == 3 and read[0] == first and read[2] == last:
        only_the_middle_one_was_rejected(answer, 2)
        return
    # The noise broke the list itself; its neighbours are lost with it, but nobody was told otherwise.
    for item in (first, last):
        bench._ledger.neighbours[kind].discard(item["EventId" if kind == "events" else "TaskId"])
    if read == []:
        assert answer.status == 400


@given(st.binary(max_size=200))
@generated
def test_generated_bodies(bench: Bench, body: bytes) -> None:
    for answer in (bench.post_items("events", body), bench.post_items("tasks", body), bench.post_report(body)):
        assert answer.status in (400, 422)


@given(name=st.sampled_from(["SdkAppId", "Sign", "Content_Type", "Content_Encoding"]), value=st.text(max_size=30))
@generated
def test_generated_headers(client: Client, name: str, value: str) -> None:
    value = value.encode("latin-1", "replace").decode("latin-1").translate({0: None, 10: None, 13: None})
    answer = client.signed("/v1/events", b"[]", **{name: value})
    assert answer.status in (400, 401, 403, 415, 422)
    assert answer.json["Error"]["Reason"]
