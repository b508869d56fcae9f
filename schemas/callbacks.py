"""The body and the signature of a callback. The vendor's receivers check them byte by byte."""

from __future__ import annotations

import base64
import hmac
from hashlib import sha256

import msgspec
from msgspec import Raw

from schemas.events import EventRecord

WEBHOOK_PREFIX = "whsec_"
GROUPS_WITH_CALLBACK_MS_TS = frozenset({7})
"""Groups whose envelope spells its time `CallbackMsTs`."""


def callback_body(event: EventRecord, callback_ts: int) -> bytes:
    """The JSON body of an event's callback, sent at `callback_ts` (Unix milliseconds)."""
    time_field = "CallbackMsTs" if event.event_group_id in GROUPS_WITH_CALLBACK_MS_TS else "CallbackTs"
    envelope: dict[str, int | Raw] = {
        "EventGroupId": event.event_group_id,
        "EventType": event.event_type,
        time_field: callback_ts,
        "EventInfo": event.event_info,
        **event.extra,
    }
    return msgspec.json.encode(envelope)


def sign(key: str, body: bytes) -> str:
    """`Sign` of a body: standard base64 of HMAC-SHA256 with the key's UTF-8 bytes, always 44 characters."""
    return base64.b64encode(hmac.digest(key.encode(), body, sha256)).decode()


def webhook_sign(secret: str, webhook_id: str, timestamp: int, body: bytes) -> str:
    """One signature of Standard Webhooks: `v1,` and base64 of HMAC-SHA256 of id, Unix seconds and body."""
    key = base64.b64decode(secret.removeprefix(WEBHOOK_PREFIX))
    content = b".".join((webhook_id.encode(), str(timestamp).encode(), body))
    return "v1," + base64.b64encode(hmac.digest(key, content, sha256)).decode()


def sign_matches(key: str, body: bytes, signature: str) -> bool:
    """Whether a `Sign` is right, in a time that tells nothing of the right one."""
    return hmac.compare_digest(sign(key, body).encode(), signature.encode("utf-8", "surrogateescape"))
