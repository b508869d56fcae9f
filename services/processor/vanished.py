"""Late reports of users who are in a room by their stay: they tell whether the user had vanished meanwhile.

Who reports and is then silent for 90 s has vanished. While reports come in time, every bucket is computed when that is
known. One that comes late changes buckets that it has no samples in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from schemas.touched import BUCKET_MS

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from services.processor.memory import SessionKey
    from services.processor.reload import Reloaded
    from services.processor.store import Store

REACH_MS = 100_000
"""90 seconds and a bucket."""

_STRUCTURE = "SdkAppId UInt32, RoomId String, RoomIdType UInt8, UserId String"
_OPEN = """
SELECT DISTINCT SdkAppId, RoomId, RoomIdType, UserId FROM presence FINAL
WHERE HourTime >= now() - INTERVAL 26 HOUR AND ExitTime IS NULL AND NOT Removed AND SessionId = ''
    AND (SdkAppId, RoomId, RoomIdType, UserId) IN (SELECT SdkAppId, RoomId, RoomIdType, UserId FROM touched)
"""


async def buckets_of_late(
    store: Store, found: Sequence[Reloaded], wanted: Mapping[SessionKey, Collection[int]], now_ms: int
) -> set[tuple[int, int]]:
    """(SdkAppId, bucket in Unix ms) in which somebody may be present now who was not, or the other way round."""
    late = {(*one.key[:3], one.key[4]): one for one in found if now_ms - one.last_ms > REACH_MS}
    if not late:
        return set()
    touched: set[tuple[int, int]] = set()
    for user in await store.rows("open stays", _OPEN, _STRUCTURE, list(late)):
        one = late[tuple(user)]
        first = min(wanted[one.key])
        # The first that was ever heard of somebody tells that the time since the last was silence.
        until = now_ms if one.first_ms >= first else one.last_ms + REACH_MS
        start = first - REACH_MS
        touched.update((one.key[0], bucket) for bucket in range(start - start % BUCKET_MS, until, BUCKET_MS))
    return touched
