"""Callback bodies and their signatures: the worked examples, byte for byte."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import examples
from schemas.callbacks import callback_body, sign, sign_matches
from schemas.events import EventRecord, read_event

KEY = "Key0123456789abc"
EXAMPLE_A = (
    b'{"EventGroupId":1,"EventType":103,"CallbackTs":1700000000123,"EventInfo":{"RoomId":12345,"EventTs":1700000000,'
    b'"EventMsTs":1700000000100,"UserId":"alice","Role":20,"TerminalType":2,"UserType":3,"Reason":1}}'
)
EXAMPLE_B = (
    '{\n\t"EventGroupId":\t1,\n\t"EventType":\t101,\n\t"CallbackTs":\t1700000000123,\n\t"EventInfo":\t{\n'
    '\t\t"RoomId":\t"lobby",\n\t\t"EventTs":\t1700000000,\n\t\t"EventMsTs":\t1700000000100,\n\t\t"UserId":\t"张三"\n\t}\n}'
).encode()
VENDORS = (
    b'{\n\t"EventGroupId":\t2,\n\t"EventType":\t204,\n\t"CallbackTs":\t1664209748188,\n\t"EventInfo":\t{\n'
    b'\t\t"RoomId":\t8489,\n\t\t"EventTs":\t1664209748,\n\t\t"EventMsTs":\t1664209748180,\n'
    b'\t\t"UserId":\t"user_85034614",\n\t\t"Reason":\t0\n\t}\n}'
)
VECTORS = [
    pytest.param(KEY, EXAMPLE_A, 205, "9FL3D6mcnuk0JLRZTcJpUCPohMASVjJmv8LNaj+pUbk=", id="A"),
    pytest.param(KEY, EXAMPLE_B, 188, "dwtHjJXCdXgwhAbHaxKFMWjqGuxPU2/UxKj/Ql04IpQ=", id="B"),
    pytest.param("123654", VENDORS, 207, "kkoFeO3Oh2ZHnjtg8tEAQhtXK16/KI05W3BQff8IvGA=", id="vendor"),
]


def stored(posted: bytes) -> EventRecord:
    """The record, after its way through Kafka."""
    return msgspec.json.decode(msgspec.json.encode(read_event(examples.SDK_APP_ID, posted, 0)), type=EventRecord)


@pytest.mark.parametrize(("key", "body", "length", "signature"), VECTORS)
def test_the_signature_of_the_published_bodies(key: str, body: bytes, length: int, signature: str) -> None:
    assert len(body) == length
    assert sign(key, body) == signature
    assert len(signature) == 44
    assert sign_matches(key, body, signature)


def test_the_first_example_is_what_is_hashed() -> None:
    assert sha256(EXAMPLE_A).hexdigest() == "1af752ad2e6ee1f04c0fca76069b1b53e56c1732af1133313675adbfe032786b"


def test_the_first_example_is_what_we_send() -> None:
    posted = EXAMPLE_A.replace(b'"CallbackTs":1700000000123,', b"")
    body = callback_body(stored(posted), 1700000000123)
    assert body == EXAMPLE_A
    assert sign(KEY, body) == "9FL3D6mcnuk0JLRZTcJpUCPohMASVjJmv8LNaj+pUbk="


@pytest.mark.parametrize(("key", "body", "length", "signature"), VECTORS)
def test_every_byte_counts(key: str, body: bytes, length: int, signature: str) -> None:
    for place in range(length):
        assert not sign_matches(key, body[:place] + bytes([body[place] ^ 1]) + body[place + 1 :], signature)
    for wrong in (
        "",
        signature[:-1],
        signature + "=",
        signature.swapcase(),
        " " + signature,
        "\udcff" + signature,
        "张",
    ):
        assert not sign_matches(key, body, wrong)
    assert not sign_matches(key + "0", body, signature)
    assert not sign_matches(key, body + b"\n", signature)


@pytest.mark.parametrize("body", examples.callbacks(), ids=lambda body: str(json.loads(body)["EventType"]))
def test_every_example_goes_through_and_comes_out_the_same(body: bytes) -> None:
    sent = json.loads(body)
    time = sent.get("CallbackTs") or sent["CallbackMsTs"]
    assert callback_body(stored(body), time) == body
    assert ("CallbackMsTs" in sent) == (sent["EventGroupId"] == 7)
    late = json.loads(callback_body(stored(body), time + 60_001))
    assert late["EventInfo"] == sent["EventInfo"]
    assert (late.get("CallbackTs") or late["CallbackMsTs"]) == time + 60_001


@pytest.mark.parametrize("body", [EXAMPLE_B, VENDORS])
def test_a_pretty_body_keeps_the_bytes_of_its_event_info(body: bytes) -> None:
    info = body[body.index(b'"EventInfo":\t') + 13 : -2]
    assert bytes(stored(body).event_info) == info
    assert info in callback_body(stored(body), 1)


@pytest.mark.parametrize("body", examples.callbacks(), ids=lambda body: str(json.loads(body)["EventType"]))
def test_unknown_fields_of_every_group_survive(body: bytes) -> None:
    sent = json.loads(body)
    sent["NewBeside"] = [1.0, {"Deep": None}]
    sent["EventInfo"]["New"] = {"Deep": [1, 2.50]}
    if isinstance(sent["EventInfo"].get("Payload"), dict):
        sent["EventInfo"]["Payload"]["New"] = "张三"
    got = json.loads(callback_body(stored(json.dumps(sent).encode()), 5))
    assert {**got, "CallbackTs": 0, "CallbackMsTs": 0} == {**sent, "CallbackTs": 0, "CallbackMsTs": 0}


numbers = st.integers(-(10**40), 10**40) | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | numbers | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abÄ张", max_size=3), inner, max_size=3),
    max_leaves=6,
)


@given(
    more=st.dictionaries(st.text("xyz张", min_size=1, max_size=3), values, max_size=4), indent=st.none() | st.just("\t")
)
def test_whatever_is_in_an_event_is_in_its_callback(more: dict[str, Any], indent: str | None) -> None:
    """Numbers above all: no digit of a large one is lost, and 1.0 does not become 1."""
    info = {"RoomId": 1, "EventTs": 1, "EventMsTs": 1000, "UserId": "a", **more}
    spelled = json.dumps(info, indent=indent, ensure_ascii=False)
    posted = f'{{"EventGroupId":1,"EventType":103,"EventInfo":{spelled}}}'.encode()
    assert f'"EventInfo":{spelled}'.encode() in callback_body(stored(posted), 5)
