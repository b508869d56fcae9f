"""What is simulated: the knobs that together decide every byte."""

from __future__ import annotations

from msgspec import Struct


class Scenario(Struct, frozen=True, kw_only=True):
    """A simulation. Two equal scenarios give the same bodies in the same order."""

    start_ms: int
    """Simulated time begins here, Unix milliseconds."""
    duration_ms: int | None = None
    """No room life goes on for much longer than this; None is endless."""
    seed: int = 1
    rooms: int = 20
    users_per_room: int = 6
    """About as many enter each call; it varies by 40 % either way."""
    samples: int | None = None
    """Stop, wherever the rooms are, when about so many samples have been made."""

    duplicates: float = 0.0
    """Share of events and reports that are sent a second time, up to 30 s later."""
    reorder: float = 0.0
    """Share of events and reports that are overtaken: held back for 1 to 8 s."""
    late: float = 0.0
    """Share of reports that are held back for up to `late_max_ms`."""
    late_max_ms: int = 600_000

    @property
    def end_ms(self) -> int | None:
        """When the last room closes, None where none is the last."""
        return None if self.duration_ms is None else self.start_ms + self.duration_ms

    @property
    def run(self) -> str:
        """Names the run: ids carry it, so that the same seed at another time makes other events and sessions."""
        return f"{self.seed}@{self.start_ms}"
