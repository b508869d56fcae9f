"""One attempt over HTTP: what went out, what came back, how long it took."""

from __future__ import annotations

import asyncio
import errno
import re
import ssl
import time
from datetime import UTC
from email.utils import parsedate_to_datetime
from functools import lru_cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Self

import aiohttp
import structlog
from aiohttp.http_exceptions import HttpProcessingError
from msgspec import Struct
from yarl import URL

from schemas.deliveries import MAX_STORED_RESPONSE
from services.dispatcher.addresses import BLOCKED_ERRNO, AddressGuard
from services.dispatcher.exchange import REST_S, Exchange, Target
from services.dispatcher.proxy import EgressProxy, ProxyConnector, ProxyFailure
from services.dispatcher.resolver import ThreadResolver

if TYPE_CHECKING:
    from collections.abc import Mapping

    from services.runtime.settings import Settings

log = structlog.get_logger(__name__)

MAX_RESPONSE = 64 * 1024
"""Bytes of an answer's body that are read at most; a longer one is a failure."""
_KEEP_ALIVE_S = 15.0
_DNS_CACHE_S = 10
_TARGETS_KEPT = 16_384
_SECONDS = re.compile(r"[0-9]{1,9}")
_VISIBLE = re.compile(r"[!-~]*")
_OUR_ERRORS = frozenset(
    {
        *(errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL),
        *(errno.ENETUNREACH, errno.ENETDOWN),
    }
)
"""Numbers of the system's errors that say that this machine has no sockets, or no network, left."""
USER_AGENT = f"Roompulse/{version('roompulse')}"
_FIXED_HEADERS = {"User-Agent": USER_AGENT, "Content-Type": "application/json"}


class Answer(Struct):
    """What an attempt came to. `error_class` is empty when it succeeded."""

    status: int = 0
    """HTTP status, 0 where none was received."""
    duration_ms: int = 0
    error_class: str = ""
    error: str = ""
    response: str = ""
    retry_after_ms: int = 0
    """How long the endpoint asked to be left alone, 0 where it did not ask."""

    @property
    def succeeded(self) -> bool:
        """Whether the customer has the callback: status 200, read to its end, in time."""
        return not self.error_class


class HttpSender:
    """Posts callbacks over connections that are kept alive.

    Everything counts against one deadline, from the look-up of the name to the last byte of the answer. Redirects are
    not followed, cookies not kept, bodies not decompressed, certificates verified. Any status but 200 is a failure.
    """

    def __init__(
        self,
        *,
        timeout_s: float,
        guard: AddressGuard,
        resolver: ThreadResolver | None = None,
        proxy: EgressProxy | None = None,
    ) -> None:
        self._timeout_s = timeout_s
        self._guard = guard
        self._resolver = resolver or ThreadResolver()
        self._proxy = proxy

    @classmethod
    def of_settings(
        cls, settings: Settings, *, guard: AddressGuard | None = None, resolver: ThreadResolver | None = None
    ) -> Self:
        """The sender that an installation wants. Raises `ValueError` for a setting that is none."""
        try:
            guard = guard or AddressGuard(settings.callback_allow)
        except ValueError as error:
            raise ValueError(f"ROOMPULSE_CALLBACK_ALLOW: {error}") from error
        try:
            proxy = EgressProxy.parse(settings.callback_proxy)
        except ValueError as error:
            raise ValueError(f"ROOMPULSE_CALLBACK_PROXY: {error}") from error
        return cls(timeout_s=settings.callback_timeout_s, guard=guard, resolver=resolver, proxy=proxy)

    async def __aenter__(self) -> Self:
        self._connector = self._make_connector()
        self._session = aiohttp.ClientSession(connector=self._connector, cookie_jar=aiohttp.DummyCookieJar())
        self._targets: dict[str, Target] = {}
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()
        # Connections that rest are let go of.
        await asyncio.sleep(2 * REST_S)

    def _make_connector(self) -> aiohttp.TCPConnector:
        options: dict[str, Any] = {
            # How many requests are in the air is decided before they come here.
            "limit": 0,
            "keepalive_timeout": _KEEP_ALIVE_S,
            "ttl_dns_cache": _DNS_CACHE_S,
            "resolver": self._resolver,
        }
        if self._proxy is None:
            return aiohttp.TCPConnector(socket_factory=self._guard.open_socket, **options)
        return ProxyConnector(self._proxy, self._guard, within_s=self._timeout_s, **options)

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Send a body and wait for the answer. Never raises."""
        started = time.perf_counter()
        answer = Answer()
        try:
            target = self._target(url)
            data = target.head(headers, len(body)) + body
            async with asyncio.timeout(self._timeout_s), Exchange(self._connector, target, data) as exchange:
                answer.status = exchange.message.code
                if (header := exchange.message.headers.get("Retry-After")) is not None:
                    answer.retry_after_ms = retry_after_ms(header, time.time())
                await _read(exchange.content, answer)
        except TimeoutError:
            answer.error_class, answer.error = "timeout", f"no complete answer within {self._timeout_s:g} s"
            if await self._resolver.stuck_by_us(target.request.url.raw_host or ""):
                answer.error_class, answer.error = "own-dns", "no name server answered in time"
        except (aiohttp.ClientError, HttpProcessingError, OSError, ValueError, RuntimeError) as error:
            answer.error_class, answer.error = classify(error), str(error)[:MAX_STORED_RESPONSE]
            if await self._look_up_failed_by_us(error):
                answer.error_class = "own-dns"
        except Exception as error:
            # Whatever it is, it is one endpoint's, and the others must not feel it.
            log.exception("an attempt failed as nobody expected", url=url)
            answer.error_class, answer.error = "own", repr(error)[:MAX_STORED_RESPONSE]
        answer.duration_ms = round((time.perf_counter() - started) * 1000)
        return answer

    def _target(self, url: str) -> Target:
        target = self._targets.get(url)
        if target is None:
            target = Target(_parse(url), _FIXED_HEADERS, self._session)
            if len(self._targets) >= _TARGETS_KEPT:
                del self._targets[next(iter(self._targets))]
            self._targets[url] = target
        return target

    async def _look_up_failed_by_us(self, error: BaseException) -> bool:
        if not isinstance(error, aiohttp.ClientConnectorDNSError):
            return False
        return await self._resolver.failed_by_us(error.host, error.os_error)


def wire_headers(url: str, body: bytes, headers: Mapping[str, str]) -> dict[str, str]:
    """All headers of a request, those that `post` adds included, as the customer's server sees them."""
    host = _parse(url).host_port_subcomponent or ""
    return {"Host": host, **headers, **_FIXED_HEADERS, "Content-Length": str(len(body))}


async def _read(content: aiohttp.StreamReader, answer: Answer) -> None:
    received = 0
    kept = b""
    async for chunk in content.iter_any():
        received += len(chunk)
        if len(kept) < MAX_STORED_RESPONSE:
            kept += chunk[: MAX_STORED_RESPONSE - len(kept)]
            answer.response = kept.decode("utf-8", "replace")
        if received > MAX_RESPONSE:
            answer.error_class, answer.error = "too-large", f"the answer is longer than {MAX_RESPONSE} bytes"
            return
    if answer.status != 200:
        answer.error_class, answer.error = "status", f"status {answer.status}"


def retry_after_ms(header: str, now_s: float) -> int:
    """Milliseconds that a header `Retry-After` asks for, in either of its two forms; 0 where it is none."""
    if _SECONDS.fullmatch(header):
        return int(header) * 1000
    try:
        date = parsedate_to_datetime(header)
        # A date without a zone means the one that HTTP has.
        return max(0, round((date.replace(tzinfo=date.tzinfo or UTC).timestamp() - now_s) * 1000))
    except (ValueError, OverflowError):
        return 0


def classify(error: BaseException) -> str:
    """The class of what went wrong, in one word."""
    cause = getattr(error, "os_error", None) or error
    if getattr(cause, "errno", None) == BLOCKED_ERRNO:
        return "blocked"
    match error:
        case ProxyFailure():
            return "egress-proxy"
        case aiohttp.ClientConnectorDNSError():
            return "dns"
        case aiohttp.ClientSSLError() | ssl.SSLError():
            return "tls"
        case aiohttp.InvalidURL() | ValueError():
            return "url"
        case HttpProcessingError():
            return "protocol"
        case aiohttp.ServerDisconnectedError() | aiohttp.ClientPayloadError():
            return "reset"
        case aiohttp.ClientOSError(errno=None) if not isinstance(error, aiohttp.ClientConnectorError):
            # The connection was there, and had gone when something was to be written to it.
            return "reset"
        case _:
            pass
    match getattr(cause, "errno", None):
        case errno.ECONNREFUSED:
            return "refused"
        case errno.ECONNRESET | errno.EPIPE:
            return "reset"
        case number if number in _OUR_ERRORS:
            return "own"
        case _:
            return "connect"


@lru_cache(maxsize=16_384)
def _parse(url: str) -> URL:
    # Anything else could end the request line and begin a header of its own.
    if not _VISIBLE.fullmatch(url):
        raise aiohttp.InvalidURL(url, "only visible ASCII characters can be in a URL")
    # Already escaped: the customer's spelling of path and query is what goes out.
    parsed = URL(url, encoded=True)
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise aiohttp.InvalidURL(url, "callbacks go to http and https URLs only")
    return parsed
