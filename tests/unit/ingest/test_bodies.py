from __future__ import annotations

import gzip
import json
from typing import Any

import msgspec
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from services.ingest.bodies import Limits, check_content_type, content_coding, expand, shape_problem
from services.ingest.refusals import Refusal
from services.runtime.settings import Settings

LIMITS = Limits(body_bytes=1000, expanded_bytes=1000, record_bytes=1000, items=10, depth=8, string_bytes=20)


def depth_of(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max(map(depth_of, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(depth_of, value), default=0)
    return 0


def texts_of(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [*value, *(text for child in value.values() for text in texts_of(child))]
    if isinstance(value, list):
        return [text for child in value for text in texts_of(child)]
    return [value] if isinstance(value, str) else []


brackets = st.text(alphabet='[]{}"\\,:ab', max_size=8)
values = st.recursive(
    st.integers() | brackets,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(brackets, inner, max_size=3),
    max_leaves=30,
)


@given(values, st.integers(0, 12))
def test_depth_is_that_of_the_decoded_value(value: Any, more: int) -> None:
    for _ in range(more):
        value = [value]
    problem = shape_problem(json.dumps(value).encode(), LIMITS)
    assert (problem is not None) is (depth_of(value) > LIMITS.depth)
    assert problem is None or (problem[0], "ingest_max_depth" in problem[1]) == ("TooDeep", True)


@given(st.lists(st.text(max_size=30) | st.lists(st.text(max_size=30))))
def test_no_text_is_longer_than_its_limit(value: Any) -> None:
    body = json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")
    longest = max((len(text.encode("utf-8", "replace")) for text in texts_of(value)), default=0)
    problem = shape_problem(body, LIMITS)
    if longest > LIMITS.string_bytes:
        assert problem is not None
        assert (problem[0], "ingest_max_string_bytes" in problem[1]) == ("TextTooLong", True)
    if problem is not None and problem[0] == "TextTooLong":  # an escape may count for more bytes than it stands for
        assert longest > LIMITS.string_bytes or b"\\" in body


@pytest.mark.parametrize("body", [b"[" * 9, b"[" * 5000, b"]" * 9 + b"[" * 9, b'{"a":' * 20 + b"1" + b"}" * 20])
def test_towers_are_found_even_where_they_never_close(body: bytes) -> None:
    assert shape_problem(body, LIMITS) is not None


def test_what_is_broken_but_flat_is_left_to_the_decoder() -> None:
    assert shape_problem(b"[[[[]" + b"]" * 20, LIMITS) is None


@given(st.binary(min_size=1, max_size=1000).filter(lambda body: not body.isspace()))
def test_what_was_packed_comes_out_as_it_went_in(body: bytes) -> None:
    assert expand(body, "", LIMITS) == body
    assert expand(gzip.compress(body), "gzip", LIMITS) == body
    assert expand(gzip.compress(body[:10]) + gzip.compress(body[10:]), "gzip", LIMITS) == body
    assert expand(zstandard.compress(body), "zstd", LIMITS) == body
    streamed = zstandard.ZstdCompressor().compressobj()  # a frame that does not tell its size
    assert expand(streamed.compress(body) + streamed.flush(), "zstd", LIMITS) == body


@given(st.binary(max_size=300), st.sampled_from(["gzip", "zstd"]))
def test_whatever_is_no_archive_is_refused(body: bytes, coding: str) -> None:
    with pytest.raises(Refusal) as refusal:
        expand(body, coding, LIMITS)
    assert refusal.value.status == 400


@given(st.integers(1, 40), st.sampled_from(["gzip", "zstd", "streamed"]))
def test_whatever_is_cut_off_is_refused(cut: int, coding: str) -> None:
    body = json.dumps(list(range(100))).encode()
    if coding == "gzip":
        packed = gzip.compress(body)
    elif coding == "zstd":
        packed = zstandard.compress(body)
    else:
        streamed = zstandard.ZstdCompressor().compressobj()
        packed, coding = streamed.compress(body) + streamed.flush(), "zstd"
    with pytest.raises(Refusal) as refusal:
        expand(packed[:-cut], coding, LIMITS)
    assert (refusal.value.status, refusal.value.code) == (400, "InvalidEncoding")


@pytest.mark.parametrize("coding", ["", "gzip", "zstd"])
def test_one_byte_more_than_the_limit(coding: str) -> None:
    def packed(body: bytes) -> bytes:
        return {"": body, "gzip": gzip.compress(body), "zstd": zstandard.compress(body)}[coding]

    assert len(expand(packed(b"x" * 1000), coding, LIMITS)) == 1000
    with pytest.raises(Refusal, match="ingest_max_expanded_bytes") as refusal:
        expand(packed(b"x" * 1001), coding, LIMITS)
    assert refusal.value.status == 413


def test_a_zstd_frame_with_a_huge_window_is_refused() -> None:
    parameters = zstandard.ZstdCompressionParameters(window_log=27, compression_level=1)
    streamed = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    packed = streamed.compress(b"{}") + streamed.flush()
    with pytest.raises(Refusal) as refusal:
        expand(packed, "zstd", LIMITS)
    assert refusal.value.code == "InvalidEncoding"


@pytest.mark.parametrize(
    ("header", "coding"), [("", ""), ("identity", ""), (" GZip ", "gzip"), ("x-gzip", "gzip"), ("ZSTD", "zstd")]
)
def test_codings(header: str, coding: str) -> None:
    assert content_coding(header) == coding


@pytest.mark.parametrize("header", ["br", "deflate", "gzip, gzip", "gzip;q=1", "\udcff"])
def test_other_codings(header: str) -> None:
    with pytest.raises(Refusal) as refusal:
        content_coding(header)
    assert refusal.value.status == 415


@pytest.mark.parametrize(
    ("header", "welcome"),
    [
        ("", True),
        ("Application/JSON", True),
        ("text/plain; charset=utf-8", True),
        ('text/plain; charset="UTF-8"; x=y', True),
        ("application/octet-stream", True),
        ("application/json; charset=latin-1", False),
        ("text/html", False),
        ("multipart/form-data; boundary=x", False),
        ("json", False),
    ],
)
def test_content_types(header: str, welcome: bool) -> None:
    for _ in range(2):  # the second time it may be remembered
        if welcome:
            check_content_type(header)
        else:
            with pytest.raises(Refusal) as refusal:
                check_content_type(header)
            assert refusal.value.status == 415


def test_limits_are_the_settings() -> None:
    limits = Limits.of(Settings(ingest_max_items=7, ingest_max_depth=9))
    assert (limits.items, limits.depth) == (7, 9)
    assert msgspec.structs.asdict(limits).keys() == {
        name.removeprefix("ingest_max_") for name in Settings.model_fields if name.startswith("ingest_max_")
    }
