"""The rollups of a scenario by the oracle, room after room, so that the memory of one room is enough."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from services.simulator.traffic.items import ClientReport
from services.simulator.traffic.rooms import calls_of, items_of, room_of
from tests.oracle.quality import add_stays, by_application, by_room

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.simulator.traffic.scenario import Scenario
    from tests.oracle.quality import Numbers, Room

Rollup = dict[tuple[Any, ...], tuple[int, ...]]

_SUMS = "VideoStutterMs, VideoPlayMs, AudioStutterMs, AudioPlayMs"
_BUCKET = "toUnixTimestamp64Milli(BucketTime)"


def expected_rollups(scenario: Scenario) -> tuple[Rollup, Rollup]:
    """Rows of rooms by (room, type, bucket) and of the application by (bucket,), in the order of `found_rollups`."""
    rooms: dict[tuple[Room, int], Numbers] = {}
    for index in range(scenario.rooms):
        contents = (item.content for item in items_of(scenario, room_of(index)))
        reports = [_as_posted(content) for content in contents if isinstance(content, ClientReport)]
        mine = by_room(reports)
        room = next(room for room, _ in mine)
        stays = [stay for call in calls_of(scenario, room_of(index)) for stay in call.stays]
        add_stays(mine, [(room, stay.user_id, stay.join_ms, stay.removed_ms) for stay in stays])
        rooms |= mine
    applications = by_application(rooms)
    return (
        {(*room[1:], at): (len(numbers.online), *_shown(numbers)) for (room, at), numbers in rooms.items()},
        {
            (at,): (len(numbers.online), len(numbers.rooms), *_shown(numbers))
            for (_, at), numbers in applications.items()
        },
    )


def found_rollups(query: Callable[[str], str], database: str) -> tuple[Rollup, Rollup]:
    """Users online, rooms online (of the application), abnormal users and the four sums, from the tables."""
    rooms = query(
        f"SELECT RoomId, RoomIdType, {_BUCKET}, OnlineUsers, AbnormalUsers, {_SUMS} FROM {database}.room_10s "
        "FORMAT JSONCompactEachRow SETTINGS output_format_json_quote_64bit_integers = 0"
    )
    applications = query(
        f"SELECT {_BUCKET}, OnlineUsers, OnlineRooms, AbnormalUsers, {_SUMS} FROM {database}.app_10s FINAL "
        "WHERE OnlineUsers > 0 OR VideoStutterMs + AudioStutterMs > 0 "
        "FORMAT JSONCompactEachRow SETTINGS output_format_json_quote_64bit_integers = 0"
    )
    return _keyed(rooms, 3), _keyed(applications, 1)


def _keyed(lines: str, keys: int) -> Rollup:
    rows = [msgspec.json.decode(line) for line in lines.splitlines()]
    return {tuple(row[:keys]): tuple(row[keys:]) for row in rows}


def _shown(numbers: Numbers) -> tuple[int, ...]:
    return (
        len(numbers.abnormal),
        numbers.video_stutter_ms,
        numbers.video_play_ms,
        numbers.audio_stutter_ms,
        numbers.audio_play_ms,
    )


def _as_posted(content: ClientReport) -> dict[str, Any]:
    posted: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(content.report))
    return posted
