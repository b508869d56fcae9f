"""Running a service as a process: one event loop, a clean stop on SIGTERM and SIGINT, one line for what is wrong."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import uvloop

from services.runtime.logging import configure_logging
from services.runtime.secrets import SecretKeyError

if TYPE_CHECKING:
    from services.runtime.settings import Settings

ServiceBody = Callable[["Settings", asyncio.Event], Awaitable[None]]
"""Does a service's work until the event is set, then cleans up and returns."""


class CannotStart(Exception):
    """A service cannot start; the message says why and what to do, in one line."""


def run_service(name: str, settings: Settings, body: ServiceBody) -> None:
    """Run until SIGTERM or SIGINT; exit with status 1 and one line on standard error where it cannot start."""
    configure_logging(settings, name)

    async def main() -> None:
        stopping = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stopping.set)
        await body(settings, stopping)

    try:
        with contextlib.suppress(KeyboardInterrupt):
            uvloop.run(main())
    except (CannotStart, SecretKeyError) as error:
        sys.exit(f"roompulse {name}: {error}")
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            sys.exit(
                f"roompulse {name}: {error.strerror}. Another program has the port; choose one with ROOMPULSE_…_PORT"
            )
        raise
