"""The words that every contract shares: identifiers, units and enumerations, with their limits."""

from __future__ import annotations

from enum import IntEnum
from typing import Annotated, Literal

from msgspec import Meta

SdkAppId = Annotated[int, Meta(ge=1, le=4294967295, description="Number of an application.")]
MAX_NUMERIC_ROOM = 4294967295
NumericRoomId = Annotated[int, Meta(ge=1, le=MAX_NUMERIC_ROOM)]
StringRoomId = Annotated[str, Meta(min_length=1, max_length=64)]
RoomId = NumericRoomId | StringRoomId
"""A room as the client names it. The number 123 and the text "123" are two different rooms."""

UserId = Annotated[str, Meta(min_length=1, max_length=32, pattern=r"^[A-Za-z0-9_-]+$(?!\n)")]
"""A user who signs in with a UserSig: letters, digits, `_` and `-`. (Python's `$` alone would admit a newline.)"""
EventUserId = Annotated[str, Meta(min_length=1, max_length=64)]
"""A user in an event: robots of media servers are named more freely than users."""
TaskId = Annotated[str, Meta(min_length=1, max_length=256)]

UnixMs = Annotated[int, Meta(ge=0, le=4102444800000, description="Unix milliseconds.")]
UnixSeconds = Annotated[int, Meta(ge=0, le=4102444800, description="Unix seconds.")]
DurationMs = Annotated[int, Meta(ge=0, le=86_400_000, description="Milliseconds.")]
Percent = Annotated[float, Meta(ge=0, le=100, description="Per cent, 0 to 100, fractions allowed.")]
BitsPerSecond = Annotated[int, Meta(ge=0, le=4_000_000_000, description="bit/s")]
Pixels = Annotated[int, Meta(ge=0, le=16384)]
FramesPerSecond = Annotated[float, Meta(ge=0, le=1000)]
Count = Annotated[int, Meta(ge=0, le=2**62)]
ShortText = Annotated[str, Meta(max_length=256)]

StreamType = Literal["audio", "big", "small", "sub"]
"""A stream of a user: sound, the main picture, its small twin, the screen."""
RoomScene = Literal["call", "live"]
"""How a room ends: when everybody has left, or also with its last anchor."""
RoomIdType = Literal[0, 1]

NUMERIC_ROOM: RoomIdType = 0
STRING_ROOM: RoomIdType = 1


class Role(IntEnum):
    """What a user may do in a room."""

    ANCHOR = 20
    AUDIENCE = 21


class TerminalType(IntEnum):
    """The user's machine; 100 is everything without a number of its own."""

    WINDOWS = 1
    ANDROID = 2
    IOS = 3
    LINUX = 4
    OTHER = 100


class UserType(IntEnum):
    """The kind of SDK that the user is in the room with."""

    WEBRTC = 1
    APPLET = 2
    NATIVE_SDK = 3


class EnterReason(IntEnum):
    """Why event 103 came."""

    NORMAL = 1
    NETWORK_SWITCH = 2
    RETRY_AFTER_TIMEOUT = 3
    CROSS_ROOM = 4


class ExitReason(IntEnum):
    """Why event 104 came."""

    NORMAL = 1
    TIMED_OUT = 2
    REMOVED = 3
    CROSS_ROOM_CANCELLED = 4
    PROCESS_KILLED = 5
