"""JSON Schema of events and of callbacks, whose `EventInfo` depends on their group and type.

Two schemas, since what we take is spelled in more ways than what we send.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from schemas.callbacks import GROUPS_WITH_CALLBACK_MS_TS
from schemas.events import MAX_TIME_DIGITS, EventHead
from schemas.payloads import INFO_OF_GROUP, INFO_OF_TYPE, PAYLOAD_OF_TYPE, OtherInfo
from schemas.structschema import Schema, components

if TYPE_CHECKING:
    from msgspec import Struct

INFOS: set[type[Struct]] = {*INFO_OF_GROUP.values(), *INFO_OF_TYPE.values(), OtherInfo}
GROUPS_WITH_EVENT_TS = (1, 2, 3)
_TIME_TEXT: Schema = {"type": "string", "pattern": f"^[0-9]{{1,{MAX_TIME_DIGITS}}}$"}
_NUMERIC_ROOM_TEXT = "^[1-9][0-9]{0,9}$"


def event_schema() -> Schema:
    """An event as media servers post it."""
    head, defs = _parts()
    for info in INFOS:
        defs[info.__name__] = _as_posted(defs[info.__name__])
    leave_code = {"properties": {"LeaveCode": defs["StatusPayload"]["properties"]["Status"]}}
    misspelled = {"if": {"not": {"required": ["Status"]}}, "then": leave_code}
    rooms = [_when(when, {"properties": {"EventInfo": then}}) for when, then in _room_rules("RoomIdType")]
    return {
        **head,
        "allOf": [*_by_group(), *_by_type(), _when({"EventType": {"const": 305}}, _payload(misspelled)), *rooms],
        "$defs": defs,
    }


def callback_schema() -> Schema:
    """The body of a callback as customers get it."""
    head, defs = _parts()
    properties = {name: head["properties"][name] for name in ("EventGroupId", "EventType")}
    sent = {
        **head["properties"]["CallbackTs"],
        "type": "integer",
        "description": "When it was sent, Unix milliseconds.",
    }
    for info in INFOS:
        defs[info.__name__]["properties"].pop("RoomScene", None)
    both_times = {"required": ["EventTs"], "properties": {"EventTs": {"type": "integer"}}}
    return {
        "title": "Callback",
        "description": "The body of a callback.",
        "type": "object",
        "properties": {
            **properties,
            "CallbackTs": sent,
            "CallbackMsTs": {**sent, "description": f"{sent['description']} Group 7 spells `CallbackTs` so."},
            "EventInfo": {"type": "object"},
        },
        "required": ["EventGroupId", "EventType", "EventInfo"],
        "allOf": [
            {
                **_when({"EventGroupId": {"enum": sorted(GROUPS_WITH_CALLBACK_MS_TS)}}, {"required": ["CallbackMsTs"]}),
                "else": {"required": ["CallbackTs"]},
            },
            *_by_group(),
            _when({"EventGroupId": {"enum": list(GROUPS_WITH_EVENT_TS)}}, {"properties": {"EventInfo": both_times}}),
            *_by_type(),
        ],
        "$defs": defs,
    }


def _parts() -> tuple[Schema, dict[str, Schema]]:
    defs = components(EventHead, *INFOS, *PAYLOAD_OF_TYPE.values())
    head = defs.pop("EventHead")
    head["title"], head["description"] = "Event", "One item of `POST /v1/events`."
    return head, dict(sorted(defs.items()))


def _as_posted(info: Schema) -> Schema:
    """With the spellings that are accepted beside the right one."""
    properties = dict(info["properties"])
    time, seconds = ({"anyOf": [properties[name], _TIME_TEXT]} for name in ("EventMsTs", "EventTs"))
    properties |= {"EventMsTs": time, "EventTs": seconds}
    if "TaskId" in properties:
        properties["TaskId"] = {
            "anyOf": [properties["TaskId"], {"type": "integer", "minimum": 0, "maximum": 2**64 - 1}]
        }
    either: list[Schema] = [
        {"required": ["EventMsTs"]},
        {"required": ["EventTsMs"], "properties": {"EventTsMs": time}},
        {
            "required": ["EventTs"],
            "properties": {"EventTs": {"not": {"type": "null"}}},
            "not": {"required": ["EventTsMs"]},
        },
    ]
    rooms = [
        _when(when, then)
        for name in ("RoomType", "RoomIdType")
        if name in properties
        for when, then in _room_rules(name)
    ]
    required = [name for name in info["required"] if name != "EventMsTs"]
    return {**info, "properties": properties, "required": required, "anyOf": either} | (
        {"allOf": rooms} if rooms else {}
    )


def _room_rules(name: str) -> list[tuple[Schema, Schema]]:
    """What a stated type demands of the room. A text that is a number may be either."""
    demands: list[tuple[int, Schema]] = [(0, {"pattern": _NUMERIC_ROOM_TEXT}), (1, {"not": {"type": "integer"}})]
    return [({name: {"const": value}}, {"properties": {"RoomId": demand}}) for value, demand in demands]


def _by_group() -> list[Schema]:
    rules = []
    for group, info in sorted(INFO_OF_GROUP.items()):
        properties: Schema = {
            "EventType": {"minimum": 100 * group, "maximum": 100 * group + 99},
            "EventInfo": _ref(info),
        }
        then: Schema = {"properties": properties}
        for event_type, other in INFO_OF_TYPE.items():
            if event_type // 100 == group:
                del properties["EventInfo"]
                then |= {
                    **_when({"EventType": {"const": event_type}}, {"properties": {"EventInfo": _ref(other)}}),
                    "else": {"properties": {"EventInfo": _ref(info)}},
                }
        rules.append(_when({"EventGroupId": {"const": group}}, then))
    others = {"EventGroupId": {"not": {"enum": sorted(INFO_OF_GROUP)}}}
    theirs = {"not": {"anyOf": [rule["then"]["properties"]["EventType"] for rule in rules]}}
    return [*rules, _when(others, {"properties": {"EventType": theirs, "EventInfo": _ref(OtherInfo)}})]


def _by_type() -> list[Schema]:
    types_of: dict[str, list[int]] = {}
    for event_type, payload in PAYLOAD_OF_TYPE.items():
        types_of.setdefault(payload.__name__, []).append(event_type)
    return [
        _when({"EventType": {"enum": types}}, _payload({"anyOf": [{"$ref": f"#/$defs/{name}"}, {"type": "null"}]}))
        for name, types in types_of.items()
    ]


def _when(properties: dict[str, Any], then: Schema) -> Schema:
    return {"if": {"properties": properties, "required": list(properties)}, "then": then}


def _payload(schema: Schema) -> Schema:
    return {"properties": {"EventInfo": {"properties": {"Payload": schema}}}}


def _ref(struct: type[Struct]) -> Schema:
    return {"$ref": f"#/$defs/{struct.__name__}"}
