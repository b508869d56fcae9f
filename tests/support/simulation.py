"""An ingest that checks what it gets with the contracts' own decoders, and keeps it: for tests of the simulator alone.

It has no Kafka behind it and promises nothing; what the real ingest does with the same traffic is tested with the
real one.
"""

from __future__ import annotations

import asyncio
import gzip
from typing import TYPE_CHECKING, Any, Literal, Self

import msgspec
import zstandard
from aiohttp import web

from schemas.callbacks import sign_matches
from schemas.events import EventRecord, read_event
from schemas.reports import Report
from schemas.tasks import TaskInterval
from services.runtime.usersig import verify

if TYPE_CHECKING:
    from collections.abc import Callable

SDK_APP_ID = 1400000001
SECRET_KEY = "5bd2850fff3ecb11d7c805251c51ee463a25727bddc2385f3fa8bfee1bb93b5e"
Interference = web.Response | Literal["hang up"] | None


class IngestStub:
    """Accepts everything that is right; `interfere(request_number)` may answer in its place."""

    def __init__(
        self,
        interfere: Callable[[int], Interference] | None = None,
        *,
        secret_key: str = SECRET_KEY,
        port: int = 0,
    ) -> None:
        self.requests: list[tuple[str, bytes]] = []
        """Path and body, unpacked, in order of arrival, of the requests that were answered with 200."""
        self.events: list[EventRecord] = []
        self.reports: list[Report] = []
        self.intervals: list[TaskInterval] = []
        self.wrong: list[str] = []
        self.seen = 0
        self.busy = 0
        self.busiest = 0
        self.url = ""
        self._interfere = interfere
        self._secret_key = secret_key
        self._port = port
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=1 << 24)
        app.router.add_post("/v1/{kind}", self._take)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port)
        await site.start()
        assert site._server is not None
        port = site._server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]
        self.url = f"http://127.0.0.1:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    async def _take(self, request: web.Request) -> web.Response:
        self.seen += 1
        raw = unpacked(await request.read())
        answer = self._interfere(self.seen) if self._interfere is not None else None
        self.busy += 1
        self.busiest = max(self.busiest, self.busy)
        try:
            await asyncio.sleep(0)
            if answer == "hang up":
                assert request.transport is not None
                request.transport.close()
                return web.Response()
            if answer is not None:
                return answer
            accepted = self._check(request, raw)
        except Exception as error:
            self.wrong.append(f"{request.path}: {error!r}: {raw[:300]!r}")
            return web.json_response({"Error": {"Code": "Wrong", "Reason": str(error)}}, status=400)
        finally:
            self.busy -= 1
        self.requests.append((request.path, raw))
        return web.json_response({"Accepted": accepted, "Rejected": []})

    def _check(self, request: web.Request, raw: bytes) -> int:
        if request.path == "/v1/reports":
            return self._check_report(raw)
        assert request.headers["SdkAppId"] == str(SDK_APP_ID)
        assert sign_matches(self._secret_key, raw, request.headers["Sign"]), "Sign"
        parts = [bytes(item) for item in msgspec.json.decode(raw, type=list[msgspec.Raw])] if raw[:1] == b"[" else [raw]
        for part in parts:
            if request.path == "/v1/events":
                self.events.append(read_event(SDK_APP_ID, part, 0))
            else:
                self.intervals.append(msgspec.json.decode(part, type=TaskInterval))
        return len(parts)

    def _check_report(self, raw: bytes) -> int:
        report = msgspec.json.decode(raw, type=Report)
        verify(
            report.user_sig,
            sdk_app_id=SDK_APP_ID,
            key=self._secret_key,
            user_id=report.user_id,
            now=report.sent_ms // 1000,
        )
        self.reports.append(report)
        return len(report.samples) + len(report.events)


def unpacked(body: bytes) -> bytes:
    """The body as it was before it was packed with gzip or zstd; aiohttp's server has undone some of it already."""
    if body.startswith(b"\x1f\x8b"):
        return gzip.decompress(body)
    if body.startswith(b"\x28\xb5\x2f\xfd"):
        return zstandard.decompress(body)
    return body


def error_answer(status: int, code: str, **headers: str) -> web.Response:
    """A refusal as the ingest contract spells it."""
    body: dict[str, Any] = {"Error": {"Code": code, "Reason": "for the test"}, "RequestId": "1"}
    return web.json_response(body, status=status, headers=headers)
