"""Who was in a room when, by stays: rows of `presence`, and the ten seconds whose numbers change. Arithmetic alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from schemas.touched import BUCKET_MS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from services.processor.tables import Row

Key = tuple[int, str, int, str, int]
"""SdkAppId, room, its type, user, entry in Unix ms."""


class StayEnd(NamedTuple):
    """How a stay ends."""

    exit_ms: int | None
    """Unix ms, None while the user is in the room, or where only reports can tell."""
    session_id: str = ""
    """The session of reports that alone tells of the stay; its end is that of its last sample."""


Stays = dict[Key, StayEnd]

HOUR_MS = 3_600_000
AHEAD_MS = 600_000
"""Open stays have a row for the next hour so long before it begins."""


def hours_of(enter_ms: int, exit_ms: int | None, now_ms: int) -> range:
    """The starts of the hours that a stay touches; an open one goes on until a little after now."""
    end = max(enter_ms + 1, now_ms + AHEAD_MS if exit_ms is None else exit_ms)
    return range(enter_ms - enter_ms % HOUR_MS, end, HOUR_MS)


def presence_rows(before: Mapping[Key, StayEnd], after: Mapping[Key, StayEnd], now_ms: int) -> list[Row]:
    """Rows of table `presence`, up to `Removed`, that make what was known before into what is known now."""
    rows: list[Row] = []
    for key in before.keys() | after.keys():
        if key in before and key in after and before[key] == after[key]:
            continue
        *room, user, enter = key
        app, room_id, room_id_type = room
        right = hours_of(enter, after[key].exit_ms, now_ms) if key in after else range(0)
        wrong = hours_of(enter, before[key].exit_ms, now_ms) if key in before else range(0)
        rows += [(app, hour // 1000, room_id, room_id_type, user, enter, *after[key], False) for hour in right]
        rows += [
            (app, hour // 1000, room_id, room_id_type, user, enter, None, "", True)
            for hour in wrong
            if hour not in right
        ]
    return rows


def changed_buckets(before: Mapping[Key, StayEnd], after: Mapping[Key, StayEnd], now_ms: int) -> set[tuple[int, int]]:
    """(SdkAppId, bucket in Unix ms) in which somebody is in a room now and was not, or the other way round.

    Stays of which only reports tell are not looked at: their reports touch what they change.
    """
    changed: set[tuple[int, int]] = set()
    for key in before.keys() | after.keys():
        app, enter = key[0], key[-1]
        ends = sorted(_end(stays.get(key), enter, now_ms) for stays in (before, after))
        changed.update((app, bucket) for bucket in _buckets(*ends))
    return changed


def _end(known: StayEnd | None, enter_ms: int, now_ms: int) -> int:
    if known is None or known.session_id:
        return enter_ms
    return now_ms if known.exit_ms is None else known.exit_ms


def _buckets(start_ms: int, end_ms: int) -> Iterable[int]:
    return range(start_ms - start_ms % BUCKET_MS, end_ms, BUCKET_MS)
