"""What travels: one request's worth of events, task intervals or a report, not yet bytes."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from schemas.reports import Report
from schemas.tasks import TaskInterval
from services.simulator.traffic.profiles import Encoding

Event = dict[str, Any]
"""An item of `POST /v1/events`, as JSON has it."""


class Events(Struct, frozen=True):
    """What a media server or recorder posts at once."""

    events: list[Event]
    copies: int = 0
    """How many of them were sent before."""


class Tasks(Struct, frozen=True):
    """What a recorder or relay posts at once."""

    intervals: list[TaskInterval]


class ClientReport(Struct, frozen=True):
    """A report without its credentials."""

    report: Report
    encoding: Encoding
    plain_text: bool
    """Browsers send `text/plain`, which needs no preflight."""
    signed_s: int
    """When the user got its UserSig, Unix seconds."""


Content = Events | Tasks | ClientReport


class Item(Struct, frozen=True, kw_only=True):
    """One request, made at one time and sent at that time or later, maybe twice."""

    made_ms: int
    send_ms: tuple[int, ...]
    """When it is sent; more than one where it is sent again."""
    lane: str
    """Who sends it: one sender's requests go out one after the other."""
    content: Content

    @property
    def samples(self) -> int:
        """How many samples it carries."""
        return len(self.content.report.samples) if isinstance(self.content, ClientReport) else 0
