"""A customer's server for demonstrations and tests: it verifies callbacks, prints them and says yes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click
import msgspec
from aiohttp import web
from msgspec import Struct

from schemas.callbacks import sign_matches
from services.console.store import ApplicationStore, DatabaseUnusable, UnknownApplication
from services.runtime.service import CannotStart
from services.runtime.web import add_health_routes, json_answer, start_site

if TYPE_CHECKING:
    import asyncio

    from services.runtime.settings import Settings

LAST_EVENTS_KEPT = 50
MAX_BODY = 1 << 20
EVENT_NAMES = {
    101: "room created",
    102: "room closed",
    103: "user entered",
    104: "user left",
    105: "role changed",
    201: "camera on",
    202: "camera off",
    203: "microphone on",
    204: "microphone off",
    205: "screen shared",
    206: "screen no longer shared",
    301: "recorder started",
    302: "recorder left",
    303: "upload started",
    304: "index file",
    305: "upload finished",
    306: "recorder moved",
    307: "file begun",
    308: "upload error",
    309: "image not loaded",
    310: "MP4 finished",
    311: "file in VOD",
    312: "recording done",
    401: "relay status",
}

KeyOf = Callable[[int], str | None]
"""The callback key of an application: empty where it has none, None where there is no such application."""


class Callback(Struct, frozen=True, rename="pascal"):
    """A callback as it came."""

    sdk_app_id: str
    sign: str
    verified: bool
    body: bytes
    headers: dict[str, str]

    @property
    def event(self) -> dict[str, Any]:
        """The body, read."""
        event: dict[str, Any] = msgspec.json.decode(self.body)
        return event


class Receiver:
    """A plain customer's server. `on_callback` is told of every callback, right or wrong."""

    def __init__(
        self,
        key_of: KeyOf,
        *,
        quiet: bool = False,
        on_callback: Callable[[Callback], None] | None = None,
    ) -> None:
        self._key_of = key_of
        self._quiet = quiet
        self._on_callback = on_callback
        self.received = 0
        self.verified = 0
        self.failed = 0
        self._last: deque[dict[str, Any]] = deque(maxlen=LAST_EVENTS_KEPT)

    def application(self) -> web.Application:
        """POST anywhere is a callback, `GET /` the counters."""
        app = web.Application(client_max_size=MAX_BODY)
        app.router.add_get("/", self._counters)
        add_health_routes(app, self._ready)
        app.router.add_post("/{path:.*}", self._callback)
        return app

    async def _ready(self) -> dict[str, bool]:
        return {}

    async def _counters(self, _: web.Request) -> web.Response:
        counters = {
            "Received": self.received,
            "Verified": self.verified,
            "Failed": self.failed,
            "LastEvents": list(self._last),
        }
        return web.Response(body=msgspec.json.encode(counters), content_type="application/json")

    async def _callback(self, request: web.Request) -> web.Response:
        body = await request.read()
        sdk_app_id = request.headers.get("SdkAppId", "")
        signature = request.headers.get("Sign", "")
        verified = self._verify(sdk_app_id, signature, body)
        self.received += 1
        if verified:
            self.verified += 1
        else:
            self.failed += 1
        if self._on_callback is not None:
            self._on_callback(Callback(sdk_app_id, signature, verified, body, dict(request.headers)))
        self._show(sdk_app_id, body, verified=verified)
        if not verified:
            return json_answer({"code": 401, "message": "Sign does not match"}, status=401)
        return json_answer({"code": 0})

    def _verify(self, sdk_app_id: str, signature: str, body: bytes) -> bool:
        """Over the bytes as they came. An application without a key sends no `Sign`, and that is all right."""
        if not (sdk_app_id.isascii() and sdk_app_id.isdigit()):
            return False
        key = self._key_of(int(sdk_app_id))
        if key is None:
            return False
        return sign_matches(key, body, signature) if key else not signature

    def _show(self, sdk_app_id: str, body: bytes, *, verified: bool) -> None:
        try:
            event = msgspec.json.decode(body, type=dict[str, Any])
        except msgspec.DecodeError:
            event = {}
        self._last.append({**event, "SdkAppId": sdk_app_id, "Verified": verified})
        if not self._quiet:
            click.echo(f"{'ok    ' if verified else 'FAILED'} {describe(event)}")


def describe(event: dict[str, Any]) -> str:
    """One line about a callback."""
    found = event.get("EventInfo")
    info: dict[str, Any] = found if isinstance(found, dict) else {}
    event_type = event.get("EventType")
    name = EVENT_NAMES.get(event_type, "") if isinstance(event_type, int) else "not a callback"
    parts = [_time(info.get("EventMsTs")), str(event_type or "-"), f"{name:<23}"]
    parts += [
        f"{word} {msgspec.json.encode(info[field]).decode()}"
        for field, word in (("RoomId", "room"), ("UserId", "user"), ("Reason", "reason"), ("TaskId", "task"))
        if field in info
    ]
    payload = info.get("Payload")
    if isinstance(payload, dict) and "Status" in payload:
        parts.append(f"status {payload['Status']}")
    return " ".join(parts)


def keys_in(store: ApplicationStore) -> KeyOf:
    """Keys as the control plane has them now."""

    def key_of(sdk_app_id: int) -> str | None:
        try:
            return store.get(sdk_app_id).callback_key
        except UnknownApplication:
            return None

    return key_of


async def run(settings: Settings, stopping: asyncio.Event, *, quiet: bool = False) -> None:
    """Serve on `Settings.demo_receiver_port` until the event is set."""
    try:
        store = ApplicationStore(settings)
    except DatabaseUnusable as error:
        raise CannotStart(str(error)) from error
    receiver = Receiver(keys_in(store), quiet=quiet)
    runner = await start_site(receiver.application(), settings, settings.demo_receiver_port)
    try:
        await stopping.wait()
    finally:
        await runner.cleanup()
        store.close()


def _time(at_ms: object) -> str:
    if not isinstance(at_ms, int):
        return "--:--:--.---"
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%H:%M:%S.") + f"{at_ms % 1000:03d}"
