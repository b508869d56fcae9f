"""`read_event`: what it makes one, what it leaves alone, what it refuses."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.callbacks import callback_body
from schemas.events import MAX_DEPTH, EventRecord, InvalidEvent, read_event

if TYPE_CHECKING:
    from collections.abc import Callable

SDK_APP_ID = 1400000001
T = 1700000000123


def item(event_info: str, event_type: int = 103, more: str = "") -> bytes:
    """An event whose `EventInfo` is spelled like this."""
    head = f'"EventGroupId": {event_type // 100}, "EventType": {event_type}'
    return f'{{{head}, "EventInfo": {event_info}{more}}}'.encode()


def room_event(more: str = "", event_type: int = 103, room: str = "8801", after: str = "") -> bytes:
    """An event of group 1 or 2 with further fields in `EventInfo` and after it."""
    return item(f'{{"RoomId":{room},"EventTs":1700000000,"EventMsTs":{T},"UserId":"a"{more}}}', event_type, after)


def task_event(event_type: int, more: str = "", room: str | None = '"8801"') -> bytes:
    """An event about a task."""
    where = "" if room is None else f',"RoomId":{room}'
    return item(f'{{"EventMsTs":{T},"TaskId":"t","UserId":"rec"{where}{more}}}', event_type)


def read(posted: bytes) -> EventRecord:
    return read_event(SDK_APP_ID, posted, 0)


def info(posted: bytes) -> dict[str, Any]:
    decoded: dict[str, Any] = msgspec.json.decode(read(posted).event_info)
    return decoded


def refusal(posted: bytes) -> tuple[str, str]:
    with pytest.raises(InvalidEvent) as caught:
        read(posted)
    return caught.value.field, caught.value.code


@pytest.mark.parametrize(
    "spelling",
    [
        pytest.param('{"RoomId":8801,"EventTs":1700000000,"EventMsTs":1700000000123,"UserId":"张三"}', id="utf-8"),
        pytest.param(r'{"RoomId":8801,"EventTs":1,"EventMsTs":2,"UserId":"\u5f20\u4e09\ud83d\ude00"}', id="escapes"),
        pytest.param('{"UserId":"a","EventMsTs":2,"RoomId":"8801","EventTs":1}', id="order"),
        pytest.param('{\n\t"RoomId":\t8801,\n\t"EventTs":\t1,\n\t"EventMsTs":\t2,\n\t"UserId":\t"a"\n}', id="tabs"),
        pytest.param(
            '{"RoomId":1,"EventTs":1,"EventMsTs":2,"UserId":"a","F":[1.0,1.50,1E5,-0.0,0.1,1e-7,0.30000000000000004]}',
            id="floats",
        ),
        pytest.param(
            '{"RoomId":1,"EventTs":1,"EventMsTs":2,"UserId":"a","Big":12345678901234567890,"Bigger":-1'
            + "0" * 40
            + "}",
            id="integers",
        ),
        pytest.param('{"RoomId":1,"EventTs":1,"EventMsTs":2,"UserId":"a","N":null,"E":{},"L":[ ]}', id="empty"),
        pytest.param('{"RoomId":1,"EventTs":1,"EventMsTs":2,"UserId":"a","UserId":"b"}', id="twice"),
        pytest.param('{"RoomId":1,"EventTs":1,"EventMsTs":2,"UserId":"a","TaskId":7}', id="not a task"),
    ],
)
def test_what_needs_no_change_keeps_its_bytes(spelling: str) -> None:
    event = read(item(spelling))
    assert bytes(event.event_info).decode() == spelling
    record = msgspec.json.decode(msgspec.json.encode(event), type=EventRecord)
    assert spelling.encode() in callback_body(record, T)


def test_what_stands_beside_a_change_keeps_its_bytes() -> None:
    posted = task_event(
        305, ',"X":[ 1.0,12345678901234567890123],"Payload":{ "A": 1.50, "LeaveCode":1, "B":{"C" :0.10}}'
    )
    assert (
        bytes(read(posted).event_info).decode()
        == f'{{"EventMsTs":{T},"TaskId":"t","UserId":"rec","RoomId":"8801","X":[ 1.0,12345678901234567890123],'
        '"Payload":{"A":1.50,"Status":1,"B":{"C" :0.10}},"EventTs":1700000000}'
    )


def test_unknown_fields_survive_at_every_level() -> None:
    posted = item(
        '{"RoomId":"8801","EventTs":1,"EventMsTs":2,"UserId":"r","TaskId":"t","New":{"Deep":[1,{"Er":null}]},'
        '"Payload":{"Status":0,"New":1.0,"FileMessage":[{"FileName":"a","New":"x"}]}}',
        310,
        ', "NewBeside": {"a" : 1.0}, "SdkAppId": 7, "CallbackTs": 5, "EventId": "e", "RoomIdType": 1',
    )
    event = read(posted)
    assert event.event_id == "e"
    sent = msgspec.json.decode(callback_body(event, T))
    given_info = msgspec.json.decode(posted)["EventInfo"]
    assert sent == {
        "EventGroupId": 3,
        "EventType": 310,
        "CallbackTs": T,
        "EventInfo": given_info,
        "NewBeside": {"a": 1.0},
        "SdkAppId": 7,
    }
    assert b'{"a" : 1.0}' in callback_body(event, T)


@pytest.mark.parametrize(
    ("posted", "field", "value"),
    [
        (item(f'{{"RoomId":1,"UserId":"a","EventTsMs":{T}}}'), "EventMsTs", T),
        (item(f'{{"RoomId":1,"UserId":"a","EventTsMs":"{T}"}}'), "EventMsTs", T),
        (item(f'{{"RoomId":1,"UserId":"a","EventMsTs":"{T}"}}'), "EventMsTs", T),
        (item(f'{{"RoomId":1,"UserId":"a","EventMsTs":{T},"EventTsMs":5}}'), "EventMsTs", T),
        (item('{"RoomId":1,"UserId":"a","EventTs":"1700000000"}'), "EventTs", 1700000000),
        (item('{"RoomId":1,"UserId":"a","EventTs":1700000000}'), "EventMsTs", 1700000000000),
        (item(f'{{"RoomId":1,"UserId":"a","EventMsTs":{T}}}'), "EventTs", 1700000000),
        (item(f'{{"RoomId":1,"UserId":"a","EventMsTs":{T},"EventTs":null}}'), "EventTs", 1700000000),
        (item(f'{{"RoomId":1,"UserId":"a","EventMsTs":{T}}}', 201), "EventTs", 1700000000),
        (task_event(301), "EventTs", 1700000000),
        (
            item(f'{{"RoomId":"1","EventTsMs":{T},"TaskId":18446744073709551615}}', 401),
            "TaskId",
            "18446744073709551615",
        ),
        (item(f'{{"EventMsTs":"{T}","TaskId":0,"Status":0}}', 701), "TaskId", "0"),
        (task_event(305, ',"Payload":{"LeaveCode":2}'), "Payload", {"Status": 2}),
        (task_event(305, ',"Payload":{"Status":0,"LeaveCode":2}'), "Payload", {"Status": 0, "LeaveCode": 2}),
        (task_event(302, ',"Payload":{"LeaveCode":2}'), "Payload", {"LeaveCode": 2}),
    ],
)
def test_one_spelling_of_what_the_vendor_spells_in_several_ways(posted: bytes, field: str, value: object) -> None:
    assert info(posted)[field] == value
    assert type(info(posted)[field]) is type(value)


@pytest.mark.parametrize("posted", [task_event(401), task_event(701, room=None), task_event(801), task_event(901)])
def test_groups_without_event_ts_get_none(posted: bytes) -> None:
    assert "EventTs" not in info(posted)


def test_a_misspelled_time_keeps_its_place() -> None:
    posted = item(f'{{"RoomId":"1","EventTsMs":{T},"TaskId":"t","EventTs":null}}', 401)
    assert list(info(posted)) == ["RoomId", "EventMsTs", "TaskId", "EventTs"]


def test_the_room_scene_is_ours_and_does_not_go_to_the_customer() -> None:
    event = read(room_event(',"RoomScene":"live","X":1.0'))
    assert event.room_scene == "live"
    assert b"RoomScene" not in callback_body(event, T)
    assert b'"X":1.0' in callback_body(event, T)
    assert refusal(room_event(',"RoomScene":"party"')) == ("EventInfo.RoomScene", "InvalidParameter")


@pytest.mark.parametrize(
    ("posted", "room", "kind"),
    [
        (room_event(room="8801"), "8801", 0),
        (room_event(room='"8801"'), "8801", 1),
        (room_event(room='"lobby"'), "lobby", 1),
        (room_event(room='"8801"', after=',"RoomIdType":0'), "8801", 0),
        (room_event(room="8801", event_type=102), "8801", 0),
        (room_event(room='"8801"', event_type=102), "8801", None),
        (room_event(room='"lobby"', event_type=102), "lobby", 1),
        (room_event(room='"08801"', event_type=102), "08801", 1),
        (room_event(room='"4294967296"', event_type=102), "4294967296", 1),
        (room_event(room='"٣"', event_type=102), "٣", 1),
        (room_event(room='"8801"', event_type=201), "8801", 1),
        (task_event(301), "8801", None),
        (task_event(301, room="8801"), "8801", 0),
        (task_event(301, room='"lobby"'), "lobby", 1),
        (task_event(401, ',"RoomType":0'), "8801", 0),
        (task_event(401, ',"RoomType":1'), "8801", 1),
        (task_event(401), "8801", 1),
        (task_event(901, ',"RoomIdType":0'), "8801", 0),
        (task_event(901, ',"RoomIdType":1'), "8801", 1),
        (task_event(901), "8801", None),
        (task_event(1501, ',"RoomIdType":0'), "8801", 0),
        (task_event(1501), "8801", None),
        (task_event(1501, room=None), None, None),
        (task_event(701), None, None),
        (task_event(801), None, None),
    ],
)
def test_which_room_it_is(posted: bytes, room: str | None, kind: int | None) -> None:
    event = read(posted)
    assert (event.room_id, event.room_id_type) == (room, kind)
    given_room = msgspec.json.decode(posted)["EventInfo"].get("RoomId")
    assert info(posted).get("RoomId") == given_room
    assert type(info(posted).get("RoomId")) is type(given_room)


SAME: dict[str, list[Callable[[], bytes]]] = {
    "spelling": [
        lambda: item(f'{{"RoomId":1,"EventTs":1700000000,"EventMsTs":{T},"UserId":"a"}}'),
        lambda: item(f'{{ "UserId" : "a", "EventTs":1700000000,\n"RoomId":1, "EventMsTs":{T}}}'),
        lambda: item(f'{{"RoomId":1,"EventMsTs":{T},"UserId":"\\u0061"}}'),
        lambda: item(f'{{"RoomId":1,"EventTsMs":"{T}","UserId":"a"}}'),
        lambda: item(f'{{"RoomId":1,"EventTs":"1700000000","EventMsTs":"{T}","UserId":"a"}}'),
        lambda: item(f'{{"RoomId":"1","EventMsTs":{T},"UserId":"a"}}', more=',"RoomIdType":0'),
        lambda: item(f'{{"RoomId":1,"EventMsTs":{T},"UserId":"a"}}', more=',"CallbackTs":1700000000500'),
        lambda: item(f'{{"RoomId":1,"EventMsTs":{T},"UserId":"a"}}', more=',"CallbackTs":1700000009999'),
    ],
    "task": [
        lambda: item(f'{{"RoomId":"1","EventMsTs":{T},"TaskId":"77"}}', 401),
        lambda: item(f'{{"RoomId":"1","EventTsMs":{T},"TaskId":77}}', 401),
    ],
    "305": [
        lambda: task_event(305, ',"Payload":{"Status":1}'),
        lambda: task_event(305, ',"Payload":{ "LeaveCode":1}'),
    ],
}


@pytest.mark.parametrize("name", SAME)
def test_one_event_has_one_id_however_it_is_spelled(name: str) -> None:
    ids = {read(make()).event_id for make in SAME[name]}
    assert len(ids) == 1
    assert len(ids.pop()) == 40


def test_different_events_have_different_ids() -> None:
    posted = [
        room_event(),
        room_event(event_type=104),
        room_event(room="8802"),
        room_event(',"Reason":1'),
        room_event(',"Reason":2'),
        room_event(',"X":12345678901234567890123456789'),
        room_event(',"X":12345678901234567890123456788'),
        task_event(401),
        task_event(401, ',"RoomType":0'),
        task_event(401, ',"RoomType":1'),
        task_event(401, ',"Payload":{"Status":1}'),
        task_event(401, ',"Payload":{"Status":2}'),
    ]
    ids = {read(event).event_id for event in posted} | {read_event(2, room_event(), 0).event_id}
    assert len(ids) == len(posted) + 1


def test_an_id_of_the_senders_own_is_taken() -> None:
    assert read(room_event(after=',"EventId":"mine"')).event_id == "mine"
    assert refusal(room_event(after=',"EventId":""')) == ("EventId", "InvalidParameter")
    assert refusal(room_event(after=f',"EventId":"{"x" * 65}"')) == ("EventId", "InvalidParameter")


def test_half_a_character_does_not_cost_the_event() -> None:
    r"""Software that cuts texts in the middle of an emoji leaves `\ud83d`, which stands for nothing."""
    event = read(room_event(r',"Cut":"\ud83d","Low":"\uDE00.","Whole":"\uD83D\uDE00","Slash":"\\ud83d","K\ud83d":1'))
    decoded = msgspec.json.decode(event.event_info)
    assert decoded["Cut"] == "\ufffd"
    assert decoded["Low"] == "\ufffd."
    assert decoded["Whole"] == "😀"
    assert decoded["Slash"] == r"\ud83d"
    assert decoded["K\ufffd"] == 1


@pytest.mark.parametrize(
    ("posted", "field", "code"),
    [
        (b"", "", "InvalidJson"),
        (b"{", "", "InvalidJson"),
        (b'{"EventGroupId":1,}', "", "InvalidJson"),
        (room_event().replace(b'"a"', b'"\xff"'), "", "InvalidJson"),
        (room_event().replace(b'"a"', b'"\xed\xa0\x80"'), "", "InvalidJson"),
        (b"[]", "", "InvalidParameter"),
        (b"7", "", "InvalidParameter"),
        (b"{}", "EventGroupId", "InvalidParameter"),
        (b'{"EventGroupId":1,"EventType":101}', "EventInfo", "InvalidParameter"),
        (item("null"), "EventInfo", "InvalidParameter"),
        (item("[]"), "EventInfo", "InvalidParameter"),
        (item("{}"), "EventInfo.RoomId", "InvalidParameter"),
        (room_event().replace(b'"EventGroupId": 1', b'"EventGroupId": 2'), "EventType", "InvalidParameter"),
        (room_event().replace(b'"EventGroupId": 1', b'"EventGroupId": true'), "EventGroupId", "InvalidParameter"),
        (room_event().replace(b'"EventGroupId": 1', b'"EventGroupId": 0'), "EventGroupId", "InvalidParameter"),
        (room_event(room="0"), "EventInfo.RoomId", "InvalidParameter"),
        (room_event(room="4294967296"), "EventInfo.RoomId", "InvalidParameter"),
        (room_event(room="1.5"), "EventInfo.RoomId", "InvalidParameter"),
        (room_event(room='""'), "EventInfo.RoomId", "InvalidParameter"),
        (room_event(room="true"), "EventInfo.RoomId", "InvalidParameter"),
        (room_event(room="1", after=',"RoomIdType":1'), "RoomIdType", "InvalidParameter"),
        (room_event(room='"lobby"', after=',"RoomIdType":0'), "RoomIdType", "InvalidParameter"),
        (room_event(room='"01"', after=',"RoomIdType":0'), "RoomIdType", "InvalidParameter"),
        (task_event(401, ',"RoomType":1', room="1"), "EventInfo.RoomType", "InvalidParameter"),
        (task_event(901, ',"RoomIdType":0', room='"lobby"'), "EventInfo.RoomIdType", "InvalidParameter"),
        (room_event(',"Role":22'), "EventInfo.Role", "InvalidParameter"),
        (item('{"RoomId":1,"UserId":"a"}'), "EventInfo.EventMsTs", "InvalidParameter"),
        (item('{"RoomId":1,"EventMsTs":1}'), "EventInfo.UserId", "InvalidParameter"),
        (item('{"RoomId":1,"UserId":"a","EventMsTs":null}'), "EventInfo.EventMsTs", "InvalidParameter"),
        (item('{"RoomId":1,"UserId":"a","EventMsTs":"soon"}'), "EventInfo.EventMsTs", "InvalidParameter"),
        (item('{"RoomId":1,"UserId":"a","EventMsTs":99999999999999999999}'), "EventInfo.EventMsTs", "InvalidParameter"),
        (item('{"RoomId":1,"UserId":"a","EventTs":99999999999}'), "EventInfo.EventTs", "InvalidParameter"),
        (item(f'{{"EventMsTs":{T}}}', 701), "EventInfo.TaskId", "InvalidParameter"),
        (item(f'{{"EventMsTs":{T},"TaskId":-1}}', 701), "EventInfo.TaskId", "InvalidParameter"),
        (item(f'{{"EventMsTs":{T},"TaskId":1{"0" * 4000}}}', 701), "EventInfo.TaskId", "InvalidParameter"),
        (item(f'{{"EventMsTs":{T},"TaskId":1{"0" * 5000}}}', 701), "", "InvalidParameter"),
        (room_event(',"X":1e999'), "", "InvalidParameter"),
        (task_event(310, ',"Payload":[]'), "EventInfo.Payload", "InvalidParameter"),
        (
            task_event(310, ',"Payload":{"FileMessage":[{},{"MediaId":"x"}]}'),
            "EventInfo.Payload.FileMessage[1].MediaId",
            "InvalidParameter",
        ),
        (room_event(',"X":' + "[" * MAX_DEPTH + "]" * MAX_DEPTH), "", "TooDeep"),
        (room_event(',"X":' + '{"a":' * 100_000 + "1" + "}" * 100_000), "", "TooDeep"),
    ],
)
def test_what_is_refused_and_what_is_blamed(posted: bytes, field: str, code: str) -> None:
    assert refusal(posted) == (field, code)


def test_the_deepest_event_that_is_taken_can_be_decoded_anywhere() -> None:
    levels = MAX_DEPTH - 2
    event = read(room_event(',"X":' + "[" * levels + "1" + "]" * levels))
    assert msgspec.json.decode(msgspec.json.encode(event), type=EventRecord) == event


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
FIELDS = [
    "RoomId",
    "EventTs",
    "EventMsTs",
    "EventTsMs",
    "UserId",
    "TaskId",
    "Role",
    "Payload",
    "RoomType",
    "RoomIdType",
]


@given(
    event_type=st.sampled_from([101, 102, 103, 204, 301, 305, 307, 310, 311, 401, 701, 801, 903, 1501]) | st.integers(),
    changes=st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=5), json_values, max_size=4),
    beside=st.dictionaries(st.sampled_from(["EventId", "RoomIdType", "CallbackTs", "New"]), json_values, max_size=2),
    payload=st.dictionaries(st.sampled_from(["Status", "LeaveCode", "FileMessage", "New"]), json_values, max_size=3),
)
def test_whatever_is_posted_is_taken_or_refused(
    event_type: int, changes: dict[str, Any], beside: dict[str, Any], payload: dict[str, Any]
) -> None:
    whole = {"RoomId": "8801", "EventMsTs": T, "UserId": "a", "TaskId": "t", "Payload": payload} | changes
    # json writes lone surrogates and floats that msgspec would not.
    posted = json.dumps({"EventGroupId": event_type // 100, "EventType": event_type, "EventInfo": whole} | beside)
    try:
        event = read(posted.encode())
    except InvalidEvent:
        return
    sent = json.loads(callback_body(msgspec.json.decode(msgspec.json.encode(event), type=EventRecord), T))
    assert sent["EventInfo"]["EventMsTs"] == event.event_ms_ts
    for name in changes.keys() - {"EventTs", "EventMsTs", "EventTsMs", "TaskId", "Payload", "RoomScene"}:
        key = name.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        assert key in sent["EventInfo"]


@given(st.binary(max_size=200))
def test_no_bytes_at_all_do_more_than_be_refused(posted: bytes) -> None:
    with pytest.raises(InvalidEvent):
        read(posted)
