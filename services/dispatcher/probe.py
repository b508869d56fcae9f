"""A test callback: one real request to an application's URL, and what could be seen on the way."""

from __future__ import annotations

import secrets
import time
from socket import AF_INET
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Raw, Struct

from schemas import examples
from schemas.callbacks import callback_body
from schemas.deliveries import delivery_id
from schemas.events import EventRecord, read_event
from schemas.words import STRING_ROOM
from services.dispatcher.addresses import AddressGuard
from services.dispatcher.resolver import ThreadResolver
from services.dispatcher.sender import Answer, HttpSender, wire_headers
from services.dispatcher.signing import request_headers
from services.runtime.clock import now_ms

if TYPE_CHECKING:
    import socket

    from aiohttp.abc import ResolveResult

    from schemas.applications import Application
    from services.runtime.settings import Settings

ROOM = "callback-test"
TEST_FIELD = "Test"
"""What tells a test callback from others: this field beside `EventInfo` is true."""


class NothingToTest(Exception):
    """There is no URL that a test callback could go to."""


class Probe(Struct, kw_only=True):
    """What was sent and what came of it."""

    url: str
    event: EventRecord
    headers: dict[str, str]
    body: bytes
    addresses: dict[str, bool]
    """Every address that the host of the URL has, and whether callbacks may go there."""
    tried: list[str]
    """Those that a connection was begun to, in this order; the last one is the one that was used."""
    look_up_ms: int
    started_ms: int
    answer: Answer

    def describe(self) -> dict[str, Any]:
        """The same for people and programs."""
        return {
            "SdkAppId": self.event.sdk_app_id,
            "EventGroupId": self.event.event_group_id,
            "EventType": self.event.event_type,
            "EventId": self.event.event_id,
            "Url": self.url,
            "Request": {"Headers": self.headers, "Body": self.body.decode()},
            "LookUpMs": self.look_up_ms,
            "Addresses": [
                {"Address": address, "Permitted": permitted, "Tried": address in self.tried}
                for address, permitted in self.addresses.items()
            ],
            "StartedTime": self.started_ms,
            "DurationMs": self.answer.duration_ms,
            "Delivered": self.answer.succeeded,
            "Status": self.answer.status,
            "ErrorClass": self.answer.error_class,
            "Error": self.answer.error,
            "Response": self.answer.response,
        }


async def probe(settings: Settings, application: Application, group: int) -> Probe:
    """Send a signed callback of an event that never happened, exactly as the dispatcher sends others.

    Nobody repeats it and nothing is written down. Raises `NothingToTest`, and `ValueError` for settings that are none.
    """
    url = application.callback.url_of(group)
    if not url:
        raise NothingToTest(f"application {application.sdk_app_id} has no URL for events of group {group}")
    started_ms = now_ms()
    event = _event(application.sdk_app_id, group, started_ms)
    body = callback_body(event, started_ms)
    headers = request_headers(application, body, delivery_id(event.sdk_app_id, event.event_id), started_ms)
    guard, resolver = _WatchedGuard(settings.callback_allow), _WatchedResolver()
    async with HttpSender.of_settings(settings, guard=guard, resolver=resolver) as sender:
        answer = await sender.post(url, body, headers)
    addresses = dict.fromkeys([*resolver.found, *guard.tried])
    return Probe(
        url=url,
        event=event,
        headers={} if answer.error_class == "url" else wire_headers(url, body, headers),
        body=body,
        addresses={address: guard.permits(address) for address in addresses},
        tried=[address for address in guard.tried if guard.permits(address)],
        look_up_ms=resolver.look_up_ms,
        started_ms=started_ms,
        answer=answer,
    )


def _event(sdk_app_id: int, group: int, moment_ms: int) -> EventRecord:
    """An event of a group as the vendor describes them, in a room that nobody uses."""
    samples = [msgspec.json.decode(body, type=dict[str, Any]) for body in examples.callbacks()]
    sample = next((one for one in samples if one["EventGroupId"] == group), None)
    posted = sample or {"EventGroupId": group, "EventType": group * 100 + 1, "EventInfo": {}}
    moments = {"EventTs": moment_ms // 1000, "EventMsTs": moment_ms}
    info = posted["EventInfo"]
    info |= {name: value for name, value in moments.items() if name in info or name == "EventMsTs"}
    words = {"RoomId": ROOM, "RoomType": STRING_ROOM, "RoomIdType": STRING_ROOM, "UserId": ROOM, "TaskId": ROOM}
    info |= {name: value for name, value in words.items() if name in info}
    item = {**posted, "EventInfo": info, "EventId": f"test-{secrets.token_hex(8)}", TEST_FIELD: True}
    return read_event(sdk_app_id, Raw(msgspec.json.encode(item)), moment_ms)


class _WatchedGuard(AddressGuard):
    """Remembers the addresses that came before it."""

    def __init__(self, allowed: str) -> None:
        super().__init__(allowed)
        self.tried: list[str] = []

    def vet(self, address: str) -> None:
        self.tried.append(address)
        super().vet(address)


class _WatchedResolver(ThreadResolver):
    """Remembers what was found."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.look_up_ms = 0

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = AF_INET) -> list[ResolveResult]:
        began = time.perf_counter()
        try:
            results = await super().resolve(host, port, family)
        finally:
            self.look_up_ms = round((time.perf_counter() - began) * 1000)
        self.found += [result["host"] for result in results]
        return results
