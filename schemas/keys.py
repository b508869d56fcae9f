"""Where a message belongs: rooms as (text, type), user shards, partition keys.

A numeric room 123 and a string room "123" are two rooms in every table, but one partition key serves both: a media
server cannot always tell which it is, and what settles the question must meet in one place.
"""

from __future__ import annotations

from zlib import crc32

from schemas.words import MAX_NUMERIC_ROOM, NUMERIC_ROOM, STRING_ROOM, RoomIdType

USER_SHARDS = 16
"""A huge room is spread over this many parts, by user."""


def room_key(room: int | str) -> tuple[str, RoomIdType]:
    """A room as the tables name it: its text, and 0 for a numeric or 1 for a string room."""
    return (str(room), NUMERIC_ROOM) if isinstance(room, int) else (room, STRING_ROOM)


def may_be_numeric(room_text: str) -> bool:
    """Whether a room's text is the number of a numeric room, written as such a number is written."""
    digits = room_text.isascii() and room_text.isdigit() and not room_text.startswith("0")
    return digits and len(room_text) <= 10 and int(room_text) <= MAX_NUMERIC_ROOM


def user_shard(user_id: str) -> int:
    """The shard of a user, 0 to 15; part of stored keys, so it never changes."""
    return crc32(user_id.encode()) % USER_SHARDS


def event_key(sdk_app_id: int, room_text: str | None, task_id: str | None) -> bytes:
    """Partition key of events and task intervals: by room, without one by task, without both by application."""
    if room_text is not None:
        return f"{sdk_app_id}/room/{room_text}".encode()
    if task_id is not None:
        return f"{sdk_app_id}/task/{task_id}".encode()
    return str(sdk_app_id).encode()


def report_partition(sdk_app_id: int, room_text: str, user_id: str, partitions: int) -> int:
    """Partition of reports: by room and user shard, the shards of a room side by side.

    So one huge room has the same share of each partition, and workers have equal shares of it however the partitions
    are divided among them; hashes of room and shard together would give one worker two thirds of every other room.
    """
    return (crc32(f"{sdk_app_id}/room/{room_text}".encode()) + user_shard(user_id)) % partitions
