"""The published JSON Schema: current, right about its own examples, and of one mind with the decoders."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from jsonschema import Draft202012Validator

from schemas import examples, jsonschema
from schemas.answers import Acceptance, ErrorAnswer, ReportAcceptance, TimeAnswer
from schemas.applications import ApplicationRecord
from schemas.callbacks import callback_body
from schemas.deliveries import DeliveryAttempt
from schemas.events import InvalidEvent, read_event
from schemas.payloads import PAYLOAD_OF_TYPE, info_type
from schemas.reports import Report
from schemas.tasks import TaskInterval, read_task
from services.runtime.applications import open_application
from services.runtime.secrets import SecretBox
from services.runtime.usersig import Privilege, verify, verify_private_map_key

if TYPE_CHECKING:
    from collections.abc import Iterator

STRUCTS: dict[str, type[msgspec.Struct]] = {
    "report": Report,
    "task-interval": TaskInterval,
    "accepted": Acceptance,
    "accepted-report": ReportAcceptance,
    "error": ErrorAnswer,
    "time": TimeAnswer,
    "application-record": ApplicationRecord,
    "delivery-attempt": DeliveryAttempt,
}
SCHEMAS: dict[str, dict[str, Any]] = {
    path.stem: json.loads(path.read_text("utf-8")) for path in jsonschema.FOLDER.glob("*.json")
}
EXAMPLES = [(name, number) for name, schema in SCHEMAS.items() for number in range(len(schema["examples"]))]
TYPES = {*range(101, 106), *range(201, 207), *range(301, 313), 401, 701, 702, *range(801, 805)}
TYPES |= {*range(901, 907), 908, 909, 1501}


def is_valid(name: str, value: object) -> bool:
    return Draft202012Validator(SCHEMAS[name]).is_valid(value)


def decodes(name: str, value: Any) -> bool:
    """Whether our own code takes it."""
    try:
        if name == "event":
            read_event(examples.SDK_APP_ID, json.dumps(value).encode(), 0)
        elif name == "callback":
            _decode_callback(value)
        else:
            msgspec.json.decode(json.dumps(value), type=STRUCTS[name])
    except (msgspec.ValidationError, InvalidEvent):
        return False
    return True


def _decode_callback(body: dict[str, Any]) -> None:
    class Body(msgspec.Struct, rename="pascal"):
        event_group_id: int
        event_type: int
        event_info: dict[str, Any]

    callback = msgspec.convert(body, Body)
    info = msgspec.convert(callback.event_info, info_type(callback.event_group_id, callback.event_type))
    payload = getattr(info, "payload", None)
    if payload is not None and callback.event_type in PAYLOAD_OF_TYPE:
        msgspec.convert(payload, PAYLOAD_OF_TYPE[callback.event_type])


def test_the_committed_files_are_current() -> None:
    committed = {path.name: path.read_text("utf-8") for path in jsonschema.FOLDER.iterdir()}
    assert committed == jsonschema.files(), "run: make docs"


def test_there_is_a_schema_for_every_decoder() -> None:
    assert set(SCHEMAS) == {*STRUCTS, "event", "callback"}


@pytest.mark.parametrize("name", SCHEMAS)
def test_schemas_are_schemas_and_leave_room_for_new_fields(name: str) -> None:
    schema = SCHEMAS[name]
    Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert "additionalProperties" not in json.dumps({**schema, "$defs": {}, "examples": []})
    for part in [schema, *schema.get("$defs", {}).values()]:
        assert part["description"]


@pytest.mark.parametrize(("name", "number"), EXAMPLES)
def test_examples_fit_their_schema_and_their_decoder(name: str, number: int) -> None:
    example = SCHEMAS[name]["examples"][number]
    Draft202012Validator(SCHEMAS[name]).validate(example)
    assert decodes(name, example)


@pytest.mark.parametrize(("name", "number"), EXAMPLES)
def test_unknown_fields_are_welcome_at_every_level(name: str, number: int) -> None:
    example = copy.deepcopy(SCHEMAS[name]["examples"][number])
    for _, parent, key in list(places(example)):
        node = parent[key]
        if isinstance(node, dict) and key != "GroupUrls":
            node["SomethingNew"] = {"Deep": [None]}
    example["SomethingNew"] = 1.0
    Draft202012Validator(SCHEMAS[name]).validate(example)
    assert decodes(name, example)


def test_there_is_an_example_of_every_type_of_event() -> None:
    for name in ("event", "callback"):
        assert {example["EventType"] for example in SCHEMAS[name]["examples"]} == TYPES


def test_the_examples_hold_together() -> None:
    """Signatures, keys and rules that no schema can say."""
    about: dict[str, Any] = {"sdk_app_id": examples.SDK_APP_ID, "key": examples.SECRET_KEY, "user_id": "alice"}
    for report in examples.reports():
        verify(report.user_sig, now=report.sent_ms // 1000, **about)
        assert [sample.start_ms for sample in report.samples] == sorted(sample.start_ms for sample in report.samples)
        for sample in report.samples:
            grid = sample.start_ms // 2000
            assert (sample.start_ms + sample.dur_ms - 1) // 2000 == grid
    first = examples.reports()[0]
    verify_private_map_key(
        first.private_map_key, room=first.room_id, needed=Privilege.ENTER_ROOM, now=first.sent_ms // 1000, **about
    )
    for record in examples.application_records():
        application = open_application(record, SecretBox(bytes(32)))
        assert application.secret_key == examples.SECRET_KEY
        assert application.callback_key in ("", examples.CALLBACK_KEY)
        assert application.next_callback_key in ("", examples.NEXT_CALLBACK_KEY)
        assert application.webhook_secret in ("", examples.WEBHOOK)
    for task in examples.tasks():
        read_task(examples.SDK_APP_ID, msgspec.json.encode(task), 0)


def test_what_is_posted_comes_back_as_the_callback_of_the_same_number() -> None:
    for posted, sent in zip(examples.events(), examples.callbacks(), strict=False):
        callback = msgspec.json.decode(sent)
        event = read_event(examples.SDK_APP_ID, msgspec.json.encode(posted), 0)
        assert callback_body(event, callback.get("CallbackTs") or callback["CallbackMsTs"]) == sent


REPLACEMENTS: list[object] = [
    None, True, False, -1, 0, 1, 3, 22, 300, 70_000, 2**33, 2**63, 1.5, "", "x", "12", "demo room", "x" * 70, [], {},
    [1], ["x"], [[1, 2]], {"A": 1},
]  # fmt: skip


def kind_of(example: dict[str, Any]) -> tuple[object, ...]:
    """What decides which rules an example has to keep."""
    if "EventInfo" not in example:
        return ()
    group, event_type = example["EventGroupId"], example["EventType"]
    return (event_type == 305, info_type(group, event_type), PAYLOAD_OF_TYPE.get(event_type))


def places(value: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Every place in a JSON value: its path, what holds it and under which key."""
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield f"{path}/{key}", value, key
            yield from places(value[key], f"{path}/{key}")


def altered(name: str) -> Iterator[tuple[str, Any]]:
    """The examples with each place in turn left out or replaced, and what was done."""
    seen = set()
    for example in SCHEMAS[name]["examples"]:
        for path, *_ in list(places(example)):
            if (path, kind_of(example)) in seen:
                continue
            seen.add((path, kind_of(example)))
            for replacement in [..., *REPLACEMENTS]:
                value = copy.deepcopy(example)
                _, parent, key = next(place for place in places(value) if place[0] == path)
                if replacement is ...:
                    del parent[key]
                else:
                    parent[key] = replacement
                yield f"{path} of {example.get('EventType', name)}: {replacement!r}", value


@pytest.mark.parametrize("name", STRUCTS)
def test_schema_and_decoder_are_of_one_mind(name: str) -> None:
    validator = Draft202012Validator(SCHEMAS[name])
    differences = [
        f"{what}: the schema says {not taken}"
        for what, value in altered(name)
        if (taken := decodes(name, value)) != validator.is_valid(value)
    ]
    assert not differences


def test_events_that_are_taken_fit_their_schema_and_become_callbacks_that_fit_theirs() -> None:
    event_validator, callback_validator = (Draft202012Validator(SCHEMAS[name]) for name in ("event", "callback"))
    differences, wrong, taken = [], [], 0
    for what, value in altered("event"):
        if what == "/EventGroupId of 1501: 22":
            continue  # that a type belongs to an unknown group is more than the schema says
        try:
            event = read_event(examples.SDK_APP_ID, json.dumps(value).encode(), 0)
        except InvalidEvent as error:
            if event_validator.is_valid(value):
                differences.append(f"{what}: the decoder says no, {error}")
            continue
        taken += 1
        if not event_validator.is_valid(value):
            differences.append(f"{what}: the schema says no")
        if not callback_validator.is_valid(msgspec.json.decode(callback_body(event, examples.START_MS))):
            wrong.append(what)
    assert not differences
    assert not wrong
    assert taken > 1000


T = 1700000000123
ENTERED = {"RoomId": 8801, "EventTs": 1700000000, "EventMsTs": T, "UserId": "a"}
RECORDED = {**ENTERED, "RoomId": "8801", "TaskId": "t"}
RELAYED = {"RoomId": "8801", "EventMsTs": T, "TaskId": "t"}


def event(event_type: int, info: object, **more: Any) -> dict[str, Any]:
    return {"EventGroupId": event_type // 100, "EventType": event_type, "EventInfo": info, **more}


@pytest.mark.parametrize(
    ("posted", "welcome"),
    [
        (event(103, ENTERED), True),
        (event(103, {**ENTERED, "Anything": {"New": 1}}, Beside=[]), True),
        (event(103, {**ENTERED, "RoomId": "8801"}), True),
        (event(103, {**ENTERED, "RoomId": "8801"}, RoomIdType=0), True),
        (event(103, {**ENTERED, "RoomId": "lobby"}, RoomIdType=0), False),
        (event(103, ENTERED, RoomIdType=1), False),
        (event(103, {**ENTERED, "RoomId": 4294967295}), True),
        (event(103, {**ENTERED, "RoomId": 4294967296}), False),
        (event(103, {**ENTERED, "Role": 22}), False),
        (event(103, {"RoomId": 1, "UserId": "a", "EventTsMs": T}), True),
        (event(103, {"RoomId": 1, "UserId": "a", "EventTsMs": f"{T}"}), True),
        (event(103, {"RoomId": 1, "UserId": "a", "EventTs": "1700000000"}), True),
        (event(103, {"RoomId": 1, "UserId": "a", "EventTs": None}), False),
        (event(103, {"RoomId": 1, "UserId": "a"}), False),
        (event(103, {"RoomId": 1, "UserId": "a", "EventMsTs": "now"}), False),
        (event(103, {"RoomId": 1, "EventMsTs": T}), False),
        (event(102, {"RoomId": 1, "EventMsTs": T}), True),
        (event(201, {"RoomId": 1, "EventMsTs": T}), False),
        ({**event(103, ENTERED), "EventGroupId": 2}, False),
        ({**event(103, ENTERED), "EventGroupId": 5}, False),
        (event(103, ENTERED, EventId="x" * 64), True),
        (event(103, ENTERED, EventId="x" * 65), False),
        (event(103, ENTERED, CallbackTs="now"), False),
        (event(103, []), False),
        ([event(103, ENTERED)], False),
        (event(305, {**RECORDED, "Payload": {"LeaveCode": 1}}), True),
        (event(305, {**RECORDED, "Payload": {"LeaveCode": "1"}}), False),
        (event(305, {**RECORDED, "Payload": {"Status": 0, "LeaveCode": "1"}}), True),
        (event(301, {**RECORDED, "Payload": {"LeaveCode": "1"}}), True),
        (event(301, {**RECORDED, "Payload": {"Status": "1"}}), False),
        (event(301, {**RECORDED, "Payload": None}), True),
        (event(301, {**RECORDED, "Payload": 0}), False),
        (event(310, {**RECORDED, "Payload": {"FileMessage": [{"MediaId": "main"}, {"MediaId": "side"}]}}), False),
        (event(401, {**RELAYED, "TaskId": 7}), True),
        (event(401, {**RELAYED, "TaskId": 2**64}), False),
        (event(401, {**RELAYED, "RoomType": 0}), True),
        (event(401, {**RELAYED, "RoomType": 1, "RoomId": 8801}), False),
        (event(401, {**RELAYED, "RoomType": 0, "RoomId": "lobby"}), False),
        (event(701, {"EventMsTs": T, "TaskId": "t", "Status": 0}), True),
        (event(701, {"EventMsTs": T, "Status": 0}), False),
        (event(906, {"EventMsTs": T, "TaskId": "t", "Payload": {"Value": 1.5}}), True),
        (event(1501, {"EventMsTs": T}), True),
        (event(1501, {"EventMsTs": T, "RoomIdType": 2}), False),
        (event(401, {**RELAYED, "Payload": {"Url": "u", "Status": 4, "ErrorCode": 1, "ErrorMsg": "m"}}), True),
    ],
)
def test_events_that_are_welcome_and_events_that_are_not(posted: object, welcome: bool) -> None:
    assert decodes("event", posted) is welcome
    assert is_valid("event", posted) is welcome


SAMPLE = {"StartMs": T, "DurMs": 2000}
REPORT = {"SdkAppId": 1, "UserId": "a", "RoomId": 1, "SessionId": "s", "Seq": 1, "SentMs": T}


@pytest.mark.parametrize(
    ("name", "posted", "welcome"),
    [
        ("report", REPORT, True),
        ("report", {**REPORT, "New": 1, "Samples": [{**SAMPLE, "New": 1, "Local": [{"Type": "big", "New": 1}]}]}, True),
        ("report", {**REPORT, "RoomId": "1", "Samples": [SAMPLE], "Client": None}, True),
        ("report", {**REPORT, "UserId": "x" * 33}, False),
        ("report", {**REPORT, "UserId": "with space"}, False),
        ("report", {**REPORT, "UserId": "newline\n"}, False),
        ("report", {**REPORT, "UserId": ""}, False),
        ("report", {**REPORT, "Seq": 0}, False),
        ("report", {name: value for name, value in REPORT.items() if name != "SentMs"}, False),
        ("report", {**REPORT, "Samples": [{**SAMPLE, "DurMs": 2001}]}, False),
        ("report", {**REPORT, "Samples": [{**SAMPLE, "DurMs": 0}]}, False),
        ("report", {**REPORT, "Samples": [{**SAMPLE, "UpLoss": 100}]}, True),
        ("report", {**REPORT, "Samples": [{**SAMPLE, "UpLoss": 100.5}]}, False),
        ("report", {**REPORT, "Samples": [{**SAMPLE, "UpLoss": None}]}, True),
        ("report", {**REPORT, "Samples": [{**SAMPLE, "Local": [{"Type": "medium"}]}]}, False),
        ("report", {**REPORT, "Samples": [{**SAMPLE, "Local": [{"Type": "big", "Muted": 0}]}]}, False),
        ("report", {**REPORT, "Samples": [{**SAMPLE, "Remote": [{"Type": "big"}]}]}, False),
        ("report", {**REPORT, "Samples": [{**SAMPLE, "Remote": [REMOTE := {"UserId": "b", "Type": "big"}]}]}, True),
        ("report", {**REPORT, "Samples": [{**SAMPLE, "Remote": [{**REMOTE, "Stutters": [[T, 600]]}]}]}, True),
        ("report", {**REPORT, "Samples": [{**SAMPLE, "Remote": [{**REMOTE, "Stutters": [[T]]}]}]}, False),
        ("report", {**REPORT, "Samples": [{**SAMPLE, "Remote": [{**REMOTE, "Stutters": [[T, 600, 1]]}]}]}, False),
        ("report", {**REPORT, "Samples": [{**SAMPLE, "Remote": [{**REMOTE, "PlayMs": 2001}]}]}, False),
        ("report", {**REPORT, "Events": [{"AtMs": T, "EventId": 1, "ParamOne": -5}]}, True),
        ("report", {**REPORT, "Events": [{"AtMs": T}]}, False),
        ("task-interval", {"TaskId": "t", "TaskType": "mix", "StartMs": 1, "EndMs": 2, "RoomId": 1}, True),
        ("task-interval", {"TaskId": "t", "TaskType": "knit", "StartMs": 1, "EndMs": 2, "RoomId": 1}, False),
        ("task-interval", {"TaskId": "", "TaskType": "mix", "StartMs": 1, "EndMs": 2, "RoomId": 1}, False),
        ("task-interval", {"TaskId": "t", "TaskType": "mix", "StartMs": 1, "RoomId": 1}, False),
    ],
)
def test_reports_and_tasks_that_are_welcome_and_that_are_not(name: str, posted: object, welcome: bool) -> None:
    assert decodes(name, posted) is welcome
    assert is_valid(name, posted) is welcome


@pytest.mark.parametrize(
    ("body", "right"),
    [
        ({**event(103, ENTERED), "CallbackTs": T}, True),
        ({**event(103, ENTERED), "CallbackMsTs": T}, False),
        ({**event(103, ENTERED), "CallbackTs": T, "New": 1}, True),
        ({**event(103, {**ENTERED, "EventTs": None}), "CallbackTs": T}, False),
        ({**event(103, {"RoomId": 1, "UserId": "a", "EventMsTs": T}), "CallbackTs": T}, False),
        ({**event(401, RELAYED), "CallbackTs": T}, True),
        ({**event(401, {**RELAYED, "TaskId": 7}), "CallbackTs": T}, False),
        ({**event(701, {"EventMsTs": T, "TaskId": "t"}), "CallbackMsTs": T}, True),
        ({**event(701, {"EventMsTs": T, "TaskId": "t"}), "CallbackTs": T}, False),
        ({**event(305, {**RECORDED, "Payload": {"Status": 1}}), "CallbackTs": T}, True),
        ({**event(1501, {"EventMsTs": T, "Payload": 7}), "CallbackTs": T}, True),
    ],
)
def test_callbacks_that_we_send_and_that_we_do_not(body: object, right: bool) -> None:
    assert is_valid("callback", body) is right
