"""One attempt over HTTP: what went out, what came back, how long it took."""

from __future__ import annotations

import asyncio
import errno
import io
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
from msgspec import Struct
from yarl import URL

from schemas.deliveries import MAX_STORED_RESPONSE
from services.dispatcher.addresses import BLOCKED_ERRNO, AddressGuard
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
_STREAMED_BYTES = 1 << 20
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
        self._session = aiohttp.ClientSession(
            connector=self._connector(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            skip_auto_headers=("Accept", "Accept-Encoding"),
            headers=_FIXED_HEADERS,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    def _connector(self) -> aiohttp.TCPConnector:
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
            target = _parse(url)
            async with asyncio.timeout(self._timeout_s):
                try:
                    await self._exchange(target, body, headers, answer)
                except aiohttp.ClientOSError as error:
                    if not _never_left(error):
                        raise
                    await self._exchange(target, body, headers, answer)
        except TimeoutError:
            answer.error_class, answer.error = "timeout", f"no complete answer within {self._timeout_s:g} s"
            if await self._stuck_by_us(target.raw_host or ""):
                answer.error_class, answer.error = "own-dns", "no name server answered in time"
        except (aiohttp.ClientError, OSError, ValueError, RuntimeError) as error:
            answer.error_class, answer.error = classify(error), str(error)[:MAX_STORED_RESPONSE]
            if await self._look_up_failed_by_us(error):
                answer.error_class = "own-dns"
        except Exception as error:
            # Whatever it is, it is one endpoint's, and the others must not feel it.
            log.exception("an attempt failed as nobody expected", url=url)
            answer.error_class, answer.error = "own", repr(error)[:MAX_STORED_RESPONSE]
        answer.duration_ms = round((time.perf_counter() - started) * 1000)
        return answer

    async def _exchange(self, target: URL, body: bytes, headers: Mapping[str, str], answer: Answer) -> None:
        """One request, and what can be told of its answer. Raises what went wrong."""
        # The client warns of longer ones that are not a stream.
        data = body if len(body) < _STREAMED_BYTES else io.BytesIO(body)
        async with self._session.post(target, data=data, headers=headers, allow_redirects=False) as response:
            answer.status = response.status
            answer.retry_after_ms = retry_after_ms(response.headers.get("Retry-After", ""), time.time())
            await _read(response, answer)

    async def _stuck_by_us(self, host: str) -> bool:
        return isinstance(self._resolver, ThreadResolver) and await self._resolver.stuck_by_us(host)

    async def _look_up_failed_by_us(self, error: BaseException) -> bool:
        if not isinstance(error, aiohttp.ClientConnectorDNSError) or not isinstance(self._resolver, ThreadResolver):
            return False
        return await self._resolver.failed_by_us(error.host, error.os_error)


def _never_left(error: aiohttp.ClientOSError) -> bool:
    """Whether a connection that was kept had been closed before the request was on it: nobody can have acted on it."""
    return isinstance(error.__cause__, aiohttp.ClientConnectionResetError)


def wire_headers(url: str, body: bytes, headers: Mapping[str, str]) -> dict[str, str]:
    """All headers of a request, those that `post` adds included, as the customer's server sees them."""
    host = _parse(url).host_port_subcomponent or ""
    return {"Host": host, **headers, **_FIXED_HEADERS, "Content-Length": str(len(body))}


async def _read(response: aiohttp.ClientResponse, answer: Answer) -> None:
    received = 0
    kept = b""
    async for chunk in response.content.iter_any():
        received += len(chunk)
        if len(kept) < MAX_STORED_RESPONSE:
            kept += chunk[: MAX_STORED_RESPONSE - len(kept)]
            answer.response = kept.decode("utf-8", "replace")
        if received > MAX_RESPONSE:
            response.close()
            answer.error_class, answer.error = "too-large", f"the answer is longer than {MAX_RESPONSE} bytes"
            return
    if response.status != 200:
        answer.error_class, answer.error = "status", f"status {response.status}"


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
        case aiohttp.ClientResponseError():
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
