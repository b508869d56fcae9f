"""Replays that were asked for over HTTP: they run here, one after the other, and tell how far they are."""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING, Any

import structlog
from aiokafka.errors import KafkaError

from services.dispatcher.replay import find, replay

if TYPE_CHECKING:
    from services.dispatcher.replay import Wanted
    from services.runtime.clock import Clock
    from services.runtime.settings import Settings

log = structlog.get_logger(__name__)

MAX_WAITING = 20
"""Replays of all applications that wait or run."""
MAX_KEPT = 100
"""Replays that are remembered, those that are over too."""


class TooManyReplays(Exception):
    """Others have to end first."""


class Replay:
    """One request to send callbacks once more."""

    def __init__(self, wanted: Wanted, rate: float, now_ms: int) -> None:
        self.id = secrets.token_hex(8)
        self.wanted = wanted
        self.rate = rate
        self.asked_ms = now_ms
        self.state = "waiting"
        """Then `counting`, `sending` and one of `done`, `failed`, `stopped`."""
        self.callbacks: int | None = None
        """How many there were to send when they were counted; None before that."""
        self.sent = 0
        self.error = ""

    @property
    def over(self) -> bool:
        """Whether nothing more comes of it."""
        return self.state in ("done", "failed", "stopped")

    def describe(self) -> dict[str, Any]:
        """The same for programs."""
        return {
            "ReplayId": self.id,
            "SdkAppId": self.wanted.sdk_app_id,
            "AskedTime": self.asked_ms,
            "State": self.state,
            "Rate": self.rate,
            "Callbacks": self.callbacks,
            "Sent": self.sent,
            "Error": self.error,
        }


class Replays:
    """Runs replays in the order in which they were asked for, so that their rates do not add up.

    Nothing of them outlives the process: what was sent stays sent, the rest has to be asked for again.
    """

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._replays: dict[str, Replay] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._turn = asyncio.Lock()

    def begin(self, wanted: Wanted, rate: float) -> Replay:
        """Start one. Raises `TooManyReplays`."""
        if len(self._tasks) >= MAX_WAITING:
            raise TooManyReplays(f"{MAX_WAITING} replays wait or run")
        for old in [one for one in self._replays.values() if one.over][: max(0, len(self._replays) - MAX_KEPT + 1)]:
            del self._replays[old.id]
        started = Replay(wanted, rate, self._clock())
        self._replays[started.id] = started
        task = asyncio.create_task(self._run(started), name=f"replay {started.id}")
        self._tasks[started.id] = task
        task.add_done_callback(lambda _: self._tasks.pop(started.id))
        return started

    def of(self, sdk_app_id: int) -> list[Replay]:
        """Those of an application, the newest first."""
        return [one for one in reversed(self._replays.values()) if one.wanted.sdk_app_id == sdk_app_id]

    async def stop(self, replay_id: str) -> None:
        """Send nothing more of one."""
        if (task := self._tasks.get(replay_id)) is not None:
            task.cancel()
            await asyncio.wait([task])

    async def close(self) -> None:
        """Stop all."""
        await asyncio.gather(*(self.stop(replay_id) for replay_id in list(self._tasks)))

    async def _run(self, started: Replay) -> None:
        def sent(_: object) -> None:
            started.sent += 1

        try:
            async with self._turn:
                started.state = "counting"
                started.callbacks = (await find(self._settings, started.wanted, limit=1)).total
                started.state = "sending"
                log.info(
                    "a replay begins", replay=started.id, sdk_app_id=started.wanted.sdk_app_id, found=started.callbacks
                )
                await replay(self._settings, started.wanted, rate=started.rate, on_sent=sent)
            started.state = "done"
            log.info("a replay is done", replay=started.id, sent=started.sent)
        except asyncio.CancelledError:
            started.state = "stopped"
            log.info("a replay was stopped", replay=started.id, sent=started.sent)
        except (KafkaError, OSError) as error:
            log.warning("a replay broke off", replay=started.id, sent=started.sent, error=repr(error))
            started.state, started.error = "failed", "Kafka does not answer"
        except Exception:
            log.exception("a replay broke off", replay=started.id, sent=started.sent)
            started.state, started.error = "failed", "unexpected error; the console's log has more"
