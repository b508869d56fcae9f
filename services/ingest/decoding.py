"""JSON with its errors told apart: the body is no JSON, a part does not fit, a part is out of its time."""

from __future__ import annotations

import re
from typing import TypeVar

import msgspec
from msgspec import Raw

from schemas.answers import Rejection
from schemas.events import split_validation_error
from services.ingest.refusals import Refusal

HOUR_MS = 3_600_000
MAX_AHEAD_MS = 300_000
MAX_AGE_MS = 24 * HOUR_MS
Part = TypeVar("Part")
_LONE_SURROGATE = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])|(?<!\\u[dD][89abAB]..)\\u[dD][c-fC-F][0-9a-fA-F]{2}"
)


def time_problem(at_ms: int, arrival_ms: int) -> tuple[str, str] | None:
    """Code and reason where a time is too far from the arrival."""
    if at_ms > arrival_ms + MAX_AHEAD_MS:
        return "ClockSkew", f"{at_ms - arrival_ms} ms ahead of server time, at most {MAX_AHEAD_MS} are allowed"
    if at_ms < arrival_ms - MAX_AGE_MS:
        return "TooOld", "older than 24 hours"
    return None


def decode_whole(body: bytes, decoder: msgspec.json.Decoder[Part]) -> Part:
    """Decode a body as a whole. Raises `Refusal`: 400 where it is no JSON, 422 where it does not fit."""
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        check_json(body)
        reason, field = split_validation_error(error)
        raise Refusal(422, "InvalidParameter", reason, field) from error
    except RecursionError as error:
        raise Refusal(400, "TooDeep", "the body is nested too deeply (ingest_max_depth)") from error
    except ValueError as error:
        raise Refusal(400, "InvalidJson", _reason(error)) from error


def check_json(body: bytes) -> None:
    """Raises `Refusal` where the body is no JSON."""
    try:
        msgspec.json.decode(body, type=Raw)
    except RecursionError as error:
        raise Refusal(400, "TooDeep", "the body is nested too deeply (ingest_max_depth)") from error
    except ValueError as error:
        raise Refusal(400, "InvalidJson", _reason(error)) from error


def decode_part(
    part: Raw, decoder: msgspec.json.Decoder[Part], index: int, prefix: str, rejected: list[Rejection]
) -> Part | None:
    """Decode one item; None, and a line in `rejected`, where it cannot be used."""
    try:
        return decoder.decode(part)
    except msgspec.ValidationError as error:
        reason, field = split_validation_error(error)
        rejected.append(Rejection(index=index, field=join(prefix, field), code="InvalidParameter", reason=reason))
    except RecursionError:
        rejected.append(Rejection(index=index, field=prefix, code="TooDeep", reason="nested too deeply"))
    except ValueError as error:
        rejected.append(Rejection(index=index, field=prefix, code="InvalidJson", reason=_reason(error)))
    return None


def join(prefix: str, field: str) -> str:
    """A path below another."""
    return f"{prefix}.{field}" if prefix and field else prefix or field


def _reason(error: ValueError) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "not UTF-8"
    return str(error)
