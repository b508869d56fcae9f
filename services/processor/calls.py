"""Room life: from the events of one room to its calls and stays. Arithmetic alone, no input or output.

A call is one life of a room, from its creation to its closing. The result is a function of the events, in whatever
order and however often they came; whether a call has ended also depends on the time of day, so a call carries the time
at which it closes unless somebody comes back.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple
from zlib import crc32

from schemas.words import NUMERIC_ROOM, Role

if TYPE_CHECKING:
    from collections.abc import Iterable

CREATED, DISMISSED, ENTERED, LEFT, CHANGED_ROLE = 101, 102, 103, 104, 105
ROOM_EVENTS = (CREATED, DISMISSED, ENTERED, LEFT, CHANGED_ROLE)
LIVE_AUDIENCE_WAIT_MS = 600_000
"""A live room whose last user was audience stays open so long."""
CREATION_SPREAD_MS = 5_000
"""Creation and first entry are two events of one moment, and may come in either order."""


class RoomEvent(NamedTuple):
    """One of 101 to 105, as much of it as room life needs."""

    time_ms: int
    type: int
    event_id: str
    user_id: str = ""
    role: int | None = None
    terminal_type: int | None = None
    user_type: int | None = None
    reason: int | None = None
    scene: str | None = None


@dataclass(slots=True)
class Stay:
    """One user from an entry to an exit; `exit_ms` None while in the room."""

    user_id: str
    enter_ms: int
    role: int | None
    terminal_type: int | None
    user_type: int | None
    enter_reason: int | None
    exit_ms: int | None = None
    exit_reason: int | None = None
    roles: list[tuple[int, int]] = field(default_factory=list)
    """(time, role) of every change."""
    session_id: str = ""
    """The session of reports that alone tells of the stay; `exit_ms` is then the end of the last sample so far."""


@dataclass(slots=True)
class Call:
    """One life of a room. `close_ms` is None while somebody is in, and else when it closed or will."""

    start_ms: int
    creator_id: str = ""
    created: bool = False
    scene: str = "call"
    close_ms: int | None = None
    stays: list[Stay] = field(default_factory=list)
    from_reports: bool = False
    """Whether no room event tells of it."""

    @property
    def joined_users(self) -> int:
        """Distinct users who entered."""
        return len({stay.user_id for stay in self.stays})

    @property
    def first_entry_ms(self) -> int | None:
        """The first entry, None where nobody ever entered."""
        return min((stay.enter_ms for stay in self.stays), default=None)

    @property
    def last_exit_ms(self) -> int | None:
        """The last exit, None while somebody is in and where nobody ever entered."""
        exits = [stay.exit_ms for stay in self.stays]
        return None if None in exits else max((at for at in exits if at is not None), default=None)


def comm_id(sdk_app_id: int, room_id: str, room_id_type: int, start_ms: int) -> str:
    """The name of a call: `SdkAppId_RoomNumber_StartSeconds`; a string room has a number made from its text."""
    number = int(room_id) if room_id_type == NUMERIC_ROOM else crc32(room_id.encode())
    return f"{sdk_app_id}_{number}_{start_ms // 1000}"


def calls_of(events: Iterable[RoomEvent]) -> list[Call]:
    """The calls of one room, in order of time."""
    life = _RoomLife()
    ordered = sorted(events, key=attrgetter("time_ms", "type", "event_id"))
    for time_ms, moment in groupby(ordered, key=attrgetter("time_ms")):
        life.take(time_ms, list(moment))
    return life.calls


class _RoomLife:
    def __init__(self) -> None:
        self.calls: list[Call] = []
        self._call: Call | None = None
        self._inside: dict[str, Stay] = {}

    def take(self, time_ms: int, moment: list[RoomEvent]) -> None:
        """Take in the events of one millisecond, which have no order of their own: those who are in leave first."""
        if self._call is not None and self._call.close_ms is not None and self._call.close_ms < time_ms:
            self._call = None
        for event in moment:
            if event.type == CREATED:
                self._create(event)
        leaving = [event for event in moment if event.type == LEFT]
        first = [event for event in leaving if event.user_id in self._inside]
        for event in first:
            self._leave(event)
        for event in moment:
            if event.type == ENTERED:
                self._enter(event)
        for event in moment:
            if event.type == CHANGED_ROLE:
                self._change_role(event)
        for event in leaving:
            if event not in first:
                self._leave(event)
        for event in moment:
            if event.type == DISMISSED:
                self._dismiss(event)

    def _open(self, time_ms: int) -> Call:
        if self._call is None:
            self._call = Call(start_ms=time_ms)
            self.calls.append(self._call)
        return self._call

    def _create(self, event: RoomEvent) -> None:
        call = self._call
        if call is not None and (call.created or event.time_ms - call.start_ms > CREATION_SPREAD_MS):
            # The room did not exist any more, so its end was lost.
            self._close(call, event.time_ms)
        call = self._open(event.time_ms)
        call.created = True
        call.creator_id = event.user_id
        call.scene = event.scene or call.scene

    def _enter(self, event: RoomEvent) -> None:
        call = self._open(event.time_ms)
        call.scene = event.scene or call.scene
        call.close_ms = None
        earlier = self._inside.pop(event.user_id, None)
        if earlier is not None:
            # The exit was lost, or the user came again from another device.
            earlier.exit_ms = event.time_ms
        stay = Stay(
            user_id=event.user_id,
            enter_ms=event.time_ms,
            role=event.role,
            terminal_type=event.terminal_type,
            user_type=event.user_type,
            enter_reason=event.reason,
        )
        call.stays.append(stay)
        self._inside[event.user_id] = stay

    def _leave(self, event: RoomEvent) -> None:
        stay = self._inside.pop(event.user_id, None)
        if stay is None or self._call is None:
            return
        stay.exit_ms = event.time_ms
        stay.exit_reason = event.reason
        if event.role is not None:
            stay.role = event.role
        if not self._inside:
            waits = self._call.scene == "live" and stay.role == Role.AUDIENCE
            self._call.close_ms = event.time_ms + (LIVE_AUDIENCE_WAIT_MS if waits else 0)

    def _change_role(self, event: RoomEvent) -> None:
        stay = self._inside.get(event.user_id)
        if stay is not None and event.role is not None:
            stay.role = event.role
            stay.roles.append((event.time_ms, event.role))

    def _dismiss(self, event: RoomEvent) -> None:
        if self._call is not None:
            self._close(self._call, event.time_ms)

    def _close(self, call: Call, time_ms: int) -> None:
        for stay in self._inside.values():
            stay.exit_ms = time_ms
        self._inside.clear()
        call.close_ms = time_ms
        self._call = None
