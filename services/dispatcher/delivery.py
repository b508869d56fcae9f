"""A callback on its way: what is known of it in memory, and the records that are written about it."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import msgspec

from schemas.callbacks import callback_body
from schemas.deliveries import DeliveryAttempt, Outcome, delivery_id
from schemas.retries import DeadLetter, RetryRecord

if TYPE_CHECKING:
    import asyncio

    from schemas.events import EventRecord
    from services.dispatcher.partition import Partition
    from services.dispatcher.scheduler import EndpointKey
    from services.dispatcher.sender import Answer

_records = msgspec.json.Decoder(RetryRecord)

SAME_BYTES_MS = 60_000
"""From the first attempt on, for so long every attempt has the same body."""


def weight_of(value: bytes | None) -> int:
    """What the callback of a record takes of the memory."""
    return 1 + len(value or b"") // 1024


class Delivery:
    """One callback, from the moment its event is taken from Kafka (or found in the retry lane) until it is done."""

    __slots__ = (
        "accepted_ms",
        "attempts",
        "callback_ts",
        "delivery_id",
        "done",
        "due_ms",
        "event",
        "excused_ms",
        "first_attempt_ms",
        "gap",
        "held_as",
        "in_lane",
        "lane_offset",
        "moving",
        "offset",
        "our_faults",
        "owed",
        "partition",
        "since_ms",
        "taken_ms",
        "url",
        "weight",
    )

    def __init__(self, event: EventRecord, partition: Partition, offset: int, accepted_ms: int, now_ms: int) -> None:
        self.event = event
        self.delivery_id = delivery_id(event.sdk_app_id, event.event_id)
        self.partition = partition
        self.offset = offset
        self.accepted_ms = accepted_ms
        self.callback_ts = accepted_ms
        self.attempts = 0
        self.first_attempt_ms = 0
        self.excused_ms = 0
        self.due_ms = 0
        self.taken_ms = now_ms
        self.since_ms = now_ms
        """When it was taken from Kafka for the first time."""
        self.our_faults = 0
        """Attempts in a row that failed by a fault of ours; they do not count."""
        self.gap = False
        """Whether an earlier one of its room, whose order is kept, had not come to its end when it went out."""
        self.url = ""
        self.weight = 1
        """What it takes of the memory, in kilobytes."""
        self.in_lane = False
        """Whether the retry lane holds it, so that its event is done with."""
        self.lane_offset = -1
        """Where the retry lane has it as it is now, -1 where that is not known."""
        self.owed = False
        """Whether one more attempt is made even if the window has closed: nobody was there while it was open."""
        self.held_as: EndpointKey | None = None
        """The endpoint whose room in memory it takes."""
        self.done = False
        """Whether nothing is to be kept of it any more."""
        self.moving: asyncio.Future[None] | None = None
        """Done when the write to the lane that is under way is."""

    @classmethod
    def of_record(cls, record: RetryRecord, partition: Partition, now_ms: int) -> Delivery:
        """A callback as the retry lane holds it."""
        delivery = cls(record.event, partition, record.source_offset, record.accepted_ms, now_ms)
        delivery.callback_ts = record.callback_ts
        delivery.attempts = record.attempts
        delivery.first_attempt_ms = record.first_attempt_ms
        delivery.excused_ms = record.excused_ms
        delivery.due_ms = record.due_ms
        delivery.gap = record.gap
        delivery.since_ms = record.taken_ms or now_ms
        delivery.in_lane = True
        return delivery

    @classmethod
    def in_the_lane(cls, offset: int, value: bytes, partition: Partition, now_ms: int) -> Delivery:
        """The callback of a record of the retry lane, and where that is."""
        delivery = cls.of_record(_records.decode(value), partition, now_ms)
        delivery.lane_offset = offset
        delivery.weight = weight_of(value)
        return delivery

    @property
    def room(self) -> str:
        """What first attempts keep their order within."""
        event = self.event
        return event.room_id or event.task_id or ""

    @property
    def window_start_ms(self) -> int:
        """Start of the time in which attempts are made."""
        return self.first_attempt_ms + self.excused_ms

    def excuse(self, now_ms: int) -> None:
        """Leave out of the window what has passed since an attempt was due that could not be made."""
        if now_ms > self.due_ms:
            self.excused_ms += now_ms - self.due_ms
            self.due_ms = now_ms
            self.owed = True
            self.lane_offset = -1

    def waits_from_ms(self, reachable_ms: int) -> int:
        """Since when it waits for an attempt at an endpoint that may get one since `reachable_ms`."""
        if self.attempts:
            return max(self.window_start_ms, self.due_ms if self.owed else 0)
        return max(self.since_ms, self.partition.adopted_ms, reachable_ms)

    def refresh(self, now_ms: int) -> bool:
        """Choose another `callback_ts` where the one there is would be stale at the first attempt.

        Whether it did so: then the lane must have the callback before it is sent, since nothing else tells its bytes.
        """
        if self.attempts or now_ms - self.callback_ts <= SAME_BYTES_MS:
            return False
        self.callback_ts = now_ms
        return True

    def callback_ts_at(self, now_ms: int) -> int:
        """`CallbackTs` of an attempt that begins now."""
        if self.attempts and now_ms - self.first_attempt_ms > SAME_BYTES_MS:
            return now_ms
        return self.callback_ts

    def body_at(self, callback_ts: int) -> bytes:
        """The request's body."""
        return callback_body(self.event, callback_ts)

    def to_record(self) -> RetryRecord:
        """What the retry lane keeps."""
        return RetryRecord(
            delivery_id=self.delivery_id,
            event=self.event,
            accepted_ms=self.accepted_ms,
            source_partition=self.partition.number,
            source_offset=self.offset,
            callback_ts=self.callback_ts,
            attempts=self.attempts,
            first_attempt_ms=self.first_attempt_ms,
            excused_ms=self.excused_ms,
            due_ms=self.due_ms,
            gap=self.gap,
            taken_ms=self.since_ms,
        )

    def to_dead_letter(self, now_ms: int, reason: str) -> DeadLetter:
        """What is kept of a callback that is given up."""
        return DeadLetter(callback=self.to_record(), given_up_ms=now_ms, reason=reason, url=self.url)

    def attempt(
        self, number: int, callback_ts: int, started_ms: int, answer: Answer, outcome: Outcome
    ) -> DeliveryAttempt:
        """The row of an attempt."""
        event = self.event
        return DeliveryAttempt(
            delivery_id=self.delivery_id,
            attempt=number,
            # Nobody gains by guessing it, and asking the system for random bytes costs as much as signing.
            request_id=f"{random.getrandbits(128):032x}",
            sdk_app_id=event.sdk_app_id,
            event_id=event.event_id,
            event_group_id=event.event_group_id,
            event_type=event.event_type,
            event_ms_ts=event.event_ms_ts,
            accepted_ms=self.accepted_ms,
            room_id=event.room_id or "",
            room_id_type=event.room_id_type,
            user_id=event.user_id or "",
            task_id=event.task_id or "",
            url=self.url,
            callback_ts=callback_ts,
            started_ms=started_ms,
            duration_ms=answer.duration_ms,
            status=answer.status,
            outcome=outcome,
            gap=self.gap,
            error_class=answer.error_class,
            error=answer.error,
            response=answer.response,
        )
