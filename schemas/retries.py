"""Callbacks that wait: what topics `retries`, `dead-letters` and `disabled-endpoints` carry."""

from __future__ import annotations

from msgspec import Struct

from schemas.events import EventRecord
from schemas.words import SdkAppId, UnixMs


class RetryRecord(Struct, rename="pascal", omit_defaults=True, kw_only=True):
    """The value of one record of topic `retries`, its key the delivery id: everything that the next attempt needs.

    The record of a callback is in the partition `source_partition` modulo the partitions of the topic, so that whoever
    consumes a partition of `events` knows where its callbacks wait.
    """

    delivery_id: str
    event: EventRecord
    accepted_ms: UnixMs
    """When Kafka had the event."""
    source_partition: int
    source_offset: int
    callback_ts: UnixMs
    """`CallbackTs` of the attempts of the first minute."""
    attempts: int = 0
    """Attempts that were made."""
    first_attempt_ms: UnixMs = 0
    """When the first attempt began, 0 where none was made."""
    excused_ms: int = 0
    """Milliseconds since the first attempt that do not count, since nobody was there to try."""
    due_ms: UnixMs = 0
    """When the next attempt is due."""
    gap: bool = False
    """Whether an earlier one of its room, whose order is kept, had not come to its end when it went out."""
    taken_ms: UnixMs = 0
    """When a dispatcher took the event for the first time, 0 where that is not known."""


class DeadLetter(Struct, rename="pascal", omit_defaults=True, kw_only=True):
    """The value of one record of topic `dead-letters`: a callback that was given up."""

    callback: RetryRecord
    given_up_ms: UnixMs
    reason: str
    """Error class of the last attempt, or why there was none: `parked`, `no-url`, `disabled`."""
    url: str


class DisabledEndpoint(Struct, rename="pascal", kw_only=True):
    """The value of one record of topic `disabled-endpoints`: a URL that answered that it is gone."""

    sdk_app_id: SdkAppId
    url: str
    version: int
    """That of the application then; a higher one has enabled the endpoint again."""
    disabled_ms: UnixMs
