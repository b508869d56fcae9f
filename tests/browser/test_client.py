"""The web client in a real call, against a receiver that decodes with the contract's own types."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from schemas.reports import SAMPLE_GRID_MS, LocalStream, RemoteStream, Report
from tests.browser.call import Call, Party
from tests.browser.receiver import Receiver, now_ms

if TYPE_CHECKING:
    from playwright.async_api import Browser

APP_ID = 1400000001


def party(user_id: str, endpoint: str, **more: Any) -> Party:
    """A party of room 8801."""
    options = {
        "endpoint": endpoint,
        "sdkAppId": APP_ID,
        "userId": user_id,
        "userSig": f"sig of {user_id}",
        "roomId": 8801,
        "role": 20,
        "joinCostMs": 120,
        **more,
    }
    return Party(user_id, options)


def of(reports: list[Report], user_id: str) -> list[Report]:
    """The reports of one user, each once, by their number."""
    return list({report.seq: report for report in reports if report.user_id == user_id}.values())


def episodes(reports: list[Report], stream_type: str) -> dict[int, int]:
    """The longest length of each episode of the received streams of a type."""
    longest: dict[int, int] = defaultdict(int)
    for report in reports:
        for sample in report.samples:
            for stream in sample.remote:
                if stream.type == stream_type:
                    for start, length in stream.stutters:
                        longest[start] = max(longest[start], length)
    return dict(longest)


async def test_a_call_with_a_pause(browser: Browser, page_url: str) -> None:
    async with Receiver(skew_ms=90_000) as receiver, Call(browser, page_url) as call:
        sessions = await call.enter(party("alice", receiver.url), party("bob", receiver.url))
        await asyncio.sleep(9)
        paused = await asyncio.gather(*(call.pause(0, kind, 2000) for kind in ("video", "audio")))
        await asyncio.sleep(4)
        await call.pages[0].evaluate("() => { for (let i = 0; i < 200; i += 1) call.state.client.reportEvent(4001); }")
        outcomes = await call.leave()

    for pause in paused:
        assert pause["sent"] == pause["received"] == {"muted": False, "readyState": "live"}
    for user_id, session, outcome in zip(("alice", "bob"), sessions, outcomes, strict=True):
        reports = of(receiver.reports, user_id)
        assert outcome == {"errors": [], "accepted": [report.seq for report in reports]}
        assert [report.seq for report in reports] == list(range(1, len(reports) + 1))
        assert {(report.session_id, report.sdk_app_id, report.room_id) for report in reports} == {
            (session, APP_ID, 8801)
        }
        check_client(reports)
        check_samples(reports)
        events = {event.event_id for report in reports for event in report.events}
        assert {32788, 32789, 32768, 32769} <= events

    video, audio = (episodes(of(receiver.reports, "bob"), kind) for kind in ("big", "audio"))
    assert list(video.values()) == [pytest.approx(paused[0]["length"], abs=200)]
    assert list(audio.values()) == [pytest.approx(paused[1]["length"], abs=200)]
    assert episodes(of(receiver.reports, "alice"), "big") == {}
    assert all(headers["Content-Type"].startswith("text/plain") for headers in receiver.headers)
    assert all(len(body) <= 60_000 for body in receiver.bodies)
    for headers, body in zip(receiver.headers, receiver.bodies, strict=True):
        assert (headers.get("Content-Encoding") == "gzip") == (len(body) >= 8192)
    assert "gzip" in {headers.get("Content-Encoding") for headers in receiver.headers}


def check_client(reports: list[Report]) -> None:
    """The first report says who it is, the last one that the user left; times are the server's (90 s ahead)."""
    first, last = reports[0].client, reports[-1].client
    assert first is not None
    assert last is not None
    assert (first.role, first.user_type, first.join_cost_ms, first.join_result) == (20, 1, 120, 0)
    assert first.sdk_version == "0.1.0"
    assert first.device_model is not None
    assert first.device_model.startswith("Chrome ")
    assert first.join_ms == pytest.approx(now_ms() + 90_000, abs=60_000)
    assert first.leave_ms is None
    assert last.leave_ms is not None
    assert last.leave_reason == 1


def check_samples(reports: list[Report]) -> None:
    """Samples leave no gap, lie in cells of the grid, and tell of both directions."""
    samples = [sample for report in reports for sample in report.samples]
    for sample, following in pairwise(samples):
        assert sample.start_ms + sample.dur_ms == following.start_ms
    for sample in samples:
        assert sample.start_ms // SAMPLE_GRID_MS == (sample.start_ms + sample.dur_ms - 1) // SAMPLE_GRID_MS
    whole = [sample for sample in samples if sample.dur_ms == SAMPLE_GRID_MS]
    assert len(whole) >= 4
    for sample in whole:
        assert sample.rtt is not None
        assert sample.sent_bytes
        for received in sample.remote:
            assert received.play_ms is not None
            assert received.muted is False
    local = {stream.type: stream for stream in whole[1].local}
    remote = {stream.type: stream for stream in whole[1].remote}
    assert set(local) == set(remote) == {"audio", "big"}
    assert (local["big"].width, local["big"].height) == (remote["big"].width, remote["big"].height) == (320, 240)
    assert local["audio"].sample_rate == 48000
    streams: list[LocalStream | RemoteStream] = [*local.values(), *remote.values()]
    for stream in streams:
        assert stream.bitrate
        assert stream.loss is not None
    assert local["big"].send_fps is not None
    assert remote["big"].dec_fps is not None
    assert remote["audio"].volume is not None
    assert remote["big"].delay_ms is not None


async def test_trouble_at_the_server_loses_nothing(browser: Browser, page_url: str) -> None:
    """503 and a wrong UserSig: the same bytes come again, with the new UserSig after 401."""
    async with Receiver() as receiver, Call(browser, page_url) as call:
        attempts: dict[tuple[str, int], int] = defaultdict(int)

        def answer(report: Report) -> int:
            key = report.user_id, report.seq
            attempts[key] += 1
            if report.user_id == "bob":
                return 401 if report.user_sig == "sig of bob" else 200
            return 503 if attempts[key] < 3 else 200

        receiver.answer = answer
        await call.enter(party("alice", receiver.url), party("bob", receiver.url))
        await receiver.wait_for(lambda: attempts[("alice", 1)] >= 3 and attempts[("bob", 1)] == 1)
        await call.pages[1].evaluate("() => call.state.client.updateUserSig('new sig')")
        await receiver.wait_for(lambda: attempts[("bob", 1)] == 2)
        receiver.answer = lambda _: 200
        alice, bob = await call.leave()

    bodies: dict[tuple[str, int], set[bytes]] = defaultdict(set)
    for report, body in zip(receiver.reports, receiver.bodies, strict=True):
        bodies[report.user_id, report.seq].add(body)
    assert len(bodies["alice", 1]) == 1, "the same bytes each time"
    assert (
        len(
            {
                msgspec.json.encode(msgspec.structs.replace(msgspec.json.decode(body, type=Report), user_sig=""))
                for body in bodies["bob", 1]
            }
        )
        == 1
    )
    assert {error["status"] for error in alice["errors"]} == {503}
    assert [error["kind"] for error in bob["errors"]] == ["unauthorized"]
    for user_id, outcome in (("alice", alice), ("bob", bob)):
        assert outcome["accepted"] == [report.seq for report in of(receiver.reports, user_id)]


async def test_a_page_that_goes_away_sends_its_tail_and_the_next_one_what_was_not_confirmed(
    browser: Browser, page_url: str
) -> None:
    async with Receiver() as receiver, Call(browser, page_url) as call:
        receiver.answer = lambda report: 503 if report.user_id == "bob" else 200
        await call.enter(party("alice", receiver.url), party("bob", receiver.url))
        await asyncio.sleep(4)
        for page in call.pages:
            await page.goto("about:blank")
        await receiver.wait_for(lambda: len({report.user_id for report in receiver.reports}) == 2)
        tail = of(receiver.reports, "alice")
        assert sum(sample.dur_ms for report in tail for sample in report.samples) >= 1000

        receiver.answer = lambda _: 200
        kept = {(report.session_id, report.seq) for report in of(receiver.reports, "bob")}
        before = len(receiver.reports)
        await call.pages[1].goto(page_url)
        await call.pages[1].wait_for_function("() => window.call !== undefined")
        await call.pages[1].evaluate("options => call.enter(options, 'alice')", party("bob", receiver.url).options)
        await receiver.wait_for(lambda: len(receiver.reports) > before)
        again = [report for report in receiver.reports[before:] if report.user_id == "bob"]
        assert (again[0].session_id, again[0].seq) in kept
        await call.pages[1].evaluate("() => call.leave()")
