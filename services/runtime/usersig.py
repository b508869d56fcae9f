"""UserSig and privateMapKey: what proves that a user may use an application, and enter a room.

The format is the vendor's and the libraries of the vendor make it: B64U(zlib(JSON)), signed with HMAC-SHA256 over a few
lines of text. Two correct UserSigs for one user differ in bytes, so what is compared is their content.
"""

from __future__ import annotations

import base64
import hmac
import struct
import zlib
from enum import IntFlag
from hashlib import sha256
from typing import Any

import msgspec

DEFAULT_EXPIRE_S = 180 * 86400
LATEST_EXPIRY = 2**32 - 1
"""Unix seconds; the layout has no room for a later one."""
MAX_INFLATED = 8192
"""Bytes of JSON at most; a UserSig with the longest room name stays far below."""
_TO_B64U = bytes.maketrans(b"+/=", b"*-_")
_FROM_B64U = bytes.maketrans(b"*-_", b"+/=")


class UserSigError(Exception):
    """A UserSig that proves nothing. `code` is the error's name, shared with the vendor's verifier."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.code = code
        self.reason = reason


class Privilege(IntFlag):
    """What a privateMapKey allows."""

    CREATE_ROOM = 1
    ENTER_ROOM = 2
    SEND_AUDIO = 4
    RECEIVE_AUDIO = 8
    SEND_VIDEO = 16
    RECEIVE_VIDEO = 32
    SEND_SUBSTREAM = 64
    RECEIVE_SUBSTREAM = 128
    ALL = 255


class UserBuf(msgspec.Struct, frozen=True, kw_only=True):
    """The inside of a privateMapKey."""

    user_id: str
    sdk_app_id: int
    room: int | str
    expires_at: int
    """Unix seconds."""
    privileges: Privilege

    def to_bytes(self) -> bytes:
        """The vendor's layout, big-endian."""
        account = self.user_id.encode()
        numeric = self.room if isinstance(self.room, int) else 0
        head = struct.pack(f">BH{len(account)}s", 0 if isinstance(self.room, int) else 1, len(account), account)
        body = struct.pack(">IIIII", self.sdk_app_id, numeric, self.expires_at, int(self.privileges), 0)
        if isinstance(self.room, int):
            return head + body
        name = self.room.encode()
        return head + body + struct.pack(f">H{len(name)}s", len(name), name)

    @classmethod
    def from_bytes(cls, data: bytes) -> UserBuf:
        """Raises `UserSigError` where the bytes do not fit the layout."""
        try:
            version, length = struct.unpack_from(">BH", data)
            account = data[3 : 3 + length].decode()
            sdk_app_id, numeric, expires_at, privileges, _ = struct.unpack_from(">IIIII", data, 3 + length)
            room: int | str = numeric
            end = 23 + length
            if version == 1:
                (name_length,) = struct.unpack_from(">H", data, end)
                room = data[end + 2 : end + 2 + name_length].decode()
                end += 2 + name_length
        except (struct.error, UnicodeDecodeError) as error:
            raise UserSigError("userbuf not match", "the privateMapKey cannot be read") from error
        if version > 1 or end != len(data):
            raise UserSigError("userbuf not match", "the privateMapKey has another layout")
        return cls(
            user_id=account,
            sdk_app_id=sdk_app_id,
            room=room,
            expires_at=expires_at,
            privileges=Privilege(privileges & Privilege.ALL),
        )


class Ticket(msgspec.Struct, frozen=True, kw_only=True):
    """The content of a UserSig, not yet believed."""

    identifier: str
    sdk_app_id: int
    time: int
    """Unix seconds."""
    expire: int
    """Seconds."""
    userbuf: bytes | None = None
    """Empty where it is there but unreadable."""
    sig: str = ""

    def signature(self, key: str) -> str:
        """`TLS.sig` as the key would make it."""
        text = (
            f"TLS.identifier:{self.identifier}\nTLS.sdkappid:{self.sdk_app_id}\n"
            f"TLS.time:{self.time}\nTLS.expire:{self.expire}\n"
        )
        if self.userbuf is not None:
            text += f"TLS.userbuf:{base64.b64encode(self.userbuf).decode()}\n"
        return base64.b64encode(hmac.digest(key.encode(), text.encode(), sha256)).decode()


def generate(
    sdk_app_id: int, key: str, user_id: str, *, now: int, expire: int = DEFAULT_EXPIRE_S, userbuf: bytes | None = None
) -> str:
    """A UserSig that is valid for `expire` seconds from `now` (Unix seconds); with a `userbuf`, a privateMapKey."""
    ticket = Ticket(identifier=user_id, sdk_app_id=sdk_app_id, time=now, expire=expire, userbuf=userbuf)
    content: dict[str, Any] = {
        "TLS.ver": "2.0",
        "TLS.identifier": user_id,
        "TLS.sdkappid": sdk_app_id,
        "TLS.expire": expire,
        "TLS.time": now,
    }
    if userbuf is not None:
        content["TLS.userbuf"] = base64.b64encode(userbuf).decode()
    content["TLS.sig"] = ticket.signature(key)
    return base64.b64encode(zlib.compress(msgspec.json.encode(content))).translate(_TO_B64U).decode()


def generate_private_map_key(
    sdk_app_id: int,
    key: str,
    user_id: str,
    room: int | str,
    privileges: Privilege,
    *,
    now: int,
    expire: int = DEFAULT_EXPIRE_S,
) -> str:
    """A privateMapKey for one user in one room."""
    userbuf = UserBuf(
        user_id=user_id,
        sdk_app_id=sdk_app_id,
        room=room,
        expires_at=min(now + expire, LATEST_EXPIRY),
        privileges=privileges,
    ).to_bytes()
    return generate(sdk_app_id, key, user_id, now=now, expire=expire, userbuf=userbuf)


def read(user_sig: str) -> Ticket:
    """Unpack a UserSig without believing it. Raises `UserSigError` (`base64 error`, `zlib error`).

    What is not JSON has no content, so that the first comparison with it fails, as in the vendor's verifier.
    """
    try:
        text = user_sig.encode("ascii")
        packed = base64.b64decode(text.translate(_FROM_B64U), validate=True)
    except ValueError as error:
        raise UserSigError("base64 error", "the UserSig is not in its base64 alphabet") from error
    if base64.b64encode(packed).translate(_TO_B64U) != text:
        raise UserSigError("base64 error", "the UserSig is not written as its alphabet demands")
    inflater = zlib.decompressobj()
    try:
        inflated = inflater.decompress(packed, MAX_INFLATED)
    except zlib.error as error:
        raise UserSigError("zlib error", "the UserSig cannot be inflated") from error
    if not inflater.eof or inflater.unused_data:
        raise UserSigError("zlib error", "the UserSig is cut off, too large or followed by something else")
    try:
        content = msgspec.json.decode(inflated)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        content = {}
    if not isinstance(content, dict):
        content = {}
    userbuf: bytes | None = None
    if isinstance(content.get("TLS.userbuf"), str):
        try:
            userbuf = base64.b64decode(content["TLS.userbuf"], validate=True)
        except ValueError:
            userbuf = b""
    return Ticket(
        identifier=_of_type(content.get("TLS.identifier"), str, ""),
        sdk_app_id=_of_type(content.get("TLS.sdkappid"), int, 0),
        time=_of_type(content.get("TLS.time"), int, 0),
        expire=_of_type(content.get("TLS.expire"), int, 0),
        userbuf=userbuf,
        sig=_of_type(content.get("TLS.sig"), str, ""),
    )


def verify(user_sig: str, *, sdk_app_id: int, key: str, user_id: str, now: int) -> Ticket:
    """Check a UserSig at `now` (Unix seconds) and return its content.

    The checks come in the order of the vendor's verifier and the first that fails names the `UserSigError`.
    """
    ticket = _unsigned(user_sig, sdk_app_id=sdk_app_id, user_id=user_id, now=now, with_userbuf=False)
    _check_signature(ticket, key)
    return ticket


def verify_private_map_key(
    private_map_key: str,
    *,
    sdk_app_id: int,
    key: str,
    user_id: str,
    room: int | str,
    needed: Privilege,
    now: int,
) -> UserBuf:
    """Check a privateMapKey for a room (type and value) and the rights that are needed.

    Raises `UserSigError`: those of a UserSig, `userbuf not match` for another user, application or room and for
    missing rights, `expired` when its own time has passed.
    """
    ticket = _unsigned(private_map_key, sdk_app_id=sdk_app_id, user_id=user_id, now=now, with_userbuf=True)
    userbuf = UserBuf.from_bytes(ticket.userbuf or b"")
    if (userbuf.user_id, userbuf.sdk_app_id) != (user_id, sdk_app_id):
        raise UserSigError("userbuf not match", "the privateMapKey is another user's or application's")
    if userbuf.room != room:
        raise UserSigError("userbuf not match", "the privateMapKey is for another room")
    _check_signature(ticket, key)
    if now > userbuf.expires_at:
        raise UserSigError("expired", "the privateMapKey has expired")
    if needed & ~userbuf.privileges:
        raise UserSigError("userbuf not match", f"the privateMapKey lacks rights: {(needed & ~userbuf.privileges)!r}")
    return userbuf


def _unsigned(user_sig: str, *, sdk_app_id: int, user_id: str, now: int, with_userbuf: bool) -> Ticket:
    """All the checks that come before the signature's."""
    ticket = read(user_sig)
    if ticket.sdk_app_id != sdk_app_id:
        raise UserSigError("sdk appid not match", f"the UserSig is for application {ticket.sdk_app_id}")
    if ticket.identifier != user_id:
        raise UserSigError("identifier not match", "the UserSig is another user's")
    if now > ticket.time + ticket.expire:
        raise UserSigError("expired", f"the UserSig expired at {ticket.time + ticket.expire}")
    if (ticket.userbuf is not None) != with_userbuf:
        raise UserSigError("userbuf type not match", "a privateMapKey where a UserSig belongs, or the other way round")
    return ticket


def _check_signature(ticket: Ticket, key: str) -> None:
    if not hmac.compare_digest(ticket.signature(key).encode(), ticket.sig.encode()):
        raise UserSigError("sig not match", "the UserSig is not signed with this application's key")


def _of_type(value: Any, wanted: type[Any], otherwise: Any) -> Any:
    return value if type(value) is wanted else otherwise


def validity_text(seconds: int) -> str:
    """A duration as the vendor's verifier prints it, e.g. `180day 0hr 0min 0sec`."""
    days, rest = divmod(seconds, 86400)
    hours, rest = divmod(rest, 3600)
    minutes, rest = divmod(rest, 60)
    return f"{days}day {hours}hr {minutes}min {rest}sec"
