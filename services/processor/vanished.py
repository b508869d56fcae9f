"""Late reports of users who are in a room by their stay: they tell whether the user had vanished meanwhile.

Who reports and is then silent for 90 s has vanished. While reports come in time, every bucket is computed when that is
known. One that comes late changes buckets that it has no samples in.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from schemas.touched import BUCKET_MS
from services.processor.reported import SILENCE_MS
from services.processor.store import external

if TYPE_CHECKING:
    from collections.abc import Iterable

    from services.processor.memory import SessionKey
    from services.processor.store import Store

REACH_MS = SILENCE_MS + BUCKET_MS

_STRUCTURE = "SdkAppId UInt32, RoomId String, RoomIdType UInt8, UserId String"
_OPEN = """
SELECT SdkAppId, RoomId, RoomIdType, UserId, toUnixTimestamp64Milli(min(p.EnterTime)) FROM presence AS p FINAL
WHERE HourTime >= now() - INTERVAL 26 HOUR AND ExitTime IS NULL AND NOT Removed AND SessionId = ''
    AND (SdkAppId, RoomId, RoomIdType, UserId) IN (SELECT SdkAppId, RoomId, RoomIdType, UserId FROM touched)
GROUP BY SdkAppId, RoomId, RoomIdType, UserId
"""


class Heard(NamedTuple):
    """What a turn heard of a session: from its first bucket that changed to the end of its last sample, Unix ms."""

    key: SessionKey
    first_ms: int
    last_ms: int
    in_order: bool
    """Whether it only went on where it was."""


async def buckets_of_late(store: Store, heard: Iterable[Heard], now_ms: int) -> set[tuple[int, int]]:
    """(SdkAppId, bucket in Unix ms) in which somebody may be present now who was not, or the other way round."""
    late: defaultdict[tuple[int, str, int, str], list[Heard]] = defaultdict(list)
    for one in heard:
        if now_ms - one.last_ms > REACH_MS:
            late[*one.key[:3], one.key[4]].append(one)
    if not late:
        return set()
    touched: set[tuple[int, int]] = set()
    for *user, enter_ms in await store.rows("open stays", _OPEN, external(_STRUCTURE, list(late))):
        known = late[tuple(user)]
        first, last = min(one.first_ms for one in known) - REACH_MS, max(one.last_ms for one in known) + REACH_MS
        if not all(one.in_order for one in known):
            # It may be the first that is heard of somebody, whom silence made vanish, or bridge a silence.
            first, last = min(first, enter_ms), now_ms
        touched.update((user[0], bucket) for bucket in range(first - first % BUCKET_MS, last, BUCKET_MS))
    return touched
