"""What ingest says no to: a whole request, or one item of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from schemas.answers import Rejection

RETRY_AFTER_S = 1
"""Kafka comes back within seconds; senders add a wait of their own that grows."""


class Refusal(Exception):
    """A request of which nothing was taken."""

    def __init__(
        self,
        status: int,
        code: str,
        reason: str,
        field: str = "",
        *,
        rejected: list[Rejection] | None = None,
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(reason)
        self.status = status
        self.code = code
        self.reason = reason
        self.field = field
        self.rejected = rejected or []
        self.retry_after_s = retry_after_s


def unavailable(reason: str) -> Refusal:
    """The same bytes are welcome a little later."""
    return Refusal(503, "ServiceUnavailable", reason, retry_after_s=RETRY_AFTER_S)


def nothing_accepted(rejected: list[Rejection]) -> Refusal:
    """Every item of a request was rejected; the first one speaks for all."""
    first = rejected[0]
    reason = first.reason
    if len(rejected) > 1:
        reason = f"none of {len(rejected)} items can be used; item {first.index}: {first.reason}"
    return Refusal(422, first.code, reason, first.field, rejected=rejected)
