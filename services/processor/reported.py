"""Stays and calls that are known from reports alone. Arithmetic alone.

Room events decide. Where a session of reports overlaps no stay that events tell of the same user, it is a stay of its
own: in the call that it overlaps, else in one that such sessions make. Silence of 90 s ends that, and so does a call
that events tell.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from services.processor.calls import Call, Stay

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

SILENCE_MS = 90_000


class ReportedSession(NamedTuple):
    """One session of reports in a room, from the start of its first sample to the end of its last, Unix ms."""

    user_id: str
    session_id: str
    first_ms: int
    last_ms: int


def with_reports(calls: Sequence[Call], sessions: Iterable[ReportedSession]) -> list[Call]:
    """The calls that events tell, with the stays and calls that only reports tell, in order of time."""
    found = list(calls)
    alone: list[Stay] = []
    told: defaultdict[str, list[Stay]] = defaultdict(list)
    for call in calls:
        for stay in call.stays:
            told[stay.user_id].append(stay)
    for session in sorted(sessions, key=lambda session: (session.first_ms, session.user_id, session.session_id)):
        if any(_overlaps(stay.enter_ms, stay.exit_ms, session) for stay in told[session.user_id]):
            continue
        stay = Stay(
            user_id=session.user_id,
            enter_ms=session.first_ms,
            role=None,
            terminal_type=None,
            user_type=None,
            enter_reason=None,
            exit_ms=session.last_ms,
            session_id=session.session_id,
        )
        home = next((call for call in calls if _overlaps(call.start_ms, call.close_ms, session)), None)
        if home is None:
            alone.append(stay)
        else:
            home.stays.append(stay)
    reported: Call | None = None
    until_ms = 0
    for stay in alone:
        if reported is None or stay.enter_ms > until_ms or _begins(calls, reported.start_ms, stay.enter_ms):
            reported = Call(start_ms=stay.enter_ms, from_reports=True)
            found.append(reported)
        reported.stays.append(stay)
        until_ms = max(until_ms, (stay.exit_ms or 0) + SILENCE_MS)
    return sorted(found, key=lambda call: call.start_ms)


def _overlaps(start_ms: int, end_ms: int | None, session: ReportedSession) -> bool:
    """Ends are exclusive, but that nothing is shorter than a millisecond."""
    return start_ms < session.last_ms and (end_ms is None or max(end_ms, start_ms + 1) > session.first_ms)


def _begins(calls: Iterable[Call], after_ms: int, until_ms: int) -> bool:
    return any(after_ms < call.start_ms <= until_ms for call in calls)
