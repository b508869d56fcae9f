"""What a media server tells ingest about a room: signed events with an id, the same bytes again until they are safe."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Self
from uuid import uuid4

import aiohttp
import orjson

from schemas.callbacks import sign
from services.runtime.clock import now_ms

if TYPE_CHECKING:
    from schemas.applications import Application

ANCHOR = 20
LINUX = 4
WEBRTC = 1
NORMAL = 1


class MediaServer:
    """Posts the events of one room as they happen and keeps them in `posted`."""

    def __init__(self, ingest: str, application: Application, room_id: int | str) -> None:
        self._ingest = ingest
        self._application = application
        self._room_id = room_id
        self._session: aiohttp.ClientSession
        self.posted: list[dict[str, Any]] = []

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def opened(self, *users: str) -> None:
        """The first user creates the room, all enter it and send sound and picture."""
        await self._post(1, 101, UserId=users[0])
        for user in users:
            await self._post(1, 103, UserId=user, Role=ANCHOR, TerminalType=LINUX, UserType=WEBRTC, Reason=NORMAL)
            await self._post(2, 201, UserId=user)
            await self._post(2, 203, UserId=user)

    async def closed(self, *users: str) -> None:
        """The first user stops sending, all leave, and with the last of them the room ends."""
        await self._post(2, 202, UserId=users[0], Reason=0)
        await self._post(2, 204, UserId=users[0], Reason=0)
        for user in users:
            await self._post(1, 104, UserId=user, Role=ANCHOR, Reason=NORMAL)
        await self._post(1, 102, self.posted[-1]["EventInfo"]["EventMsTs"])

    async def _post(self, group: int, event_type: int, at_ms: int | None = None, **fields: Any) -> None:
        at_ms = now_ms() if at_ms is None else at_ms
        info = {"RoomId": self._room_id, "EventTs": at_ms // 1000, "EventMsTs": at_ms, **fields}
        event = {
            "EventGroupId": group,
            "EventType": event_type,
            # Without an id, one of room 8801 could be taken for one of room "8801" in the same millisecond.
            "EventId": uuid4().hex,
            "RoomIdType": int(isinstance(self._room_id, str)),
            "EventInfo": info,
        }
        body = orjson.dumps(event)
        headers = {
            "SdkAppId": str(self._application.sdk_app_id),
            "Sign": sign(self._application.secret_key, body),
            "Content-Type": "application/json",
        }
        while True:
            async with self._session.post(f"{self._ingest}/v1/events", data=body, headers=headers) as response:
                answer = await response.json()
            if response.status not in (429, 503):
                break
            await asyncio.sleep(float(response.headers["Retry-After"]))
        assert (response.status, answer) == (200, {"Accepted": 1, "Rejected": []})
        self.posted.append(event)
