"""One callback in full: every attempt, and the request that was made or would be made now, byte for byte."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Raw

from schemas.callbacks import callback_body
from schemas.deliveries import delivery_id
from schemas.events import EventRecord
from services.console.queries import Narrowed
from services.dispatcher.delivery import SAME_BYTES_MS
from services.dispatcher.sender import wire_headers
from services.dispatcher.signing import request_headers

if TYPE_CHECKING:
    from schemas.applications import Application
    from services.console.monitor import Attempt, Monitor, PostedEvent

MAX_ATTEMPTS = 500
_ALWAYS_MS = 1 << 42
_EVENT_FIELDS = ("EventId", "EventGroupId", "EventType", "EventTime", "RoomId", "RoomIdType", "UserId", "TaskId")
_OF_THE_CALLBACK = frozenset({"DeliveryId", *_EVENT_FIELDS})
_NOT_SENT = frozenset({"parked", "no-url", "disabled"})
"""Error classes of rows that no attempt stands behind."""
_extra = msgspec.json.Decoder(dict[str, Raw])


async def show(monitor: Monitor, application: Application, wanted: str, now_ms: int) -> dict[str, Any] | None:
    """What is known of the callback of an event, named by the event's id or its own; None where nothing is.

    Requests are built from the event as it was posted and signed with the keys that the application has today: where
    keys were changed since, signatures are not those that went out. Raises `Unavailable`.
    """
    ids = (wanted, delivery_id(application.sdk_app_id, wanted))
    attempts = await monitor.attempts(
        application.sdk_app_id, since_ms=0, until_ms=_ALWAYS_MS, limit=MAX_ATTEMPTS, narrowed=Narrowed(ids=ids)
    )
    attempts.reverse()
    if attempts:
        event = await monitor.event(application.sdk_app_id, attempts[0]["EventId"], room=attempts[0]["RoomId"])
    else:
        event = await monitor.event(application.sdk_app_id, wanted)
    if not attempts and event is None:
        return None
    return _describe(application, attempts, event, now_ms)


def _describe(
    application: Application, attempts: list[Attempt], event: PostedEvent | None, now_ms: int
) -> dict[str, Any]:
    known: Any = event or attempts[0]
    record = None if event is None else _record(application.sdk_app_id, event)
    name = delivery_id(application.sdk_app_id, known["EventId"])
    state = _state(attempts)
    return {
        "SdkAppId": application.sdk_app_id,
        "DeliveryId": name,
        **{field: known[field] for field in _EVENT_FIELDS},
        "State": state,
        "Attempts": [
            {
                **{field: value for field, value in attempt.items() if field not in _OF_THE_CALLBACK},
                "Request": None
                if record is None or attempt["ErrorClass"] in _NOT_SENT
                else _request(application, record, attempt["Url"], attempt["CallbackTime"], attempt["StartedTime"]),
            }
            for attempt in attempts
        ],
        "Next": None if state == "delivered" else _next(application, record, attempts, state, now_ms),
    }


def _state(attempts: list[Attempt]) -> str:
    """`waiting`: another attempt follows, or the first one is to come. Where it was sent once more, the last counts."""
    if any(attempt["Outcome"] == "delivered" for attempt in attempts):
        return "delivered"
    return "given-up" if attempts and attempts[-1]["Outcome"] == "given-up" else "waiting"


def _record(sdk_app_id: int, event: PostedEvent) -> EventRecord:
    """The event as Kafka had it, as far as a callback depends on it."""
    return EventRecord(
        sdk_app_id=sdk_app_id,
        event_id=event["EventId"],
        arrival_ms=event["ArrivalTime"],
        event_group_id=event["EventGroupId"],
        event_type=event["EventType"],
        event_ms_ts=event["EventTime"],
        event_info=Raw(event["EventInfo"].encode()),
        extra=_extra.decode(event["Extra"]) if event["Extra"] else {},
    )


def _next(
    application: Application, record: EventRecord | None, attempts: list[Attempt], state: str, now_ms: int
) -> dict[str, Any] | None:
    """The request that an attempt at this moment would make; None where nothing would be sent."""
    url = "" if record is None else application.callback.url_of(record.event_group_id)
    if record is None or not url:
        return None
    # Where it was sent once more, attempts count from 1 again.
    first = next((attempt for attempt in reversed(attempts) if attempt["Attempt"] == 1), None)
    fresh = first is None or state == "given-up" or now_ms - first["StartedTime"] > SAME_BYTES_MS
    callback_ts = now_ms if fresh else attempts[-1]["CallbackTime"]
    request = _request(application, record, url, callback_ts, now_ms)
    return request and {"Url": url, **request}


def _request(
    application: Application, record: EventRecord, url: str, callback_ts: int, started_ms: int
) -> dict[str, Any] | None:
    """The request of an attempt, None where the URL is none."""
    body = callback_body(record, callback_ts)
    headers = request_headers(application, body, delivery_id(application.sdk_app_id, record.event_id), started_ms)
    try:
        return {"Headers": wire_headers(url, body, headers), "Body": body.decode()}
    except ValueError:
        return None
