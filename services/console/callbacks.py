"""The interface of callbacks: what was sent, a test, what was given up, and sending it once more."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, get_args

import structlog
from aiokafka.errors import KafkaError
from msgspec import Meta, Struct

from schemas.deliveries import Outcome
from services.console.buckets import BUCKET_MS, bucket_of
from services.console.errors import ApiError
from services.console.monitor import Unavailable
from services.console.parameters import MAX_TIME_MS, answer, application_of, body, number, text
from services.console.queries import Narrowed
from services.console.replays import TooManyReplays
from services.console.rules import MAX_URL
from services.console.shown import show
from services.dispatcher.probe import NothingToTest, probe
from services.dispatcher.replay import Wanted, describe, find

if TYPE_CHECKING:
    from aiohttp import web

    from services.console.monitor import Monitor
    from services.console.replays import Replay, Replays
    from services.console.store import ApplicationStore
    from services.runtime.clock import Clock
    from services.runtime.settings import Settings

log = structlog.get_logger(__name__)

MAX_ATTEMPTS = 200
MAX_LETTERS = 1000
_Time = Annotated[int, Meta(ge=0, le=MAX_TIME_MS)]


class ProbeRequest(Struct, rename="pascal", forbid_unknown_fields=True):
    """Which URL a test callback goes to: that of this event group."""

    event_group_id: Annotated[int, Meta(ge=1, le=99)] = 1


class ReplayRequest(Struct, rename="pascal", forbid_unknown_fields=True):
    """Which callbacks are sent once more, all that are named applying together, and how quickly."""

    delivery_ids: Annotated[list[str], Meta(max_length=1000)] = []
    reasons: Annotated[list[str], Meta(max_length=100)] = []
    groups: Annotated[list[int], Meta(max_length=100)] = []
    event_types: Annotated[list[int], Meta(max_length=100)] = []
    rooms: Annotated[list[str], Meta(max_length=1000)] = []
    url: str = ""
    """How it began."""
    since: _Time = 0
    until: _Time = 0
    all: bool = False
    """Whatever is kept; needed where nothing narrows it down."""
    rate: Annotated[float, Meta(ge=0.1, le=1000)] = 50

    def wanted(self, sdk_app_id: int) -> Wanted:
        """The dead letters that are meant."""
        return Wanted(
            sdk_app_id=sdk_app_id,
            delivery_ids=frozenset(self.delivery_ids),
            since_ms=self.since,
            until_ms=self.until,
            reasons=frozenset(self.reasons),
            groups=frozenset(self.groups),
            event_types=frozenset(self.event_types),
            rooms=frozenset(self.rooms),
            url=self.url,
        )


class CallbackApi:
    """Handlers of `/api/applications/ID/…` that are about callbacks. Times are Unix milliseconds."""

    def __init__(
        self, settings: Settings, store: ApplicationStore, monitor: Monitor, replays: Replays, clock: Clock
    ) -> None:
        self._settings = settings
        self._store = store
        self._monitor = monitor
        self._replays = replays
        self._clock = clock
        self._tested: set[int] = set()
        """Applications to which a test callback is on its way."""
        self._reading = asyncio.Semaphore(1)
        """The dead letters of a month may be many: one reads them at a time."""

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Add the routes."""
        application = "/api/applications/{id:[0-9]+}"
        router.add_get(f"{application}/deliveries", self.deliveries)
        router.add_get(f"{application}/deliveries/{{name:.+}}", self.delivery)
        router.add_post(f"{application}/test-callback", self.test)
        router.add_get(f"{application}/dead-letters", self.dead_letters)
        router.add_get(f"{application}/replays", self.replays)
        router.add_post(f"{application}/replays", self.replay)
        router.add_get(f"{application}/replays/{{replay:[0-9a-f]+}}", self.progress)
        router.add_delete(f"{application}/replays/{{replay:[0-9a-f]+}}", self.stop)

    async def deliveries(self, request: web.Request) -> web.Response:
        """The last attempts to deliver callbacks, one row an attempt; with `at`, those until the end of that bucket.

        All other parameters narrow them down.
        """
        sdk_app_id = (await application_of(request, self._store)).sdk_app_id
        limit = number(request, "limit", default=50, low=1, high=MAX_ATTEMPTS)
        at = number(request, "at", default=self._clock() + BUCKET_MS, low=0, high=MAX_TIME_MS)
        until = number(request, "until", default=bucket_of(at) + BUCKET_MS, low=0, high=MAX_TIME_MS)
        since = number(request, "since", default=-1, low=0, high=MAX_TIME_MS)
        status = number(request, "status", default=-1, low=0, high=999)
        narrowed = Narrowed(
            outcome=text(request, "outcome", allowed=("", *get_args(Outcome))),
            search=text(request, "search"),
            room=text(request, "room"),
            event_group_id=number(request, "group", default=0, low=1, high=99),
            event_type=number(request, "event", default=0, low=100, high=9999),
            status=None if status < 0 else status,
            error_class=text(request, "error"),
            url=text(request, "url", max_characters=MAX_URL),
        )
        attempts = await self._monitor.attempts(
            sdk_app_id, since_ms=None if since < 0 else since, until_ms=until, limit=limit, narrowed=narrowed
        )
        return answer({"SdkAppId": sdk_app_id, "Deliveries": attempts})

    async def delivery(self, request: web.Request) -> web.Response:
        """One callback by its delivery id or its event's id: every attempt, and every byte that was sent."""
        application = await application_of(request, self._store)
        name = request.match_info["name"]
        shown = await show(self._monitor, application, name, self._clock())
        if shown is None:
            raise ApiError(404, "ResourceNotFound", "nothing is known of such a callback or event", "DeliveryId")
        return answer(shown)

    async def test(self, request: web.Request) -> web.Response:
        """Send a test callback and say what happened; 200 whatever it was. One at a time for an application."""
        application = await application_of(request, self._store)
        asked = await body(request, ProbeRequest)
        if application.sdk_app_id in self._tested:
            raise ApiError(409, "ResourceInUse", "a test callback of this application is on its way")
        self._tested.add(application.sdk_app_id)
        try:
            probed = await probe(self._settings, application, asked.event_group_id)
        except NothingToTest as error:
            raise ApiError(400, "InvalidParameter", str(error), "EventGroupId") from error
        finally:
            self._tested.discard(application.sdk_app_id)
        return answer(probed.describe())

    async def dead_letters(self, request: web.Request) -> web.Response:
        """Callbacks that were given up, those first that were given up first, and how many there are in all."""
        sdk_app_id = (await application_of(request, self._store)).sdk_app_id
        limit = number(request, "limit", default=100, low=1, high=MAX_LETTERS)
        reason, name, room = text(request, "reason"), text(request, "delivery"), text(request, "room")
        group = number(request, "group", default=0, low=1, high=99)
        event_type = number(request, "event", default=0, low=100, high=9999)
        wanted = Wanted(
            sdk_app_id=sdk_app_id,
            delivery_ids=frozenset(filter(None, [name])),
            since_ms=number(request, "since", default=0, low=0, high=MAX_TIME_MS),
            until_ms=number(request, "until", default=0, low=0, high=MAX_TIME_MS),
            reasons=frozenset(filter(None, [reason])),
            groups=frozenset(filter(None, [group])),
            event_types=frozenset(filter(None, [event_type])),
            rooms=frozenset(filter(None, [room])),
            url=text(request, "url", max_characters=MAX_URL),
        )
        try:
            async with self._reading:
                found = await find(self._settings, wanted, limit=limit)
        except (KafkaError, OSError) as error:
            log.warning("dead letters cannot be read", error=repr(error))
            raise Unavailable("Kafka does not answer") from error
        letters = [describe(letter) for letter in found.letters]
        return answer({"SdkAppId": sdk_app_id, "Total": found.total, "DeadLetters": letters})

    async def replays(self, request: web.Request) -> web.Response:
        """The replays of an application that this console knows of, the newest first."""
        sdk_app_id = (await application_of(request, self._store)).sdk_app_id
        return answer({"SdkAppId": sdk_app_id, "Replays": [one.describe() for one in self._replays.of(sdk_app_id)]})

    async def replay(self, request: web.Request) -> web.Response:
        """Begin to send callbacks that were given up once more: 202 and the replay, to be looked at again."""
        sdk_app_id = (await application_of(request, self._store)).sdk_app_id
        asked = await body(request, ReplayRequest)
        wanted = asked.wanted(sdk_app_id)
        if wanted.everything and not asked.all:
            raise ApiError(400, "InvalidParameter", "say which, for example by DeliveryIds, Since or Reasons, or All")
        try:
            started = self._replays.begin(wanted, asked.rate)
        except TooManyReplays as error:
            raise ApiError(429, "LimitExceeded", str(error)) from error
        return answer(started.describe(), status=202)

    async def progress(self, request: web.Request) -> web.Response:
        """How far a replay is."""
        return answer((await self._replay(request)).describe())

    async def stop(self, request: web.Request) -> web.Response:
        """Stop a replay; what was sent stays sent."""
        found = await self._replay(request)
        await self._replays.stop(found.id)
        return answer(found.describe())

    async def _replay(self, request: web.Request) -> Replay:
        sdk_app_id = (await application_of(request, self._store)).sdk_app_id
        name = request.match_info["replay"]
        found = next((one for one in self._replays.of(sdk_app_id) if one.id == name), None)
        if found is None:
            raise ApiError(404, "ResourceNotFound", "there is no such replay", "ReplayId")
        return found
