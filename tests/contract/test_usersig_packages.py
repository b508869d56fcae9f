"""UserSigs and privateMapKeys made by the packages that customers use: PyPI's and npm's `tls-sig-api-v2`."""

from __future__ import annotations

import base64
import json
import time
import zlib
from typing import Any

import pytest
import TLSSigAPIv2

from services.runtime.usersig import (
    Privilege,
    Ticket,
    UserBuf,
    UserSigError,
    generate,
    generate_private_map_key,
    read,
    verify,
    verify_private_map_key,
)
from tests.contract import nodejs

SDK_APP_ID = 1400000001
KEY = "0123456789abcdef" * 4
NOW = 1700000000
DAY = 86400
USERS = ["alice", "a", "user_85034614", "A-Z_09", "x" * 32]
EXPIRES = [1, DAY, 180 * DAY, 2**31 - 1]
RECEIVE = Privilege.ENTER_ROOM | Privilege.RECEIVE_AUDIO | Privilege.RECEIVE_VIDEO
ROOMS: list[int | str] = [1, 12345, 2**31, 2**32 - 1, "room-A", "12345", "r", "x" * 64, "a room: with/signs?"]
PYPI: Any = TLSSigAPIv2


def by_pypi(monkeypatch: pytest.MonkeyPatch, *, now: int | None = NOW) -> Any:
    if now is not None:
        monkeypatch.setattr(PYPI.time, "time", lambda: float(now))
    return PYPI.TLSSigAPIv2(SDK_APP_ID, KEY)


def by_npm(*calls: tuple[Any, ...], now: int | None = NOW) -> list[str]:
    clock = {} if now is None else {"now": now}
    made: list[str] = json.loads(
        nodejs.run("usersig.cjs", given=json.dumps({"sdkAppId": SDK_APP_ID, "key": KEY, "calls": calls, **clock}))
    )
    return made


def npm_room_call(room: int | str, user_id: str = "alice", privileges: int = 42) -> tuple[Any, ...]:
    method = "genPrivateMapKey" if isinstance(room, int) else "genPrivateMapKeyWithStringRoomID"
    return (method, user_id, DAY, room, privileges)


def content_of(user_sig: str) -> dict[str, Any]:
    packed = base64.b64decode(user_sig.translate(str.maketrans("*-_", "+/=")))
    content: dict[str, Any] = json.loads(zlib.decompress(packed))
    return content


def packed(content: dict[str, Any]) -> str:
    text = base64.b64encode(zlib.compress(json.dumps(content).encode())).decode()
    return text.translate(str.maketrans("+/=", "*-_"))


def check(user_sig: str, **changes: Any) -> Ticket:
    return verify(user_sig, **{"sdk_app_id": SDK_APP_ID, "key": KEY, "user_id": "alice", "now": NOW, **changes})


def error_of(user_sig: str, **changes: Any) -> str:
    with pytest.raises(UserSigError) as caught:
        check(user_sig, **changes)
    return caught.value.code


@pytest.fixture(params=["pypi", "npm"])
def user_sig(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, npm_user_sig: str) -> str:
    """Alice's, valid for a day."""
    if request.param == "npm":
        return npm_user_sig
    made: str = by_pypi(monkeypatch).gen_sig("alice", DAY)
    return made


@pytest.fixture(scope="module")
def npm_user_sig() -> str:
    return by_npm(("genUserSig", "alice", DAY))[0]


@pytest.fixture(scope="module")
def npm_room_keys() -> dict[int | str, str]:
    """Alice's for each room."""
    return dict(zip(ROOMS, by_npm(*map(npm_room_call, ROOMS)), strict=True))


def test_both_packages_make_the_worked_example(user_sig: str) -> None:
    assert check(user_sig).sig == "cForwd2VAJbcbM+2JaMHyjclosQn9CPpTcoXl3NLqOU="
    assert content_of(user_sig) == content_of(generate(SDK_APP_ID, KEY, "alice", now=NOW, expire=DAY))


def test_user_sigs_of_the_packages_are_accepted_until_they_expire(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = [(user_id, expire) for user_id in USERS for expire in EXPIRES]
    pypi = by_pypi(monkeypatch)
    made = [
        [pypi.gen_sig(user_id, expire) for user_id, expire in wanted],
        by_npm(*(("genUserSig", user_id, expire) for user_id, expire in wanted)),
    ]
    for package in made:
        for (user_id, expire), user_sig in zip(wanted, package, strict=True):
            assert check(user_sig, user_id=user_id, now=NOW + expire).expire == expire
            assert error_of(user_sig, user_id=user_id, now=NOW + expire + 1) == "expired"


def test_with_the_clock_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    before = int(time.time())
    for user_sig in (
        by_pypi(monkeypatch, now=None).gen_sig("alice"),
        *by_npm(("genUserSig", "alice", 180 * DAY), now=None),
    ):
        ticket = check(user_sig, now=int(time.time()))
        assert before <= ticket.time <= time.time()
        assert ticket.expire == 180 * DAY


@pytest.mark.parametrize("room", ROOMS)
def test_private_map_keys_of_the_npm_package_are_accepted(room: int | str, npm_room_keys: dict[int | str, str]) -> None:
    userbuf = verify_private_map_key(
        npm_room_keys[room], sdk_app_id=SDK_APP_ID, key=KEY, user_id="alice", room=room, needed=RECEIVE, now=NOW
    )
    assert userbuf == UserBuf(
        user_id="alice", sdk_app_id=SDK_APP_ID, room=room, expires_at=NOW + DAY, privileges=RECEIVE
    )
    ours = generate_private_map_key(SDK_APP_ID, KEY, "alice", room, RECEIVE, now=NOW, expire=DAY)
    assert content_of(ours) == content_of(npm_room_keys[room])


@pytest.mark.parametrize("room", ROOMS)
def test_private_map_keys_that_the_pypi_package_signs_are_accepted(
    room: int | str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It signs a buffer that somebody else laid out."""
    userbuf = UserBuf(user_id="alice", sdk_app_id=SDK_APP_ID, room=room, expires_at=NOW + DAY, privileges=RECEIVE)
    key = by_pypi(monkeypatch).gen_sig_with_userbuf("alice", DAY, userbuf.to_bytes())
    about: dict[str, Any] = {"sdk_app_id": SDK_APP_ID, "key": KEY, "user_id": "alice", "needed": RECEIVE, "now": NOW}
    assert verify_private_map_key(key, room=room, **about) == userbuf
    with pytest.raises(UserSigError, match="userbuf not match"):
        verify_private_map_key(key, room="another", **about)
    foreign = by_pypi(monkeypatch).gen_sig_with_userbuf("alice", DAY, b"abc")
    with pytest.raises(UserSigError, match="userbuf not match"):
        verify_private_map_key(foreign, room=room, **about)


def test_the_published_private_map_keys(npm_room_keys: dict[int | str, str]) -> None:
    assert read(npm_room_keys[12345]).sig == "sjFgCknudop2Tm1zUmlpLVXEEOcVdr8p/zTgMRJsG7E="
    assert read(npm_room_keys["room-A"]).sig == "cD+r2CiCo1x8lj62yUx9oaEgnv1Yb8jbvp6k45i/yV8="


def test_rights_of_the_npm_package() -> None:
    values = [1, 2, 42, 128, 200, 255]
    for value, key in zip(values, by_npm(*(npm_room_call(7, privileges=value) for value in values)), strict=True):
        about: dict[str, Any] = {"sdk_app_id": SDK_APP_ID, "key": KEY, "user_id": "alice", "room": 7, "now": NOW}
        assert verify_private_map_key(key, needed=Privilege(value), **about).privileges == value
        if value != Privilege.ALL:
            with pytest.raises(UserSigError, match="lacks rights"):
                verify_private_map_key(key, needed=Privilege.ALL, **about)


def test_a_room_name_outside_ascii_needs_another_helper_than_npms() -> None:
    """npm's writes one byte a character, so that the name is another; its signature is right all the same."""
    key = by_npm(npm_room_call("комната"))[0]
    with pytest.raises(UserSigError, match="userbuf not match"):
        verify_private_map_key(
            key, sdk_app_id=SDK_APP_ID, key=KEY, user_id="alice", room="комната", needed=RECEIVE, now=NOW
        )
    assert read(key).sig == read(key).signature(KEY)


def test_one_is_not_taken_for_the_other(user_sig: str, npm_room_keys: dict[int | str, str]) -> None:
    assert error_of(npm_room_keys[12345]) == "userbuf type not match"
    with pytest.raises(UserSigError, match="userbuf type not match"):
        verify_private_map_key(
            user_sig, sdk_app_id=SDK_APP_ID, key=KEY, user_id="alice", room=12345, needed=RECEIVE, now=NOW
        )


def test_those_of_somebody_else_are_refused(user_sig: str) -> None:
    assert error_of(user_sig, sdk_app_id=SDK_APP_ID + 1) == "sdk appid not match"
    assert error_of(user_sig, user_id="bob") == "identifier not match"
    assert error_of(user_sig, key=KEY[::-1]) == "sig not match"


def test_altered_content_is_refused(user_sig: str) -> None:
    content = content_of(user_sig)
    changes = {
        "TLS.sdkappid": (SDK_APP_ID + 1, "sdk appid not match"),
        "TLS.identifier": ("bob", "identifier not match"),
        "TLS.time": (NOW + 1, "sig not match"),
        "TLS.expire": (DAY * 2, "sig not match"),
        "TLS.userbuf": ("AAAA", "userbuf type not match"),
        "TLS.sig": (content["TLS.sig"].swapcase(), "sig not match"),
    }
    for name, (value, code) in changes.items():
        assert error_of(packed({**content, name: value})) == code
    assert check(packed(content))


def test_altered_bytes_are_refused(user_sig: str) -> None:
    for place, character in enumerate(user_sig):
        for other in {"A", "z", "*", "_"} - {character}:
            error_of(user_sig[:place] + other + user_sig[place + 1 :])
        if place:
            assert error_of(user_sig[:place]) in {"base64 error", "zlib error"}
