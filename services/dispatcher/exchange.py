"""A request and the head of its answer: the HTTP client's connections and parser, without what it wraps around them.

A client's request, response and session objects, made anew for every callback, cost more than all else that a callback
does on its way. Here they are made once for each URL.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Self, cast

import aiohttp
from aiohttp.client_reqrep import ClientRequest

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from aiohttp.client_proto import ResponseHandler
    from aiohttp.connector import Connection
    from aiohttp.http import RawResponseMessage
    from yarl import URL

_NO_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=None)
"""Whoever makes an exchange has a deadline of its own."""
_SWITCHING_PROTOCOLS = 101
REST_S = 0.005
"""A connection is offered again so long after an answer: servers that close it after each do so at once, mostly without
saying that they will, and the next request would get nothing."""


class Target:
    """Where requests go, and the part of their head that is always the same."""

    __slots__ = ("after", "before", "request")

    def __init__(self, url: URL, headers: Mapping[str, str], session: aiohttp.ClientSession) -> None:
        """Raises `ValueError`."""
        self.request = ClientRequest(
            "POST",
            url,
            headers=headers,
            skip_auto_headers=("Accept", "Accept-Encoding"),
            loop=asyncio.get_running_loop(),
            session=session,
        )
        always = dict(self.request.headers)
        self.before = f"POST {self.request.url.raw_path_qs} HTTP/1.1\r\nHost: {always.pop('Host')}\r\n"
        always.pop("Content-Length", None)
        self.after = "".join(f"{name}: {value}\r\n" for name, value in always.items()) + "Content-Length: "

    def head(self, headers: Mapping[str, str], length: int) -> bytes:
        """The head of a request with further headers, which have to be clean."""
        own = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
        return f"{self.before}{own}{self.after}{length}\r\n\r\n".encode("ascii")


class Exchange:
    """As a context manager it sends the request and reads the head of the answer.

    The connection can be used again if the whole answer was read and nothing went wrong. Raises `aiohttp.ClientError`,
    `HttpProcessingError` for an answer that is none, and `OSError`.
    """

    __slots__ = ("_connection", "_connector", "_data", "_target", "content", "message")

    message: RawResponseMessage
    content: aiohttp.StreamReader

    def __init__(self, connector: aiohttp.BaseConnector, target: Target, data: bytes) -> None:
        self._connector = connector
        self._target = target
        self._data = data

    async def __aenter__(self) -> Self:
        connection = await self._connector.connect(self._target.request, [], _NO_TIMEOUT)
        while (transport := connection.transport) is None or transport.is_closing():
            # It was kept and has gone: nothing was sent, so another one is as good.
            connection.close()
            connection = await self._connector.connect(self._target.request, [], _NO_TIMEOUT)
        try:
            self.message, self.content = await _converse(
                cast("ResponseHandler", connection.protocol), transport, self._data
            )
        except BaseException:
            connection.close()
            raise
        self._connection: Connection = connection
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None and self.content.is_eof():
            asyncio.get_running_loop().call_later(REST_S, self._connection.release)
        else:
            self._connection.close()


async def _converse(
    protocol: ResponseHandler, transport: asyncio.Transport, data: bytes
) -> tuple[RawResponseMessage, aiohttp.StreamReader]:
    protocol.set_response_params(read_until_eof=True, auto_decompress=False)
    transport.write(data)
    while True:
        message, content = await protocol.read()
        # Before the answer there may be others that only say that it is on its way.
        if message.code >= 200 or message.code == _SWITCHING_PROTOCOLS:
            return message, content
