"""Who may ask: the console's own pages and programs, not the pages of others in the same browser."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from aiohttp import web

from services.console.errors import ApiError

if TYPE_CHECKING:
    from aiohttp.typedefs import Handler, Middleware


def refuse_foreign_pages(*, only_local_names: bool) -> Middleware:
    """Refuse what another site's page loads from here.

    With `only_local_names`, for a console that only this machine reaches, a Host that is neither an address nor
    `localhost` is refused too: a foreign page can have its own name resolve to 127.0.0.1 and then passes for ours.
    """

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        if only_local_names and not is_local_name(request.headers.get("Host", "")):
            raise ApiError(421, "UnauthorizedOperation", "this console is for this machine: call it by its address")
        site = request.headers.get("Sec-Fetch-Site", "none")
        if request.method in ("GET", "HEAD"):
            # Following a link from elsewhere is fine: the other page does not get to see what it leads to.
            foreign = site == "cross-site" and request.headers.get("Sec-Fetch-Mode") != "navigate"
        else:
            # Another port of this machine is the same site, yet somebody else's.
            foreign = site not in ("none", "same-origin")
        if foreign:
            raise ApiError(403, "UnauthorizedOperation", "not for the pages of other sites")
        return await handler(request)

    return guard


def is_local_name(host: str) -> bool:
    """Whether a Host header is an address, `localhost`, or missing as in no browser."""
    if not host:
        return True
    try:
        name = urlsplit(f"//{host}").hostname or ""
        if name == "localhost" or name.endswith(".localhost"):
            return True
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a server that listens there."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
