"""The recorded load at the pace of real users, cheap enough to be made beside what is measured.

Reports are encoded once; who reports, from which room and when is filled in later. Everybody reports every ten seconds,
evenly spread over them, and enters anew every five minutes.
"""

from __future__ import annotations

import random
import re
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from tests.bench.load import SAMPLES_A_REPORT, rounds

if TYPE_CHECKING:
    from collections.abc import Iterator

    from schemas.reports import AcceptedReport

GRID_MS = 2_000
EVERY_MS = 10_000
USERS = 4
REPORTS_A_SESSION = 30
_DRAWN_ROOMS = 100
_BEGINNING_MS = 1_000_000_000_000
_ROOM, _USER, _SESSION, _TIME = range(4)
_BLANKS = re.compile(rb"user_\d+_(\d+)|(-[0-9a-f]+\")|(\"RoomId\":)\d+|(1000000\d{6})")


class Blank:
    """An encoded report that anybody may send."""

    def __init__(self, report: AcceptedReport) -> None:
        fields: list[tuple[int, int]] = []
        user = int(report.user_id.rpartition("_")[2])
        at_ms = report.samples[0].start_ms

        def leave_blank(match: re.Match[bytes]) -> bytes:
            somebody, session, room, moment = match.groups()
            if somebody:
                fields.extend([(_ROOM, 0), (_USER, int(somebody) - user)])
                return b"user_%d_%d"
            if session:
                fields.append((_SESSION, 0))
                return b'-%08x"'
            if room:
                fields.append((_ROOM, 0))
                return room + b"%d"
            fields.append((_TIME, int(moment) - at_ms))
            return b"%d"

        self._text = _BLANKS.sub(leave_blank, msgspec.json.encode(report))
        self._fields = fields

    def filled(self, room: int, user: int, session: int, at_ms: int) -> bytes:
        """The report of this user, with samples from this time on."""
        known = room, user, session, at_ms
        return self._text % tuple(known[which] + offset for which, offset in self._fields)


class Due(NamedTuple):
    """A report that is to be sent."""

    due_ms: int
    room: int
    user: int
    first_ms: int
    """Start of its first sample."""
    value: bytes


def due_reports(rate: int, start_ms: int) -> Iterator[Due]:
    """Reports without end, in the order in which they are due; `rate` is samples a second, a multiple of ten."""
    users = rate * EVERY_MS // 1000 // SAMPLES_A_REPORT
    order = list(range(users))
    random.Random(2).shuffle(order)
    first, second = rounds(_DRAWN_ROOMS, USERS, 2 * _DRAWN_ROOMS * USERS * SAMPLES_A_REPORT, _BEGINNING_MS)
    entering, going_on = [Blank(report) for report in first], [Blank(report) for report in second]
    number = 0
    while True:
        turn, place = divmod(number, users)
        room, user = divmod(order[place], USERS)
        session, report = divmod(turn + room, REPORTS_A_SESSION)
        due_ms = start_ms + number * EVERY_MS // users
        at_ms = due_ms // GRID_MS * GRID_MS - EVERY_MS
        blanks = entering if not turn or not report else going_on
        yield Due(
            due_ms, room + 1, user, at_ms, blanks[number * 7 % len(blanks)].filled(room + 1, user, session, at_ms)
        )
        number += 1
