"""From the body as it comes over the wire to JSON that is safe to decode: every size has a limit with a name."""

from __future__ import annotations

import re
import zlib
from functools import lru_cache
from typing import TYPE_CHECKING

import zstandard
from msgspec import Raw, Struct

from services.ingest.refusals import Refusal

if TYPE_CHECKING:
    from services.runtime.settings import Settings

ENCODINGS = {"": "", "identity": "", "gzip": "gzip", "x-gzip": "gzip", "zstd": "zstd"}
_WITHOUT_MEANING = frozenset({"application/octet-stream", "application/x-www-form-urlencoded"})
"""What libraries say of bytes when nobody told them better."""
_ZSTD_WINDOW = 8 << 20
_ZSTD = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW)
_NOT_BRACKETS = bytes(sorted(set(range(256)) - set(b"[]{}")))
_ROUND = bytes.maketrans(b"[]{}", b"()()")
_ESCAPED = re.compile(rb"\\.", re.DOTALL)


class Limits(Struct, frozen=True, kw_only=True):
    """What a request may be at most."""

    body_bytes: int
    expanded_bytes: int
    record_bytes: int
    items: int
    depth: int
    string_bytes: int

    @classmethod
    def of(cls, settings: Settings) -> Limits:
        """The limits that are set."""
        return cls(
            body_bytes=settings.ingest_max_body_bytes,
            expanded_bytes=settings.ingest_max_expanded_bytes,
            record_bytes=settings.ingest_max_record_bytes,
            items=settings.ingest_max_items,
            depth=settings.ingest_max_depth,
            string_bytes=settings.ingest_max_string_bytes,
        )


def body_too_large(limits: Limits) -> Refusal:
    """The body as sent is too large."""
    return Refusal(413, "BodyTooLarge", f"the body is larger than {limits.body_bytes} bytes (ingest_max_body_bytes)")


@lru_cache(256)
def check_content_type(value: str) -> None:
    """JSON, or what may be JSON since nobody said otherwise. Raises `Refusal`."""
    kind, *parameters = (part.strip().lower() for part in value.split(";"))
    if kind and kind not in ("application/json", "text/plain", *_WITHOUT_MEANING) and not kind.endswith("+json"):
        raise Refusal(415, "UnsupportedMediaType", "the body must be JSON", "Content-Type")
    for parameter in parameters:
        name, _, charset = parameter.partition("=")
        if name.strip() == "charset" and charset.strip(' "') not in ("utf-8", "utf8", "us-ascii"):
            raise Refusal(415, "UnsupportedMediaType", "JSON is always UTF-8", "Content-Type")


def content_coding(value: str) -> str:
    """The name of a `Content-Encoding`, empty for `identity`. Raises `Refusal`."""
    coding = ENCODINGS.get(value.strip().lower())
    if coding is None:
        raise Refusal(415, "UnsupportedEncoding", "it may be identity, gzip or zstd, one of them", "Content-Encoding")
    return coding


def expand(body: bytes, coding: str, limits: Limits) -> bytes:
    """Undo the content coding, and stop as soon as the limit is passed. Raises `Refusal`, also for an empty body."""
    if not coding:
        expanded = body
    elif coding == "gzip":
        expanded = _gunzip(body, limits.expanded_bytes)
    else:
        expanded = _unzstd(body, limits.expanded_bytes)
    if len(expanded) > limits.expanded_bytes:
        reason = f"the body expands to more than {limits.expanded_bytes} bytes (ingest_max_expanded_bytes)"
        raise Refusal(413, "BodyTooLarge", reason)
    if not expanded or expanded.isspace():
        raise Refusal(400, "EmptyBody", "the body is empty")
    return expanded


def shape_problem(text: bytes | Raw, limits: Limits) -> tuple[str, str] | None:
    """Code and reason where JSON is nested too deeply or has too long a text; found without decoding it."""
    text = bytes(text)
    # Nothing is nested deeper than it has brackets, and no text is longer than its body: most end here.
    deep = text.count(b"{") + text.count(b"[") > limits.depth
    if not deep and len(text) <= limits.string_bytes:
        return None
    pieces = _without_escapes(text).split(b'"')
    if max(map(len, pieces[1::2]), default=0) > limits.string_bytes:
        return "TextTooLong", f"a text is longer than {limits.string_bytes} bytes (ingest_max_string_bytes)"
    if deep and _deeper_than(limits.depth, b"".join(pieces[::2])):
        return "TooDeep", f"nested deeper than {limits.depth} levels (ingest_max_depth)"
    return None


def _without_escapes(body: bytes) -> bytes:
    """The body with every escape in two harmless bytes, so that a quotation mark always begins or ends a text."""
    return _ESCAPED.sub(b"__", body) if b"\\" in body else body


def _deeper_than(limit: int, outside_of_texts: bytes) -> bool:
    brackets = outside_of_texts.translate(_ROUND, _NOT_BRACKETS)
    for _ in range(limit):
        before = len(brackets)
        brackets = brackets.replace(b"()", b"")
        if len(brackets) == before:
            break
    # What is left where brackets do not match is no JSON; the decoder says so, unless it would be too deep for it.
    return b"()" in brackets or brackets.count(b"(") > limit


def _gunzip(body: bytes, limit: int) -> bytes:
    expanded = b""
    while body:
        inflater = zlib.decompressobj(wbits=31)
        try:
            expanded += inflater.decompress(body, limit + 1 - len(expanded))
        except zlib.error as error:
            raise Refusal(400, "InvalidEncoding", "the body is not gzip", "Content-Encoding") from error
        if len(expanded) > limit:
            return expanded
        if not inflater.eof:
            raise Refusal(400, "InvalidEncoding", "the gzip body is cut off", "Content-Encoding")
        body = inflater.unused_data
    return expanded


def _unzstd(body: bytes, limit: int) -> bytes:
    try:
        with _ZSTD.stream_reader(body) as reader:
            expanded = reader.read(limit + 1)
        if len(expanded) > limit or zstandard.get_frame_parameters(body).content_size == len(expanded):
            return expanded
        # The reader does not tell whether the frame was complete; another look does, now that it is known to be small.
        inflater = _ZSTD.decompressobj()
        inflater.decompress(body)
    except (zstandard.ZstdError, MemoryError) as error:
        raise Refusal(400, "InvalidEncoding", "the body is not zstd", "Content-Encoding") from error
    if not inflater.eof:
        raise Refusal(400, "InvalidEncoding", "the zstd body is cut off", "Content-Encoding")
    return expanded
