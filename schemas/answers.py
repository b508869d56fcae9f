"""What ingest answers, in the same shapes for every call."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from schemas.words import UnixMs

Count = Annotated[int, Meta(ge=0)]


class Rejection(Struct, rename="pascal", frozen=True, kw_only=True):
    """One item that was refused for good: sending it again would be refused again."""

    index: Count
    """Place of the item in the list that it came in, counted from 0."""
    field: str
    """Path of what is wrong, within an event or a task interval (`EventInfo.RoomId`) or from the top of a report
    (`Samples[3].Local[0].Width`); empty where it is the item as a whole."""
    code: str
    """The kind of error, in one word."""
    reason: str
    """The error, in a sentence."""


class Acceptance(Struct, rename="pascal", frozen=True, kw_only=True):
    """Status 200 of events and task intervals: the accepted items are on disk."""

    accepted: Count
    """How many items were accepted."""
    rejected: list[Rejection]
    """The others, each with its reason."""


class ReportAcceptance(Acceptance, rename="pascal", frozen=True, kw_only=True):
    """Status 200 of a report: its samples and events are on disk, but for those that are named."""

    seq: Annotated[int, Meta(ge=1, le=2**31)]
    """The report's own number: this report is safe."""
    server_ms: UnixMs
    """The server's clock."""


class ErrorDetail(Struct, rename="pascal", omit_defaults=True, frozen=True, kw_only=True):
    """What went wrong."""

    code: str
    """The kind of error, in one word or, for a UserSig, in the words of the vendor's verifier."""
    reason: str
    """The error, in a sentence."""
    field: str | None = None
    """Path of the field that is to blame, where it is one."""


class ErrorAnswer(Struct, rename="pascal", omit_defaults=True, frozen=True, kw_only=True):
    """Every status but 200: nothing of the request was accepted."""

    error: ErrorDetail
    request_id: str
    """Names the request in the logs; the header `X-Request-Id` says the same."""
    rejected: list[Rejection] = []
    """Each item with its reason, where the request could be read but no item in it could be accepted (status 422)."""
    server_ms: UnixMs | None = None
    """The server's clock, in answers to reports."""


class TimeAnswer(Struct, rename="pascal", frozen=True, kw_only=True):
    """Answer of `GET /v1/time`."""

    server_ms: UnixMs
    """The server's clock."""
