"""What a simulation counts, and its summary."""

from __future__ import annotations

import time

from msgspec import Struct

from services.simulator.traffic.items import ClientReport, Events, Item, Tasks

REASONS_KEPT = 5


class Refusal(Struct, frozen=True, rename="pascal"):
    """Something that ingest would not have."""

    path: str
    status: int
    code: str
    field: str
    reason: str


class Summary(Struct, frozen=True, kw_only=True, rename="pascal"):
    """How a simulation went. `Events`, `Reports`, `Samples` and `Intervals` count what was made, each once."""

    sdk_app_id: int
    seed: int
    start_ms: int
    reached_ms: int
    """Simulated time at the end."""
    events: int
    reports: int
    samples: int
    intervals: int
    requests: int
    """Requests that got a final answer."""
    copies: int
    """Events and reports that were sent once more on purpose."""
    accepted: int
    """Items that ingest took, by its own count; a copy counts again."""
    rejected: int
    refused: int
    """Requests that were refused as a whole."""
    refusals: list[Refusal]
    """The first of the rejected and refused."""
    retries: int
    bytes_sent: int
    seconds: float
    samples_per_second: float
    interrupted: bool


class Tally:
    """Counts while it goes."""

    def __init__(self, sdk_app_id: int, seed: int, start_ms: int) -> None:
        self.sdk_app_id = sdk_app_id
        self.seed = seed
        self.start_ms = start_ms
        self.reached_ms = start_ms
        self.events = 0
        self.reports = 0
        self.samples = 0
        self.intervals = 0
        self.requests = 0
        self.copies = 0
        self.accepted = 0
        self.rejected = 0
        self.refused = 0
        self.refusals: list[Refusal] = []
        self.retries = 0
        self.bytes_sent = 0
        self._began = time.monotonic()

    def made(self, send_ms: int, item: Item) -> None:
        """An item goes out."""
        self.reached_ms = max(self.reached_ms, send_ms)
        if send_ms != item.send_ms[0]:
            self.copies += 1
            return
        match item.content:
            case Events(events, copies):
                self.events += len(events) - copies
                self.copies += copies
            case Tasks(intervals):
                self.intervals += len(intervals)
            case ClientReport():
                self.reports += 1
                self.samples += item.samples

    def refuse(self, refusal: Refusal) -> None:
        """Keep the first few reasons."""
        if len(self.refusals) < REASONS_KEPT:
            self.refusals.append(refusal)

    def summary(self, *, interrupted: bool) -> Summary:
        """The numbers so far."""
        seconds = time.monotonic() - self._began
        return Summary(
            sdk_app_id=self.sdk_app_id,
            seed=self.seed,
            start_ms=self.start_ms,
            reached_ms=self.reached_ms,
            events=self.events,
            reports=self.reports,
            samples=self.samples,
            intervals=self.intervals,
            requests=self.requests,
            copies=self.copies,
            accepted=self.accepted,
            rejected=self.rejected,
            refused=self.refused,
            refusals=self.refusals,
            retries=self.retries,
            bytes_sent=self.bytes_sent,
            seconds=round(seconds, 3),
            samples_per_second=round(self.samples / seconds, 1) if seconds else 0.0,
            interrupted=interrupted,
        )
