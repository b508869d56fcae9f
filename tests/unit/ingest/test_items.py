from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.events import EventRecord
from schemas.tasks import TaskRecord
from services.ingest.bodies import Limits
from services.ingest.items import event_of, read_items, task_of
from services.ingest.refusals import Refusal, nothing_accepted
from services.runtime.settings import Settings

NOW = 1_700_000_000_000
APP = 1400000001
LIMITS = Limits.of(Settings(ingest_max_record_bytes=2000))


def event(**fields: Any) -> dict[str, Any]:
    info = {"RoomId": 12, "EventMsTs": NOW, "UserId": "alice"}
    return {"EventGroupId": 1, "EventType": 103, "EventInfo": info, **fields}


def interval(**fields: Any) -> dict[str, Any]:
    return {"TaskId": "t", "TaskType": "relay", "RoomId": 12, "StartMs": NOW - 60_000, "EndMs": NOW, **fields}


def encoded(value: Any) -> bytes:
    return msgspec.json.encode(value)


def test_events_go_to_their_room_and_tasks_to_theirs() -> None:
    (record,), _ = read_items(encoded(event()), event_of, APP, NOW, LIMITS)
    assert (record.topic, record.key, record.partition) == ("events", b"1400000001/room/12", None)
    assert msgspec.json.decode(record.value, type=EventRecord).sdk_app_id == APP
    (record,), _ = read_items(encoded(interval()), task_of, APP, NOW, LIMITS)
    assert (record.topic, record.key) == ("tasks", b"1400000001/room/12")
    assert msgspec.json.decode(record.value, type=TaskRecord).interval.end_ms == NOW
    (record,), _ = read_items(encoded(interval(TaskType="web-record", RoomId=None)), task_of, APP, NOW, LIMITS)
    assert record.key == b"1400000001/task/t"


@given(st.lists(st.booleans(), min_size=1, max_size=30))
def test_each_bad_item_is_named_and_no_good_one_is_lost(good: list[bool]) -> None:
    items = [event(EventId=str(n)) if is_good else {"n": n} for n, is_good in enumerate(good)]
    records, rejected = read_items(encoded(items), event_of, APP, NOW, LIMITS)
    assert [rejection.index for rejection in rejected] == [n for n, is_good in enumerate(good) if not is_good]
    ids = [msgspec.json.decode(record.value, type=EventRecord).event_id for record in records]
    assert ids == [str(n) for n, is_good in enumerate(good) if is_good]


def test_an_item_that_is_too_large_for_a_record() -> None:
    records, (rejection,) = read_items(encoded([event(Note="x" * 2000), event()]), event_of, APP, NOW, LIMITS)
    assert (len(records), rejection.index, rejection.code) == (1, 0, "ItemTooLarge")
    assert "ingest_max_record_bytes" in rejection.reason


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"EndMs": NOW - 60_000}, "EndMs"),
        ({"EndMs": NOW + 1}, "EndMs"),
        ({"TaskType": "web-record"}, "RoomId"),
        ({"RecordMode": "mixed"}, "RecordMode"),
        ({"RoomIdType": 1}, "RoomIdType"),
        ({"RoomId": "007", "RoomIdType": 0}, "RoomIdType"),
        ({"Inputs": [{"UserId": "a", "Type": "big", "RoomId": 5, "RoomIdType": 1}]}, "Inputs[0].RoomIdType"),
    ],
)
def test_intervals_that_contradict_themselves(fields: dict[str, Any], field: str) -> None:
    records, (rejection,) = read_items(encoded(interval(**fields)), task_of, APP, NOW, LIMITS)
    assert (records, rejection.field) == ([], field)


def test_a_name_that_is_there_twice() -> None:
    body = encoded(event()).replace(b'"RoomId":12', b'"RoomId":11,"RoomId":12')
    _, (rejection,) = read_items(body, event_of, APP, NOW, LIMITS)
    assert (rejection.field, rejection.code) == ("RoomId", "InvalidParameter")


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"[]", 422, "NoItems"),
        (b"[1,", 400, "InvalidJson"),
        (b"[" * 5000, 400, "TooDeep"),
        (b"[" + b",".join([b"1"] * 1001) + b"]", 413, "TooManyItems"),
    ],
)
def test_what_concerns_the_whole(body: bytes, status: int, code: str) -> None:
    with pytest.raises(Refusal) as refusal:
        read_items(body, event_of, APP, NOW, LIMITS)
    assert (refusal.value.status, refusal.value.code) == (status, code)


def test_the_refusal_of_a_list_speaks_of_its_first_item() -> None:
    _, rejected = read_items(encoded([event(EventType=5), 7]), event_of, APP, NOW, LIMITS)
    refusal = nothing_accepted(rejected)
    assert (refusal.status, refusal.field, refusal.rejected) == (422, "EventType", rejected)
    assert "none of 2" in refusal.reason
    assert "item 0" in refusal.reason
