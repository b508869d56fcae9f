"""Looking up names, so that a slow name server delays nobody else and not the end of the process either.

Where a look-up fails it may be that nobody answers for the name, or that our own way to name servers is broken. The two
look the same; what tells them apart is whether another name, one that was found lately, is found still.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from aiohttp.abc import AbstractResolver, ResolveResult

if TYPE_CHECKING:
    from collections.abc import Callable

CHECK_WITHIN_S = 2.0
"""So long another name may take to be found."""
_CHECK_HOLDS_S = 1.0
_REMEMBERED = 8
_CERTAINLY_OURS = frozenset({socket.EAI_SYSTEM, socket.EAI_MEMORY, errno.EAGAIN, errno.EMFILE, errno.ENFILE})
_PERHAPS_OURS = frozenset({socket.EAI_AGAIN, socket.EAI_FAIL})
MAX_LOOKUPS = 64
"""Look-ups at the same time. The event loop's own would be four, and a slow one can take half a minute."""


class ThreadResolver(AbstractResolver):
    """Asks the system's resolver in threads that nobody waits for at the end."""

    def __init__(self, look_up: Callable[..., list[Any]] = socket.getaddrinfo) -> None:
        self._look_up = look_up
        self._free = asyncio.Semaphore(MAX_LOOKUPS)
        self._queued: Counter[str] = Counter()
        self._under_way: Counter[str] = Counter()
        self._found: dict[str, None] = {}
        """Names that were found lately, the last one last."""
        self._check: asyncio.Future[bool] | None = None
        self._checked_at = 0.0

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The addresses of a name. Raises `OSError`."""
        self._queued[host] += 1
        try:
            await self._free.acquire()
        finally:
            _less(self._queued, host)
        answer = await self._begin(host, port, family, self._free.release)
        self._found.pop(host, None)
        self._found[host] = None
        if len(self._found) > _REMEMBERED:
            del self._found[next(iter(self._found))]
        return [
            ResolveResult(
                hostname=host,
                host=address[0],
                port=address[1],
                family=found,
                proto=protocol,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for found, _, protocol, _, address in answer
        ]

    async def close(self) -> None:
        """Nothing to close."""

    async def failed_by_us(self, host: str, error: OSError) -> bool:
        """Whether it is our fault that a name was not found."""
        if error.errno in _CERTAINLY_OURS:
            return True
        return error.errno in _PERHAPS_OURS and not await self._finds_others(host)

    async def stuck_by_us(self, host: str) -> bool:
        """Whether a name is still being looked up, and that is our fault."""
        if self._queued[host]:
            return True
        return bool(self._under_way[host]) and not await self._finds_others(host)

    async def _finds_others(self, host: str) -> bool:
        others = [name for name in self._found if name != host]
        if not others:
            return False
        if self._check is None or (self._check.done() and time.monotonic() - self._checked_at > _CHECK_HOLDS_S):
            self._check = asyncio.ensure_future(self._finds(others[-1]))
        return await asyncio.shield(self._check)

    async def _finds(self, host: str) -> bool:
        try:
            async with asyncio.timeout(CHECK_WITHIN_S):
                await self._begin(host, 0, socket.AF_UNSPEC, lambda: None)
        except TimeoutError:
            return False
        except OSError as error:
            return error.errno not in _CERTAINLY_OURS | _PERHAPS_OURS
        finally:
            self._checked_at = time.monotonic()
        return True

    def _begin(
        self, host: str, port: int, family: socket.AddressFamily, on_end: Callable[[], None]
    ) -> asyncio.Future[list[Any]]:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[list[Any]] = loop.create_future()
        self._under_way[host] += 1

        def work() -> None:
            found: list[Any] | OSError
            try:
                found = self._look_up(host, port, family, socket.SOCK_STREAM, 0, socket.AI_ADDRCONFIG)
            except (OSError, UnicodeError) as error:
                found = error if isinstance(error, OSError) else OSError(str(error))
            # The loop is closed when the process is about to end.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(end, found)

        def end(found: list[Any] | OSError) -> None:
            _less(self._under_way, host)
            on_end()
            if answer.done():
                return
            if isinstance(found, OSError):
                answer.set_exception(found)
            else:
                answer.set_result(found)

        try:
            threading.Thread(target=work, name=f"look-up {host}", daemon=True).start()
        except RuntimeError as error:
            end(OSError(errno.EAGAIN, str(error)))
        return answer


def _less(counter: Counter[str], host: str) -> None:
    counter[host] -= 1
    if not counter[host]:
        del counter[host]
