"""The way out through an HTTP proxy: tunnels to addresses that were vetted here.

A tunnel (`CONNECT`) is asked for whatever the URL's scheme is. Names are looked up on this side and the proxy is told
an address, so it cannot be led elsewhere; what goes through the tunnel is the same as without a proxy, the name in TLS
and in `Host` included. Requests in absolute form could not have that for plain HTTP: a proxy has to write `Host` anew
from the address that it is told, and its own answers could not be told from those of the endpoint.
"""

from __future__ import annotations

import asyncio
import base64
import re
import socket
import ssl
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import aiohappyeyeballs
import aiohttp
from msgspec import Struct

from services.dispatcher.addresses import BlockedAddress
from services.dispatcher.resolver import ThreadResolver

if TYPE_CHECKING:
    from aiohappyeyeballs import AddrInfoType

    from services.dispatcher.addresses import AddressGuard

USUAL_PORT = 3128
MAX_HEAD_BYTES = 16 * 1024
"""Of a proxy's answer."""
_TO_THE_PROXY, _TO_THE_ENDPOINT, _TO_TELL = 0.5, 0.8, 0.1
"""Parts of an attempt's time: for a connection to the proxy, for the tunnel, for telling whose fault it is without."""
_ANYTHING = b"OPTIONS * HTTP/1.1\r\nHost: proxy\r\nConnection: close\r\n\r\n"
_STATUS = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})[ \r]")
_BEYOND = frozenset({500, 502, 503, 504})
"""Answers by which proxies say that they are well and what is behind them cannot be reached."""


class ProxyFailure(aiohttp.ClientConnectionError):
    """The egress proxy cannot be used: that is no fault of the endpoint."""


class BeyondProxy(aiohttp.ClientConnectionError):
    """The egress proxy does not get a connection to the endpoint."""


class EgressProxy(Struct, frozen=True):
    """An HTTP proxy, and how to be let through."""

    host: str
    port: int
    authorization: str = ""
    """Value of the header `Proxy-Authorization`: nothing that may be shown."""

    @classmethod
    def parse(cls, url: str) -> EgressProxy | None:
        """The proxy of a setting, `http://user:password@host:port`, None for an empty one.

        Raises `ValueError`, whose text has nothing of the setting in it, since there may be a password.
        """
        if not url:
            return None
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            host = None
        if host is None or parts.scheme != "http" or parts.path not in ("", "/") or parts.query or parts.fragment:
            raise ValueError("must be http://host:port or http://user:password@host:port")
        authorization = ""
        if parts.username is not None:
            secret = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            authorization = f"Basic {base64.b64encode(secret.encode()).decode()}"
        return cls(host, port or USUAL_PORT, authorization)

    def __repr__(self) -> str:
        return f"EgressProxy({self.host}:{self.port})"

    async def tunnel(self, address: str, port: int, *, within_s: float) -> socket.socket:
        """A socket that leads to an address.

        Raises `ProxyFailure`, `BeyondProxy`, and `TimeoutError` where the proxy is well and the endpoint may not be.
        """
        connected = await self._connected(within_s * _TO_THE_PROXY)
        try:
            target = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
            async with asyncio.timeout(within_s * _TO_THE_ENDPOINT):
                await self._ask(connected, target)
        except TimeoutError:
            connected.close()
            # A proxy that is busy with an endpoint is silent, and so is one that does nothing any more.
            if not await self._answers(within_s * _TO_TELL):
                raise ProxyFailure("the egress proxy does not answer") from None
            raise
        except BaseException:
            connected.close()
            raise
        return connected

    async def _answers(self, within_s: float) -> bool:
        """Whether the proxy says anything when it is asked what concerns nobody else."""
        loop = asyncio.get_running_loop()
        try:
            with await self._connected(within_s) as connected:
                async with asyncio.timeout(within_s):
                    await loop.sock_sendall(connected, _ANYTHING)
                    await loop.sock_recv(connected, 1)
        except (ProxyFailure, TimeoutError):
            return False
        except OSError:
            pass
        return True

    async def _connected(self, within_s: float) -> socket.socket:
        """A connection to the proxy. Raises `ProxyFailure`."""
        try:
            async with asyncio.timeout(within_s):
                return await self._connect()
        except TimeoutError as error:
            raise ProxyFailure(f"the egress proxy takes no connection within {within_s:g} s") from error
        except OSError as error:
            raise ProxyFailure(f"the egress proxy cannot be reached: {error}") from error

    async def _connect(self) -> socket.socket:
        found = await ThreadResolver().resolve(self.host, self.port, socket.AF_UNSPEC)
        addresses: list[AddrInfoType] = [
            (
                one["family"],
                socket.SOCK_STREAM,
                one["proto"],
                "",
                (one["host"], one["port"], 0, 0) if one["family"] == socket.AF_INET6 else (one["host"], one["port"]),
            )
            for one in found
        ]
        return await aiohappyeyeballs.start_connection(addresses, happy_eyeballs_delay=0.25)

    async def _ask(self, connected: socket.socket, target: str) -> None:
        """Have the proxy open the tunnel."""
        loop = asyncio.get_running_loop()
        lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
        if self.authorization:
            lines.append(f"Proxy-Authorization: {self.authorization}")
        head = b""
        try:
            await loop.sock_sendall(connected, "\r\n".join([*lines, "", ""]).encode())
            while b"\r\n\r\n" not in head:
                received = await loop.sock_recv(connected, 4096)
                head += received
                if not received or len(head) > MAX_HEAD_BYTES:
                    raise ProxyFailure("the egress proxy gives no answer to CONNECT")
        except OSError as error:
            raise ProxyFailure(f"the connection to the egress proxy broke: {error}") from error
        found = _STATUS.match(head)
        status = int(found[1]) if found else 0
        if status in _BEYOND:
            raise BeyondProxy(f"the egress proxy does not reach {target}, it answers CONNECT with {status}")
        # Whoever is behind the tunnel speaks when it is spoken to: what is there already is not from there.
        if not 200 <= status < 300 or head.index(b"\r\n\r\n") != len(head) - 4:
            raise ProxyFailure(f"the egress proxy answers CONNECT with {status or 'something else than HTTP'}")


class ProxyConnector(aiohttp.TCPConnector):
    """Connects as its base does, all of it through a proxy, to addresses that the guard has vetted."""

    def __init__(self, proxy: EgressProxy, guard: AddressGuard, *, within_s: float, **options: Any) -> None:
        super().__init__(**options)
        self._egress = proxy
        self._guard = guard
        self._within_s = within_s

    # The base has no public place for this; packages for other kinds of proxies use the same one.
    async def _wrap_create_connection(
        self, *args: Any, addr_infos: list[AddrInfoType], req: aiohttp.ClientRequest, **options: Any
    ) -> Any:
        connected = await self._first_of(addr_infos)
        kept = {name: options[name] for name in ("ssl", "server_hostname") if name in options}
        try:
            return await self._loop.create_connection(*args, **kept, sock=connected)
        except ssl.CertificateError as error:
            raise aiohttp.ClientConnectorCertificateError(req.connection_key, error) from error
        except ssl.SSLError as error:
            raise aiohttp.ClientConnectorSSLError(req.connection_key, error) from error
        except OSError as error:
            raise aiohttp.ClientConnectorError(req.connection_key, error) from error

    async def _first_of(self, addr_infos: list[AddrInfoType]) -> socket.socket:
        """A tunnel to the first address that may be and can be reached."""
        failure: Exception = OSError("the name has no address")
        for *_, address in addr_infos:
            host, port = str(address[0]), int(address[1])
            try:
                self._guard.vet(host)
                return await self._egress.tunnel(host, port, within_s=self._within_s)
            except BeyondProxy as error:
                failure = error
            except BlockedAddress as error:
                failure = failure if isinstance(failure, BeyondProxy) else error
        raise failure
