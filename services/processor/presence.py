"""Who was in a room when, by stays: rows of `presence`, and the ten seconds whose numbers change. Arithmetic alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from schemas.touched import BUCKET_MS
from services.processor.reported import SILENCE_MS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from services.processor.tables import Row

Key = tuple[int, str, int, str, int]
"""SdkAppId, room, its type, user, entry in Unix ms."""
User = tuple[int, str, int, str]
"""The same without the entry."""


class StayEnd(NamedTuple):
    """How a stay ends."""

    exit_ms: int | None
    """Unix ms, None while the user is in the room, or where only reports can tell."""
    session_id: str = ""
    """The session of reports that alone tells of the stay; its end is that of its last sample."""


Stays = dict[Key, StayEnd]

HOUR_MS = 3_600_000
REACH_MS = 8 * 24 * HOUR_MS
"""Kafka keeps events for seven days: earlier hours of a stay cannot change any more."""
AHEAD_MS = 600_000
"""Open stays have a row for the next hour so long before it begins."""


def hours_of(enter_ms: int, exit_ms: int | None, now_ms: int) -> range:
    """The starts of the hours that a stay touches and that may still change; an open one goes on until after now."""
    end = max(enter_ms + 1, now_ms + AHEAD_MS if exit_ms is None else exit_ms)
    start = max(enter_ms, now_ms - REACH_MS)
    return range(start - start % HOUR_MS, end, HOUR_MS)


def presence_rows(known: Mapping[tuple[Key, int], StayEnd], stays: Stays, now_ms: int) -> list[Row]:
    """Rows of table `presence`, up to `Removed`, that make what is known of (stay, hour) into what the stays say."""
    right = {(key, hour): end for key, end in stays.items() for hour in hours_of(key[-1], end.exit_ms, now_ms)}
    rows: list[Row] = []
    for (key, hour), end in right.items():
        if known.get((key, hour)) != end:
            app, room_id, room_id_type, user, enter = key
            rows.append((app, hour // 1000, room_id, room_id_type, user, enter, *end, False))
    for key, hour in known.keys() - right.keys():
        if hour + HOUR_MS <= now_ms - REACH_MS:
            continue
        app, room_id, room_id_type, user, enter = key
        rows.append((app, hour // 1000, room_id, room_id_type, user, enter, None, "", True))
    return rows


def changed_buckets(
    before: Mapping[Key, StayEnd], after: Mapping[Key, StayEnd], seen: Mapping[User, int], now_ms: int
) -> set[tuple[int, int]]:
    """(SdkAppId, bucket in Unix ms) in which somebody may be in a room now who was not, or the other way round.

    Who is in a room may have vanished since the user was last seen, Unix ms. Stays of which only reports tell are not
    looked at: their reports touch what they change.
    """
    changed: set[tuple[int, int]] = set()
    for key in before.keys() | after.keys():
        if before.get(key) == after.get(key):
            continue
        app, room_id, room_id_type, user, enter = key
        seen_ms = seen.get((app, room_id, room_id_type, user), -1)
        ends = [end for stays in (before, after) for end in _ends(stays.get(key), enter, seen_ms, now_ms)]
        changed.update((app, bucket) for bucket in _buckets(min(ends), max(ends)))
    return changed


def _ends(known: StayEnd | None, enter_ms: int, seen_ms: int, now_ms: int) -> tuple[int, ...]:
    """When the user may have been out of the room."""
    if known is None or known.session_id:
        return (enter_ms,)
    if known.exit_ms is not None:
        return (known.exit_ms,)
    return (now_ms,) if seen_ms < enter_ms else (min(seen_ms + SILENCE_MS, now_ms), now_ms)


def _buckets(start_ms: int, end_ms: int) -> Iterable[int]:
    return range(start_ms - start_ms % BUCKET_MS, end_ms, BUCKET_MS)
