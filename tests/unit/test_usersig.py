"""UserSig and privateMapKey: the worked examples, and every way in which one can be wrong."""

from __future__ import annotations

import base64
import itertools
import json
import string
import zlib
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.runtime.usersig import (
    LATEST_EXPIRY,
    MAX_INFLATED,
    Privilege,
    Ticket,
    UserBuf,
    UserSigError,
    generate,
    generate_private_map_key,
    read,
    validity_text,
    verify,
    verify_private_map_key,
)

SDK_APP_ID = 1400000001
KEY = "0123456789abcdef" * 4
OTHER_KEY = "0123456789abcdee" * 4
NOW = 1700000000
DAY = 86400
RECEIVE = Privilege.ENTER_ROOM | Privilege.RECEIVE_AUDIO | Privilege.RECEIVE_VIDEO

SIG = "cForwd2VAJbcbM+2JaMHyjclosQn9CPpTcoXl3NLqOU="
BY_PYTHON = (
    "eJyrVgrxCdYrSy1SslJQMtIzUNJRAItkpqTmlWSmZUIkEnMyk1NhUsUp2YkFBZkpQAlDEwMIMITKpVYUZBalAmUszIBSUMGSzFyQkKE5VDFM"
    "vDgzHWR4slt*UXmKUZijV1Jykq*2kVeir0dlVnJOfnFgnqVzQEFIcn5EjrGfT6F-qK1SLQAGOzJ5"
)
BY_NODE = (
    "eJyrVgrxCdYrSy1SslIy0jNQ0gHzM1NS80oy0zLBwok5mcmpUInilOzEgoLMFCUrQxMDCDCEyJRk5qYqWRmaQ0UNIKKpFQWZRalKVhZmJjCh"
    "4sx0JSulZLf8ovIUozBHr6TkJF9tI69EX4-KrOSc-OLAPEvngIKQ5PyIHGM-n0L-UFulWgCUUDEZ"
)
ROOMS: dict[int | str, tuple[str, str, str]] = {
    12345: (
        "000005616c69636553724e0100003039655542800000002a00000000",
        "sjFgCknudop2Tm1zUmlpLVXEEOcVdr8p/zTgMRJsG7E=",
        "eJw9jtsKgkAQhl9F9jpMRVICL7bQIAyptjUvzV1l87StWmH07nnsvxiY75th5gOQe5afVIC1BDRZAQtpIIzQomYxG0WYsYjOqiJpyDkjnVB1"
        "ZYw6OfrmTNDOmKtOTbBmeY9UYxqeeVNRcWvi-gCE0An8Nw80jKJU33T9y-MxPpawz2Oo0LL*P7CkX6vuTrJNi4aUXEO52l7yjLv4attehIkw"
        "*bJFyeG0r3aGbYHvD3UMRCM_",
    ),
    "room-A": (
        "010005616c69636553724e0100000000655542800000002a000000000006726f6f6d2d41",
        "cD+r2CiCo1x8lj62yUx9oaEgnv1Yb8jbvp6k45i/yV8=",
        "eJw9jkkOgkAQRa9CeqtBmiA2Ji4AlY0bAmJYMjSkGFumQIx3l9G-qrxXlfofZD8svqMVOnNI5AW052YCIS0aiGARXgYB3VQdph5jEI4CS8IS"
        "vDraM6joaIg8qhU2kE8In9bljbc1rfw2mh6opnp3Xz1zRccOUklTpxiOY5bz9FaXGEGudL6FtX8XiKfz4LqrRB30EvckS2RxePZK6d3iosOu"
        "TxK-Y3IqHeEwOOSCvj9x*UW*",
    ),
}


def packed(content: object, level: int = -1) -> str:
    """The content of a UserSig as a string; text stays as it is."""
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    return b64u(zlib.compress(text, level))


def b64u(data: bytes) -> str:
    return base64.b64encode(data).decode().translate(str.maketrans("+/=", "*-_"))


def content_of(user_sig: str) -> dict[str, Any]:
    text = zlib.decompress(base64.b64decode(user_sig.translate(str.maketrans("*-_", "+/="))))
    decoded: dict[str, Any] = json.loads(text)
    return decoded


def check(user_sig: str, **changes: Any) -> Ticket:
    return verify(user_sig, **{"sdk_app_id": SDK_APP_ID, "key": KEY, "user_id": "alice", "now": NOW, **changes})


def check_room(private_map_key: str, **changes: Any) -> UserBuf:
    expected = {"sdk_app_id": SDK_APP_ID, "key": KEY, "user_id": "alice", "room": 12345, "now": NOW}
    return verify_private_map_key(private_map_key, **{**expected, "needed": Privilege.ENTER_ROOM, **changes})


def error_of(user_sig: str, **changes: Any) -> str:
    with pytest.raises(UserSigError) as caught:
        check(user_sig, **changes)
    return caught.value.code


def room_error_of(private_map_key: str, **changes: Any) -> str:
    with pytest.raises(UserSigError) as caught:
        check_room(private_map_key, **changes)
    return caught.value.code


@pytest.mark.parametrize("user_sig", [BY_PYTHON, BY_NODE])
def test_the_worked_example_of_a_user_sig(user_sig: str) -> None:
    assert check(user_sig) == Ticket(identifier="alice", sdk_app_id=SDK_APP_ID, time=NOW, expire=DAY, sig=SIG)
    assert content_of(user_sig) == {
        "TLS.ver": "2.0",
        "TLS.identifier": "alice",
        "TLS.sdkappid": SDK_APP_ID,
        "TLS.expire": DAY,
        "TLS.time": NOW,
        "TLS.sig": SIG,
    }


def test_ours_has_the_content_of_the_worked_example() -> None:
    ours = generate(SDK_APP_ID, KEY, "alice", now=NOW, expire=DAY)
    assert content_of(ours) == content_of(BY_PYTHON)
    assert check(ours).sig == SIG


@pytest.mark.parametrize("room", ROOMS)
def test_the_worked_examples_of_a_private_map_key(room: int | str) -> None:
    userbuf_hex, sig, published = ROOMS[room]
    ours = generate_private_map_key(SDK_APP_ID, KEY, "alice", room, RECEIVE, now=NOW, expire=DAY)
    for private_map_key in (published, ours):
        assert read(private_map_key).userbuf == bytes.fromhex(userbuf_hex)
        assert read(private_map_key).sig == sig
        assert check_room(private_map_key, room=room, needed=RECEIVE) == UserBuf(
            user_id="alice", sdk_app_id=SDK_APP_ID, room=room, expires_at=NOW + DAY, privileges=RECEIVE
        )
    assert content_of(ours) == content_of(published)


@pytest.mark.parametrize("level", range(10))
def test_any_level_of_compression_and_any_spelling_of_the_json_will_do(level: int) -> None:
    content = content_of(BY_NODE)
    for text in (
        json.dumps(content),
        json.dumps(content, separators=(",", ":")),
        json.dumps(content, indent="\t") + "\n",
        json.dumps(dict(reversed(content.items()))),
        json.dumps({**content, "TLS.new": [1]}),
    ):
        assert check(packed(text.encode(), level)).sig == SIG


def test_valid_until_the_last_second() -> None:
    assert check(BY_NODE, now=NOW + DAY)
    assert error_of(BY_NODE, now=NOW + DAY + 1) == "expired"
    assert check(BY_NODE, now=NOW - 10 * DAY), "a start in the future is allowed, as in the vendor's verifier"


@pytest.mark.parametrize(
    ("user_sig", "code"),
    [
        ("", "zlib error"),
        ("%", "base64 error"),
        ("é" + BY_NODE, "base64 error"),
        (BY_NODE + "\n", "base64 error"),
        (BY_NODE[:-1], "base64 error"),
        (BY_NODE + "_", "base64 error"),
        (BY_NODE + "____", "base64 error"),
        ("eJwDAAAAAAF_", "base64 error"),  # the rest of the last character is not zero
        (BY_PYTHON.replace("*", "+"), "base64 error"),
        (BY_NODE[:-4], "zlib error"),
        (b64u(b"no zlib"), "zlib error"),
        (b64u(zlib.compress(b"x")[:-1]), "zlib error"),
        (b64u(zlib.compress(json.dumps(content_of(BY_NODE)).encode()) + b"more"), "zlib error"),
        (b64u(zlib.compress(json.dumps(content_of(BY_NODE)).encode(), wbits=-15)), "zlib error"),
        (packed(b" " * (MAX_INFLATED + 1)), "zlib error"),
        (packed(json.dumps(content_of(BY_NODE)).encode() + b" " * 1_000_000), "zlib error"),
        (packed(b"not json"), "sdk appid not match"),
        (packed(b"\xff"), "sdk appid not match"),
        (packed(b"[" * 8000), "sdk appid not match"),
        (packed([1]), "sdk appid not match"),
        (packed({}), "sdk appid not match"),
        (packed({"TLS.sdkappid": str(SDK_APP_ID), "TLS.identifier": "alice"}), "sdk appid not match"),
        (packed({"TLS.sdkappid": True}), "sdk appid not match"),
        (packed({"TLS.sdkappid": SDK_APP_ID}), "identifier not match"),
        (packed({"TLS.sdkappid": SDK_APP_ID, "TLS.identifier": ["alice"]}), "identifier not match"),
        (packed({"TLS.sdkappid": SDK_APP_ID, "TLS.identifier": "alice"}), "expired"),
        (packed({"TLS.sdkappid": SDK_APP_ID, "TLS.identifier": "alice", "TLS.time": 10**400}), "sig not match"),
        (packed({"TLS.sdkappid": SDK_APP_ID, "TLS.identifier": "alice", "TLS.time": NOW}), "sig not match"),
        (packed({**content_of(BY_NODE), "TLS.sig": ""}), "sig not match"),
        (packed({**content_of(BY_NODE), "TLS.sig": "é"}), "sig not match"),
        (packed({**content_of(BY_NODE), "TLS.userbuf": "%"}), "userbuf type not match"),
        (packed({**content_of(BY_NODE), "TLS.userbuf": ""}), "userbuf type not match"),
        (ROOMS[12345][2], "userbuf type not match"),
    ],
)
def test_garbage_is_called_by_its_name(user_sig: str, code: str) -> None:
    assert error_of(user_sig) == code


WRONG: dict[str, dict[str, Any]] = {
    "sdk appid not match": {"TLS.sdkappid": SDK_APP_ID + 1},
    "identifier not match": {"TLS.identifier": "Alice"},
    "expired": {"TLS.expire": -1},
    "userbuf type not match": {"TLS.userbuf": ROOMS[12345][0]},
    "sig not match": {"TLS.sig": SIG.replace("c", "d")},
}


def test_the_first_check_that_fails_wins() -> None:
    """Every set of mistakes is called by the first of them, in the order of the vendor's verifier."""
    for count in range(1, len(WRONG) + 1):
        for mistakes in itertools.combinations(WRONG, count):
            content = content_of(BY_NODE)
            for mistake in mistakes:
                content |= WRONG[mistake]
            assert error_of(packed(content)) == mistakes[0], mistakes


def test_the_first_check_that_fails_wins_for_rooms_too() -> None:
    other = UserBuf(user_id="bob", sdk_app_id=SDK_APP_ID, room=12345, expires_at=NOW - 1, privileges=Privilege(0))
    wrong: list[tuple[str, dict[str, Any]]] = [
        ("sdk appid not match", {"TLS.sdkappid": 1}),
        ("identifier not match", {"TLS.identifier": "bob"}),
        ("expired", {"TLS.time": NOW - 2 * DAY}),
        ("userbuf type not match", {"TLS.userbuf": None}),
        ("userbuf not match", {"TLS.userbuf": base64.b64encode(other.to_bytes()).decode()}),
        ("sig not match", {"TLS.sig": SIG}),
    ]
    for first, (code, _) in enumerate(wrong):
        content = content_of(ROOMS[12345][2])
        for _, change in reversed(wrong[first:]):
            content |= change
        assert room_error_of(packed(content)) == code
    assert room_error_of(BY_NODE) == "userbuf type not match"


def test_another_key_user_or_application_is_refused() -> None:
    assert error_of(BY_NODE, key=OTHER_KEY) == "sig not match"
    assert error_of(BY_NODE, key=KEY.upper()) == "sig not match"
    assert error_of(BY_NODE, key=bytes.fromhex(KEY).decode("latin-1")) == "sig not match"
    assert error_of(BY_NODE, user_id="bob") == "identifier not match"
    assert error_of(BY_NODE, user_id="") == "identifier not match"
    assert error_of(BY_NODE, sdk_app_id=SDK_APP_ID + 1) == "sdk appid not match"


@pytest.mark.parametrize("position", range(len(BY_NODE)))
def test_a_changed_character_is_refused_wherever_it_is(position: int) -> None:
    before = BY_NODE[position]
    for after in {"A", "b", "*", "-", "_", "+", "/", "="} - {before}:
        assert error_of(BY_NODE[:position] + after + BY_NODE[position + 1 :]) in {"base64 error", "zlib error", *WRONG}


def test_every_member_that_counts_is_signed() -> None:
    content = content_of(ROOMS["room-A"][2])
    userbuf = bytearray(bytes.fromhex(ROOMS["room-A"][0]))
    for place in range(len(userbuf)):
        altered = bytearray(userbuf)
        altered[place] ^= 1
        key = packed({**content, "TLS.userbuf": base64.b64encode(altered).decode()})
        assert room_error_of(key, room="room-A") in {"userbuf not match", "sig not match"}
    for name, value in (("TLS.time", NOW + 1), ("TLS.expire", DAY + 1)):
        assert room_error_of(packed({**content, name: value}), room="room-A") == "sig not match"
        assert error_of(packed({**content_of(BY_NODE), name: value})) == "sig not match"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"room": 12346}, "userbuf not match"),
        ({"room": "12345"}, "userbuf not match"),
        ({"needed": Privilege.SEND_AUDIO}, "userbuf not match"),
        ({"needed": RECEIVE | Privilege.CREATE_ROOM}, "userbuf not match"),
        ({"user_id": "bob"}, "identifier not match"),
        ({"sdk_app_id": 1}, "sdk appid not match"),
        ({"key": OTHER_KEY}, "sig not match"),
        ({"now": NOW + DAY + 1}, "expired"),
    ],
)
def test_a_private_map_key_is_for_one_user_one_room_and_its_rights(changes: dict[str, Any], code: str) -> None:
    assert room_error_of(ROOMS[12345][2], **changes) == code


def test_a_private_map_key_expires_on_its_own() -> None:
    userbuf = UserBuf(user_id="alice", sdk_app_id=SDK_APP_ID, room=12345, expires_at=NOW, privileges=Privilege.ALL)
    key = generate(SDK_APP_ID, KEY, "alice", now=NOW, expire=DAY, userbuf=userbuf.to_bytes())
    assert check_room(key, now=NOW)
    assert room_error_of(key, now=NOW + 1) == "expired"
    for_ever = generate_private_map_key(SDK_APP_ID, KEY, "alice", 12345, RECEIVE, now=NOW, expire=2**40)
    assert check_room(for_ever).expires_at == LATEST_EXPIRY


def test_a_private_map_key_signed_for_another_user_is_refused() -> None:
    """The customer's server signed it, but for another user's buffer."""
    for change in ({"user_id": "bob"}, {"sdk_app_id": 7}):
        inside = UserBuf(user_id="alice", sdk_app_id=SDK_APP_ID, room=12345, expires_at=NOW, privileges=Privilege.ALL)
        userbuf = msgspec.structs.replace(inside, **change).to_bytes()
        assert room_error_of(generate(SDK_APP_ID, KEY, "alice", now=NOW, userbuf=userbuf)) == "userbuf not match"


@pytest.mark.parametrize("room", ROOMS)
def test_a_user_buf_of_another_length_or_layout_is_refused(room: int | str) -> None:
    userbuf = bytes.fromhex(ROOMS[room][0])
    altered = [userbuf[:end] for end in range(len(userbuf))]
    altered += [userbuf + b"\0", b"\2" + userbuf[1:], userbuf[:3] + b"\xff" + userbuf[4:]]
    for data in altered:
        with pytest.raises(UserSigError, match="userbuf not match"):
            UserBuf.from_bytes(data)
        assert room_error_of(generate(SDK_APP_ID, KEY, "alice", now=NOW, userbuf=data), room=room) == (
            "userbuf not match"
        )


texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=64)
user_ids = st.text(string.ascii_letters + string.digits + "_-", min_size=1, max_size=32)
rooms = st.integers(1, 2**32 - 1) | texts
u32 = st.integers(0, 2**32 - 1)


@given(
    user_id=texts, sdk_app_id=u32, room=rooms, expires_at=u32, privileges=st.integers(0, 255).map(Privilege), rest=u32
)
def test_a_user_buf_is_read_as_it_was_written(
    user_id: str, sdk_app_id: int, room: int | str, expires_at: int, privileges: Privilege, rest: int
) -> None:
    written = UserBuf(user_id=user_id, sdk_app_id=sdk_app_id, room=room, expires_at=expires_at, privileges=privileges)
    data = written.to_bytes()
    assert UserBuf.from_bytes(data) == written
    assert len(data) == 23 + len(user_id.encode()) + (0 if isinstance(room, int) else 2 + len(room.encode()))


@given(
    sdk_app_id=st.integers(1, 2**32 - 1),
    key=texts,
    user_id=user_ids,
    room=rooms,
    now=st.integers(0, 2**32 - 1),
    expire=st.integers(0, 2**31),
    passed=st.integers(0, 2**32),
)
def test_what_is_generated_is_verified_until_it_expires(
    sdk_app_id: int, key: str, user_id: str, room: int | str, now: int, expire: int, passed: int
) -> None:
    later = now + passed
    user_sig = generate(sdk_app_id, key, user_id, now=now, expire=expire)
    private = generate_private_map_key(sdk_app_id, key, user_id, room, Privilege.ALL, now=now, expire=expire)
    about: dict[str, Any] = {"sdk_app_id": sdk_app_id, "user_id": user_id}
    if passed <= expire:
        assert check(user_sig, key=key, now=later, **about).time == now
        if later <= LATEST_EXPIRY:
            assert check_room(private, key=key, now=later, room=room, needed=Privilege.ALL, **about).room == room
    else:
        assert error_of(user_sig, key=key, now=later, **about) == "expired"
        assert room_error_of(private, key=key, now=later, room=room, **about) == "expired"


@given(st.text() | st.binary().map(b64u) | st.binary().map(packed))
def test_no_text_at_all_does_more_than_be_refused(user_sig: str) -> None:
    with pytest.raises(UserSigError):
        check(user_sig)
    with pytest.raises(UserSigError):
        check_room(user_sig)


def test_a_validity_reads_like_the_vendors() -> None:
    assert validity_text(180 * DAY) == "180day 0hr 0min 0sec"
    assert validity_text(DAY + 3661) == "1day 1hr 1min 1sec"
