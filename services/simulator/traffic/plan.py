"""The plan of a call: who is in the room when, who sends what, what goes wrong. All times are Unix milliseconds."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from schemas.words import Role, RoomId, RoomScene, StreamType
from services.simulator.traffic.profiles import Profile

SILENCE_MS = 90_000
"""A media server waits so long for a vanished user."""
LIVE_ROOM_LINGERS_MS = 600_000
"""A live room whose last user was audience."""

Ending = Literal["left", "crashed", "killed", "removed", "dissolved"]
TroubleKind = Literal["downlink", "uplink", "processor", "camera", "silent-microphone", "silent-speaker"]


class Room(Struct, frozen=True, kw_only=True):
    """One room id and the habits of the media server behind it."""

    index: int
    room_id: RoomId
    scene: RoomScene
    names_events: bool
    """Its media server sends an `EventId`; where not, ingest derives it."""
    names_type: bool
    """Its recorders and its 102 say whether the room is numeric; where not, the processor has to find out."""


class Trouble(Struct, frozen=True):
    """Something is wrong with a user's network or device for a while."""

    kind: TroubleKind
    start_ms: int
    end_ms: int
    severity: float
    """0 to 1."""


class Piece(Struct, frozen=True):
    """A part of a stream whose size and mute state do not change."""

    start_ms: int
    end_ms: int
    width: int
    height: int
    muted: bool


class Stream(Struct, frozen=True, kw_only=True):
    """One uninterrupted upload of a user."""

    user_id: str
    type: StreamType
    start_ms: int
    end_ms: int
    stopped: bool
    """It ended while its user stayed, so that the media server tells."""
    fps: int
    bitrate: int
    pieces: tuple[Piece, ...]


class Stay(Struct, frozen=True, kw_only=True):
    """A user from entering a room to leaving it: one session of the SDK."""

    user_id: str
    number: int
    """Counts the user's stays in this call."""
    session_id: str
    profile: Profile
    role: Role
    role_changes: tuple[tuple[int, Role], ...]
    join_ms: int
    join_cost_ms: int
    enter_reason: int
    end_ms: int
    """From here on the user is not there any more."""
    ending: Ending
    removed_ms: int
    """`EventMsTs` of the user's 104; later than `end_ms` where the media server had to find out."""
    exit_reason: int
    wants_small: bool
    wants_video: bool
    troubles: tuple[Trouble, ...]
    network_switch: tuple[int, str] | None = None
    failed_entry_ms: int | None = None
    """A first attempt to enter that failed."""
    tail_ms: int | None = None
    """When what a crash kept from being reported is sent after all."""

    @property
    def says_goodbye(self) -> bool:
        """Whether the SDK lived long enough to report its end."""
        return self.ending in ("left", "removed", "dissolved")


class Call(Struct, frozen=True, kw_only=True):
    """One life of a room."""

    run: str
    seed: int
    room: Room
    number: int
    """Counts the room's calls."""
    start_ms: int
    end_ms: int
    """When those who stayed to the end left."""
    stays: tuple[Stay, ...]
    streams: tuple[Stream, ...]
    uplink_troubles: dict[str, tuple[Trouble, ...]]
    """By sender: what everybody who receives from it suffers of."""
    closed_ms: int
    tells_end: bool
    """The media server sends 102; where not, silence has to end the call."""

    @property
    def path(self) -> tuple[object, ...]:
        """Names the call in seeds."""
        return (self.seed, "call", self.room.index, self.number)

    @property
    def last_removal_ms(self) -> int:
        """When the last user was out."""
        return max(stay.removed_ms for stay in self.stays)
