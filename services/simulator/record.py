"""A record of what ingest acknowledged, to be compared with what a customer receives."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from schemas.events import read_event
from services.simulator.traffic.items import Events

if TYPE_CHECKING:
    from pathlib import Path

    from services.simulator.traffic.items import Item


class EventRecorder:
    """Writes a JSON line for each acknowledged event: `EventId` (as ingest derives it where none was sent),
    `EventType`, `EventMsTs`, `RoomId`, `UserId`, `TaskId`. A line is in the file before the next answer is read."""

    def __init__(self, path: Path, sdk_app_id: int) -> None:
        self._file = path.open("wb", buffering=0)
        self._sdk_app_id = sdk_app_id

    def acknowledged(self, item: Item, rejected: frozenset[int]) -> None:
        """Record the events of an item, the rejected ones excepted."""
        if not isinstance(item.content, Events):
            return
        lines = []
        for index, posted in enumerate(item.content.events):
            if index in rejected:
                continue
            event = read_event(self._sdk_app_id, msgspec.json.encode(posted), 0)
            line = {
                "EventId": event.event_id,
                "EventType": event.event_type,
                "EventMsTs": event.event_ms_ts,
                "RoomId": event.room_id,
                "UserId": event.user_id,
                "TaskId": event.task_id,
            }
            lines.append(msgspec.json.encode(line) + b"\n")
        self._file.write(b"".join(lines))

    def close(self) -> None:
        """Close the file."""
        self._file.close()
