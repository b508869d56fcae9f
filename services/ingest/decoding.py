"""JSON with its errors told apart: the body is no JSON, a part does not fit, a part is out of its time."""

from __future__ import annotations

from typing import TypeVar

import msgspec
from msgspec import Raw

from schemas.events import split_validation_error
from schemas.surrogates import replace_lone_surrogates
from services.ingest.refusals import Refusal

HOUR_MS = 3_600_000
MAX_AHEAD_MS = 300_000
MAX_AGE_MS = 24 * HOUR_MS
Part = TypeVar("Part")
_anything = msgspec.json.Decoder(Raw)


class InvalidItem(Exception):
    """One item that cannot be used."""

    def __init__(self, field: str, code: str, reason: str) -> None:
        super().__init__(reason)
        self.field = field
        self.code = code
        self.reason = reason


def check_time(at_ms: int, arrival_ms: int, field: str) -> None:
    """Raises `InvalidItem` where a time is too far from the arrival."""
    if at_ms > arrival_ms + MAX_AHEAD_MS:
        reason = f"{(at_ms - arrival_ms) // 1000} s ahead of server time, more than {MAX_AHEAD_MS // 1000} s"
        raise InvalidItem(field, "ClockSkew", reason)
    if at_ms < arrival_ms - MAX_AGE_MS:
        raise InvalidItem(field, "TooOld", f"older than {MAX_AGE_MS // HOUR_MS} hours")


def repaired(body: bytes) -> bytes:
    """A body that can be decoded down to its parts: half characters, which no decoder here takes, are replaced.

    Raises `Refusal` (400) where it is no JSON.
    """
    try:
        _anything.decode(body)
    except RecursionError as error:
        raise Refusal(400, "TooDeep", "nested so deeply that its items cannot be told apart") from error
    except ValueError as error:
        better = replace_lone_surrogates(body)
        if better == body:
            raise Refusal(400, "InvalidJson", reason_of(error)) from error
        return repaired(better)
    return body


def decode_whole(body: bytes, decoder: msgspec.json.Decoder[Part]) -> Part:
    """Decode a body that is JSON. Raises `Refusal` where it does not fit."""
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        reason, field = split_validation_error(error)
        raise Refusal(422, "InvalidParameter", reason, field) from error
    except ValueError as error:
        raise Refusal(400, "InvalidJson", reason_of(error)) from error


def decode_part(part: Raw, decoder: msgspec.json.Decoder[Part], prefix: str) -> Part:
    """Decode one item. Raises `InvalidItem`."""
    try:
        return decoder.decode(part)
    except msgspec.ValidationError as error:
        reason, field = split_validation_error(error)
        raise InvalidItem(f"{prefix}.{field}" if field else prefix, "InvalidParameter", reason) from error
    except RecursionError as error:
        raise InvalidItem(prefix, "TooDeep", "nested too deeply") from error
    except ValueError as error:
        raise InvalidItem(prefix, "InvalidJson", reason_of(error)) from error


def reason_of(error: ValueError) -> str:
    """What is wrong with JSON, in a few words."""
    return "not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
