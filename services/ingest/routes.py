"""The calls of ingest: read, authenticate, validate, hand to Kafka, answer when Kafka has it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from msgspec import Struct

from schemas.answers import Acceptance, Rejection, ReportAcceptance, TimeAnswer
from schemas.topics import EVENTS, TASKS
from services.ingest import metrics
from services.ingest.answers import preflight
from services.ingest.bodies import Limits, body_too_large, check_content_type, content_coding, expand
from services.ingest.items import ReadItem, event_of, read_items, task_of
from services.ingest.places import Places
from services.ingest.refusals import Refusal, nothing_accepted, unavailable
from services.ingest.reports import read_report

if TYPE_CHECKING:
    from services.ingest.authentication import Gate
    from services.ingest.batches import Batcher
    from services.ingest.items import Record
    from services.ingest.outlet import Budget, Outlet
    from services.runtime.clock import Clock
    from services.runtime.settings import Settings

_encoder = msgspec.json.Encoder()


class Routes:
    """What ingest answers, beside health and metrics."""

    def __init__(
        self, settings: Settings, *, gate: Gate, outlet: Outlet, batcher: Batcher, budget: Budget, clock: Clock
    ) -> None:
        self._limits = Limits.of(settings)
        self._body_timeout_s = settings.ingest_body_timeout_s
        self._ack_timeout_s = settings.ingest_ack_timeout_s
        self._gate = gate
        self._outlet = outlet
        self._batcher = batcher
        self._budget = budget
        self._clock = clock
        self._places = Places(settings)
        self._closed = False

    def close(self) -> None:
        """Refuse new requests from now on: the service ends."""
        self._closed = True

    def add_to(self, app: web.Application) -> None:
        """Add every route."""
        app.router.add_post("/v1/events", self.events)
        app.router.add_post("/v1/tasks", self.tasks)
        app.router.add_post("/v1/reports", self.reports)
        app.router.add_get("/v1/time", self.time)
        app.router.add_options("/v1/reports", preflight)
        app.router.add_options("/v1/time", preflight)

    async def time(self, _: web.Request) -> web.Response:
        """Server time, from which a client takes its offset."""
        return _answer(TimeAnswer(server_ms=self._clock()))

    async def events(self, request: web.Request) -> web.Response:
        """Events of media servers, recorders and relays."""
        return await self._items(request, event_of, EVENTS.name)

    async def tasks(self, request: web.Request) -> web.Response:
        """What media tasks used."""
        return await self._items(request, task_of, TASKS.name)

    async def reports(self, request: web.Request) -> web.Response:
        """A quality report of one client."""
        coding = _headers(request)
        body = expand(await self._read(request), coding, self._limits)
        arrival_ms = self._clock()
        posted = read_report(body, arrival_ms, self._limits)
        self._gate.user(posted, arrival_ms)
        if posted.rejected and not posted.accepted:
            _count("reports", 0, posted.rejected)
            raise nothing_accepted(posted.rejected)
        if posted.report.client is not None:
            # Its address is not kept anywhere.
            place = self._places.of(request.remote, request.headers.getall("X-Forwarded-For", ()))
            posted.report.region, posted.report.isp = place
        encoded = _encoder.encode(posted.report)
        if len(encoded) > self._limits.record_bytes:
            raise Refusal(
                413, "ItemTooLarge", f"the report is larger than {self._limits.record_bytes} (ingest_max_record_bytes)"
            )
        await self._batcher.add(posted.report, encoded)
        _count("reports", posted.accepted, posted.rejected)
        return _answer(
            ReportAcceptance(
                accepted=posted.accepted,
                rejected=posted.rejected,
                seq=posted.report.seq,
                server_ms=self._clock(),
            )
        )

    async def _items(self, request: web.Request, read: ReadItem, kind: str) -> web.Response:
        coding = _headers(request)
        wire = await self._read(request)
        sdk_app_id, sign = request.headers.get("SdkAppId"), request.headers.get("Sign")
        body = expand(wire, coding, self._limits)
        bodies = (wire, body) if coding else (wire,)
        application = self._gate.signed(sdk_app_id, sign, *bodies)
        records, rejected = read_items(body, read, application.sdk_app_id, self._clock(), self._limits)
        if not records:
            _count(kind, 0, rejected)
            raise nothing_accepted(rejected)
        await self._deliver(records)
        _count(kind, len(records), rejected)
        return _answer(Acceptance(accepted=len(records), rejected=rejected))

    async def _deliver(self, records: list[Record]) -> None:
        size = sum(len(record.value) for record in records)
        self._budget.take(size)
        try:
            task = self._outlet.send(records)
        except Refusal:
            self._budget.give(size)
            raise
        task.add_done_callback(lambda _: self._budget.give(size))
        done, _ = await asyncio.wait([task], timeout=self._ack_timeout_s)
        if not done:
            raise unavailable("Kafka did not acknowledge in time")
        if task.cancelled() or task.exception() is not None:
            raise unavailable("Kafka did not take the items")

    async def _read(self, request: web.Request) -> bytes:
        """The body as it came over the wire. Raises `Refusal`."""
        if self._closed:
            raise unavailable("ingest is being stopped")
        limit = self._limits.body_bytes
        if (request.content_length or 0) > limit:
            raise body_too_large(self._limits)
        content = request.content
        if content.is_eof():
            body = content.read_nowait()
            if len(body) > limit:
                raise body_too_large(self._limits)
            return body
        chunks = bytearray()
        try:
            async with asyncio.timeout(self._body_timeout_s):
                while not content.at_eof():
                    chunk = await content.readany()
                    # Bodies that come slowly count as well, or many of them could fill the memory.
                    self._budget.take(len(chunk))
                    chunks += chunk
                    if len(chunks) > limit:
                        raise body_too_large(self._limits)
        except TimeoutError as error:
            raise Refusal(408, "BodyTimeout", "the body did not come in time (ingest_body_timeout_s)") from error
        except (web.RequestPayloadError, HttpProcessingError, ConnectionError) as error:
            raise Refusal(400, "InvalidRequest", "the body is cut off or not framed as HTTP has it") from error
        finally:
            self._budget.give(len(chunks))
        return bytes(chunks)


def _headers(request: web.Request) -> str:
    headers = request.headers
    check_content_type(headers.get("Content-Type", ""))
    return content_coding(headers.get("Content-Encoding", ""))


def _answer(value: Struct) -> web.Response:
    return web.Response(body=_encoder.encode(value), content_type="application/json")


def _count(kind: str, accepted: int, rejected: list[Rejection]) -> None:
    metrics.ACCEPTED.labels(kind).inc(accepted)
    for item in rejected:
        metrics.REJECTED.labels(kind, item.code).inc()
