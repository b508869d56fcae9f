"""Delivery records: what the dispatcher tells of every attempt to deliver a callback."""

from __future__ import annotations

from hashlib import sha256
from typing import Literal

from msgspec import Struct

from schemas.words import RoomIdType, SdkAppId, UnixMs

Outcome = Literal["delivered", "failed", "given-up"]
"""*failed* will be tried again, *given-up* will not."""
OUR_FAULTS = frozenset({"own", "own-dns", "egress-proxy"})
"""Error classes of attempts that failed for a reason of ours and say nothing of the customer's endpoint."""
MAX_STORED_RESPONSE = 1024
"""Bytes of an answer's body that are kept."""


class DeliveryAttempt(Struct, rename="pascal", omit_defaults=True, kw_only=True):
    """The value of one record of topic `deliveries`: one attempt, its key the delivery id."""

    delivery_id: str
    attempt: int
    """Counts from 1."""
    request_id: str
    """Names this attempt alone."""
    sdk_app_id: SdkAppId
    event_id: str
    event_group_id: int
    event_type: int
    event_ms_ts: UnixMs
    accepted_ms: UnixMs
    """When Kafka had the event."""
    room_id: str = ""
    room_id_type: RoomIdType | None = None
    user_id: str = ""
    task_id: str = ""
    url: str
    callback_ts: UnixMs
    started_ms: UnixMs
    duration_ms: int
    status: int = 0
    """HTTP status, 0 where none was received."""
    outcome: Outcome
    gap: bool = False
    """Whether an earlier callback of its room, whose order is kept, had not come to its end."""
    error_class: str = ""
    """Why it failed, in one word: `timeout`, `refused`, `dns`, `tls`, `status`, `reset`, `blocked`, …"""
    error: str = ""
    response: str = ""
    """The first bytes of the answer's body."""


def delivery_id(sdk_app_id: int, event_id: str) -> str:
    """The id of an event's delivery: the same for the life of the event, whoever computes it."""
    return sha256(f"{sdk_app_id}/{event_id}".encode()).hexdigest()[:32]
