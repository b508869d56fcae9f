"""Looking up names, so that a slow name server delays nobody else and not the end of the process either."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from typing import TYPE_CHECKING, Any

from aiohttp.abc import AbstractResolver, ResolveResult

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_LOOKUPS = 64
"""Look-ups at the same time. The event loop's own would be four, and a slow one can take half a minute."""


class ThreadResolver(AbstractResolver):
    """Asks the system's resolver in threads that nobody waits for at the end."""

    def __init__(self, look_up: Callable[..., list[Any]] = socket.getaddrinfo) -> None:
        self._look_up = look_up
        self._free = asyncio.Semaphore(MAX_LOOKUPS)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The addresses of a name. Raises `OSError`."""
        await self._free.acquire()
        answer = self._begin(host, port, family)
        return [
            ResolveResult(
                hostname=host,
                host=address[0],
                port=address[1],
                family=found,
                proto=protocol,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for found, _, protocol, _, address in await answer
        ]

    async def close(self) -> None:
        """Nothing to close."""

    def _begin(self, host: str, port: int, family: socket.AddressFamily) -> asyncio.Future[list[Any]]:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[list[Any]] = loop.create_future()

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
            self._free.release()
            if answer.done():
                return
            if isinstance(found, OSError):
                answer.set_exception(found)
            else:
                answer.set_result(found)

        try:
            threading.Thread(target=work, name=f"look-up {host}", daemon=True).start()
        except RuntimeError as error:
            end(OSError(str(error)))
        return answer
