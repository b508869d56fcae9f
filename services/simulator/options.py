"""What a user may ask of the simulator."""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct

from schemas.words import SdkAppId
from services.simulator.traffic.scenario import Scenario

PAST_OF_ENDLESS_MS = 6 * 3_600_000
"""An endless simulation that does not keep time begins so far back, and keeps time when it has caught up."""


TAIL_MS = 60_000
"""What is said of the last calls after their end: files of recordings, events that are sent again."""


class SimulationOptions(Struct, frozen=True, kw_only=True):
    """One run of `roompulse simulate`. Everything that decides the bodies is in `scenario`."""

    sdk_app_id: SdkAppId
    secret_key: str
    """The application's SDKSecretKey."""
    scenario: Scenario
    speed: float | None = 1.0
    """Simulated by real time; None is as fast as ingest takes it. Never ahead of the clock either way."""
    concurrency: int = 16
    """Requests at the same time."""
    ingest_url: str = ""
    """Empty: the ingest of the settings."""
    record: Path | None = None
    """A file that gets one JSON line for every event that was acknowledged."""


def first_ms(now_ms: int, *, speed: float | None, duration_ms: int | None) -> int:
    """Where simulated time begins when nobody says: so that it never gets ahead of the clock."""
    if speed is not None and speed <= 1:
        return now_ms
    return now_ms - (PAST_OF_ENDLESS_MS if duration_ms is None else duration_ms + TAIL_MS)
