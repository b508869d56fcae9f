"""The built pages: the document, its hashed assets, and the headers that keep foreign scripts out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import structlog
from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

log = structlog.get_logger(__name__)

IMMUTABLE = "public, max-age=31536000, immutable"
DIST = Path(__file__).parent / "web" / "dist"
NOT_BUILT = (
    "The console's pages are not built. Run `python -m services.console.web.build` "
    "(`make run` does it by itself) and load this page again.\n"
)
_POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
)
SECURITY_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


async def add_security_headers(_: web.Request, response: web.StreamResponse) -> None:
    """Add them to every answer, streams and errors included."""
    response.headers.update(SECURITY_HEADERS)


def add_pages(router: web.UrlDispatcher, dist: Path = DIST) -> None:
    """Serve `/` and what it loads. Names of assets carry a hash of their content, so browsers may keep them."""
    if not (dist / "index.html").is_file():
        log.warning("the console's pages are not built; run `python -m services.console.web.build`")
    router.add_get("/", _document(dist))
    router.add_get(r"/assets/{name:[A-Za-z0-9_][A-Za-z0-9._-]*}", _file(dist / "assets", IMMUTABLE))
    router.add_get(r"/{name:theme\.js|favicon\.svg}", _file(dist, "no-cache"))


def _document(dist: Path) -> Handler:
    async def document(_: web.Request) -> web.StreamResponse:
        path = dist / "index.html"
        if not path.is_file():
            return web.Response(text=NOT_BUILT, status=503, headers={"Cache-Control": "no-store"})
        return web.FileResponse(path, headers={"Cache-Control": "no-cache"})

    return document


def _file(folder: Path, caching: str) -> Handler:
    async def file(request: web.Request) -> web.StreamResponse:
        path = folder / request.match_info["name"]
        if not path.is_file():
            raise web.HTTPNotFound
        return web.FileResponse(path, headers={"Cache-Control": caching})

    return file
