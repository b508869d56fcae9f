from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ingest.bodies import Limits
from services.ingest.refusals import Refusal
from services.ingest.reports import read_report
from services.runtime.settings import Settings

NOW = 1_700_000_000_000
DAY_MS = 86_400_000
LIMITS = Limits.of(Settings())


def body(**fields: Any) -> bytes:
    return msgspec.json.encode(
        {
            "SdkAppId": 1400000001,
            "UserId": "alice",
            "UserSig": "secret",
            "PrivateMapKey": "another",
            "RoomId": "Room A",
            "SessionId": "s",
            "Seq": 3,
            "SentMs": NOW,
            **fields,
        }
    )


def test_a_report_keeps_everything_but_its_credentials() -> None:
    samples = [{"StartMs": NOW, "DurMs": 1, "Remote": [{"UserId": "b", "Type": "audio", "Stutters": [[NOW - 900, 2]]}]}]
    posted = read_report(body(Samples=samples, Events=[{"AtMs": NOW, "EventId": 1}], Client={}), NOW + 7, LIMITS)
    assert (posted.user_sig, posted.private_map_key, posted.rejected, posted.accepted) == ("secret", "another", [], 3)
    assert msgspec.json.decode(msgspec.json.encode(posted.report)) == {
        "SdkAppId": 1400000001,
        "UserId": "alice",
        "RoomId": "Room A",
        "SessionId": "s",
        "Seq": 3,
        "SentMs": NOW,
        "ArrivalMs": NOW + 7,
        "Client": {},
        "Samples": samples,
        "Events": [{"AtMs": NOW, "EventId": 1}],
    }


@pytest.mark.parametrize(
    ("offset_ms", "code"),
    [(300_000, None), (300_001, "ClockSkew"), (-DAY_MS, None), (-DAY_MS - 1, "TooOld")],
)
def test_time_window(offset_ms: int, code: str | None) -> None:
    at = NOW + offset_ms
    posted = read_report(
        body(Samples=[{"StartMs": at, "DurMs": 1}], Events=[{"AtMs": at, "EventId": 1}], Client={"LeaveMs": at}),
        NOW,
        LIMITS,
    )
    assert [rejection.code for rejection in posted.rejected] == ([code] * 3 if code else [])
    assert posted.accepted == (0 if code else 3)


@pytest.mark.parametrize(
    ("start_ms", "length_ms", "code"),
    [
        (NOW + 2000, 0, None),
        (NOW + 2001, 0, "InvalidParameter"),
        (NOW - DAY_MS, DAY_MS, None),
        (NOW - DAY_MS - 1, 2, "TooOld"),
        (NOW, 300_000, None),
        (NOW, 300_001, "ClockSkew"),
    ],
)
def test_an_episode_lies_about_its_sample(start_ms: int, length_ms: int, code: str | None) -> None:
    def sample(start_ms: int, *stutters: list[int]) -> dict[str, Any]:
        remote = [{"UserId": "b", "Type": "audio"}, {"UserId": "b", "Type": "big", "Stutters": stutters}]
        return {"StartMs": start_ms, "DurMs": 2000, "Remote": remote}

    samples = [sample(NOW - 4000), sample(NOW, [NOW, 100], [start_ms, length_ms])]
    posted = read_report(body(Samples=samples), NOW, LIMITS)
    assert [(item.index, item.field, item.code) for item in posted.rejected] == (
        [(1, "Samples[1].Remote[1].Stutters[1]", code)] if code else []
    )
    assert posted.accepted == (1 if code else 2)


def test_a_call_may_have_begun_long_ago_but_not_in_the_future() -> None:
    assert read_report(body(Client={"JoinMs": 1}), NOW, LIMITS).accepted == 1
    (rejection,) = read_report(body(Client={"JoinMs": NOW + 300_001}), NOW, LIMITS).rejected
    assert (rejection.field, rejection.code) == ("Client.JoinMs", "ClockSkew")


def test_absent_null_and_empty_client_parts_differ() -> None:
    spoiled: dict[str, Any] = {"Samples": [5]}  # sends the report the slow way
    for more in ({}, spoiled):
        assert read_report(body(**more), NOW, LIMITS).report.client is None
        assert read_report(body(Client=None, **more), NOW, LIMITS).report.client is None
        assert read_report(body(Client={}, **more), NOW, LIMITS).report.client is not None


def test_half_characters_cost_nothing() -> None:
    posted = read_report(body(Client={"Os": "cut"}).replace(b"cut", rb"\ud83d"), NOW, LIMITS)
    assert posted.report.client is not None
    assert (posted.report.client.os, posted.rejected) == ("\ufffd", [])


good_samples = st.builds(
    lambda back, dur: {"StartMs": NOW - back, "DurMs": dur}, st.integers(0, DAY_MS), st.integers(1, 2000)
)
wrong: list[Any] = [5, None, {}, {"StartMs": 1, "DurMs": 1}, {"StartMs": NOW, "DurMs": 2001}, []]
bad_samples = st.sampled_from(wrong)


@given(st.lists(st.tuples(st.booleans(), good_samples, bad_samples), max_size=20))
def test_bad_samples_are_named_by_their_index_and_the_others_stay_in_order(
    choices: list[tuple[bool, Any, Any]],
) -> None:
    samples = [good if is_good else bad for is_good, good, bad in choices]
    posted = read_report(body(Samples=samples), NOW, LIMITS)
    assert [rejection.index for rejection in posted.rejected] == [i for i, c in enumerate(choices) if not c[0]]
    assert all(r.field.startswith(f"Samples[{r.index}]") for r in posted.rejected)
    assert [(s.start_ms, s.dur_ms) for s in posted.report.samples] == [
        (good["StartMs"], good["DurMs"]) for is_good, good, _ in choices if is_good
    ]


@given(st.lists(good_samples, max_size=5))
def test_the_slow_way_reads_what_the_quick_one_reads(samples: list[Any]) -> None:
    quick = read_report(body(Samples=samples, Client={"Role": 20}), NOW, LIMITS)
    slow = read_report(body(Samples=[*samples, 5], Client={"Role": 20}), NOW, LIMITS)
    assert (slow.report, len(slow.rejected)) == (quick.report, 1)


@pytest.mark.parametrize(
    ("text", "status", "field"),
    [
        (b"{", 400, ""),
        (b"[]", 422, ""),
        (body(Seq=0), 422, "Seq"),
        (body(Samples={}), 422, "Samples"),
        (body(Samples=[{}] * 1001), 413, "Samples"),
        (body(Samples=[{}] * 600, Events=[{}] * 600), 413, "Events"),
        (body(Tree=[[[[[[[[]]]]]]]]).replace(b"[[[[[[[[", b"[" * 90).replace(b"]]]]]]]]", b"]" * 90), 400, ""),
    ],
)
def test_what_concerns_the_whole(text: bytes, status: int, field: str) -> None:
    with pytest.raises(Refusal) as refusal:
        read_report(text, NOW, LIMITS)
    assert (refusal.value.status, refusal.value.field) == (status, field)
