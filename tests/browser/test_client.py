"""The web client in real calls, against a receiver that decodes with the contract's own types.

Three calls are held at the same time: one with a pause, one with trouble at the server and a shared screen, one whose
pages go away.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from schemas.reports import SAMPLE_GRID_MS, LocalStream, RemoteStream, Report, Sample
from tests.browser import priority
from tests.browser.call import Call, Party
from tests.browser.receiver import Receiver, now_ms

if TYPE_CHECKING:
    from playwright.async_api import Browser

APP_ID = 1400000001
AHEAD_MS = 90_000
USERS = ("alice", "bob")


@dataclass
class Held:
    """A call that is over: what the receiver got, and what the clients saw."""

    receiver: Receiver
    sessions: list[str] = field(default_factory=list)
    outcomes: dict[str, dict[str, Any]] = field(default_factory=dict)
    paused: list[dict[str, Any]] = field(default_factory=list)
    concealed_ms: float = 0.0
    """Sound that Bob's browser made up from the pause on, by its own counters."""
    concealments: int = 0
    """How often it did so."""
    freezes: int = 0
    """How often pictures stood still in Bob's browser, by its own counters."""
    kept: set[tuple[str, int]] = field(default_factory=set)
    """Session and number of Bob's reports that were not confirmed when his page went away."""
    confirmed_late: list[Report] = field(default_factory=list)
    """What came from Bob's next page."""
    in_storage: str = ""
    """The page's local storage while reports are pending."""

    def of(self, user_id: str) -> list[Report]:
        """The reports of one user, each once, by their number."""
        return list({report.seq: report for report in self.receiver.reports if report.user_id == user_id}.values())

    def samples(self, user_id: str) -> list[Sample]:
        """The samples of one user."""
        return [sample for report in self.of(user_id) for sample in report.samples]


@pytest.fixture(scope="module")
async def calls(browser: Browser, page_url: str) -> dict[str, Held]:
    """All three."""
    with priority.first():
        pause, trouble, departure = await asyncio.gather(
            hold_with_pause(browser, page_url),
            hold_with_trouble(browser, page_url),
            hold_and_go_away(browser, page_url),
        )
    return {"pause": pause, "trouble": trouble, "departure": departure}


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
        "privateMapKey": f"key of {user_id}",
        **more,
    }
    return Party(user_id, options)


async def hold_with_pause(browser: Browser, page_url: str) -> Held:
    """Alice's camera and microphone pause for two seconds."""
    async with Receiver(skew_ms=AHEAD_MS) as receiver, Call(browser, page_url) as call:
        held = Held(receiver)
        held.sessions = await call.enter(*(party(user, receiver.url) for user in USERS))
        await asyncio.sleep(6)
        before = await call.pages[1].evaluate("() => call.concealed()")
        held.paused = list(await asyncio.gather(*(call.pause(0, kind, 2000) for kind in ("video", "audio"))))
        # The last of it has been played by then.
        await asyncio.sleep(1)
        after = await call.pages[1].evaluate("() => call.concealed()")
        held.concealed_ms, held.concealments = after[0] - before[0], after[1] - before[1]
        await asyncio.sleep(2)
        held.freezes = await call.pages[1].evaluate("() => call.freezes()")
        await call.pages[0].evaluate("() => { for (let i = 0; i < 200; i += 1) call.state.client.reportEvent(4001); }")
        held.outcomes = dict(zip(USERS, await call.leave(), strict=True))
    return held


async def hold_with_trouble(browser: Browser, page_url: str) -> Held:
    """503 for the first attempts of Alice, 401 for Bob's first UserSig. Alice shares her screen for four seconds."""
    async with Receiver() as receiver, Call(browser, page_url) as call:
        held = Held(receiver)
        attempts: dict[tuple[str, int], int] = defaultdict(int)

        def answer(report: Report) -> int:
            key = report.user_id, report.seq
            attempts[key] += 1
            if report.user_id == "bob":
                return 401 if report.user_sig == "sig of bob" else 200
            return 503 if attempts[key] < 3 else 200

        receiver.answer = answer
        held.sessions = await call.enter(*(party(user, receiver.url) for user in USERS))
        await asyncio.sleep(1)
        await call.share_screen("alice")
        await asyncio.sleep(4)
        await call.close_screen()
        # A connection that is closed is noticed at the next poll.
        await asyncio.sleep(1.5)
        await receiver.wait_for(lambda: attempts["alice", 1] >= 3 and attempts["bob", 1] == 1)
        held.in_storage = await call.pages[1].evaluate("() => JSON.stringify(localStorage)")
        await call.pages[1].evaluate("() => call.state.client.updateUserSig('new sig')")
        await receiver.wait_for(lambda: attempts["bob", 1] == 2)
        receiver.answer = lambda _: 200
        held.outcomes = dict(zip(USERS, await call.leave(), strict=True))
    return held


async def hold_and_go_away(browser: Browser, page_url: str) -> Held:
    """Both pages go away in the middle of it; Bob's reports are not confirmed until he comes again in another tab."""
    async with Receiver() as receiver, Call(browser, page_url) as call:
        held = Held(receiver)
        receiver.answer = lambda report: 503 if report.user_id == "bob" else 200
        await call.enter(*(party(user, receiver.url) for user in USERS))
        await asyncio.sleep(4)
        await call.pages[0].goto("about:blank")
        context = call.pages[1].context
        await call.pages[1].close(run_before_unload=True)
        await receiver.wait_for(lambda: {report.user_id for report in receiver.reports} == set(USERS))

        held.kept = {(report.session_id, report.seq) for report in held.of("bob")}
        before = len(receiver.reports)
        receiver.answer = lambda _: 200
        page = await context.new_page()
        await page.goto(page_url)
        await page.wait_for_function("() => window.call !== undefined")
        await page.evaluate("options => call.enter(options, 'alice')", party("bob", receiver.url).options)
        await receiver.wait_for(lambda: len(receiver.reports) > before)
        await page.evaluate("() => call.leave()")
        held.confirmed_late = [report for report in receiver.reports[before:] if report.user_id == "bob"]
    return held


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


def test_every_report_comes_once_and_in_order(calls: dict[str, Held]) -> None:
    held = calls["pause"]
    for user_id, session in zip(USERS, held.sessions, strict=True):
        reports = held.of(user_id)
        assert held.outcomes[user_id] == {"errors": [], "accepted": [report.seq for report in reports]}
        assert [report.seq for report in reports] == list(range(1, len(reports) + 1))
        identity = {(report.session_id, report.sdk_app_id, report.room_id, report.user_sig) for report in reports}
        assert identity == {(session, APP_ID, 8801, f"sig of {user_id}")}
        assert {report.private_map_key for report in reports} == {f"key of {user_id}"}
        events = {event.event_id for report in reports for event in report.events}
        assert {32788, 32789, 32768, 32769} <= events


@pytest.mark.parametrize("user_id", USERS)
def test_the_client_part(calls: dict[str, Held], user_id: str) -> None:
    """The first report says who it is, the last one that the user left; times are the server's."""
    reports = calls["pause"].of(user_id)
    first, last = reports[0].client, reports[-1].client
    assert first is not None
    assert last is not None
    assert (first.role, first.user_type, first.join_cost_ms, first.join_result) == (20, 1, 120, 0)
    assert first.sdk_version == "0.1.0"
    assert first.device_model is not None
    assert first.device_model.startswith("Chrome ")
    assert first.join_ms == pytest.approx(now_ms() + AHEAD_MS, abs=60_000)
    assert first.leave_ms is None
    assert last.leave_ms is not None
    assert last.leave_reason == 1


@pytest.mark.parametrize("user_id", USERS)
def test_samples(calls: dict[str, Held], user_id: str) -> None:
    """They leave no gap, lie in cells of the grid, and tell of both directions."""
    samples = calls["pause"].samples(user_id)
    for sample, following in pairwise(samples):
        assert sample.start_ms + sample.dur_ms == following.start_ms
    for sample in samples:
        assert sample.start_ms // SAMPLE_GRID_MS == (sample.start_ms + sample.dur_ms - 1) // SAMPLE_GRID_MS
    whole = [sample for sample in samples if sample.dur_ms == SAMPLE_GRID_MS]
    assert len(whole) >= 2
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


def test_a_pause_is_a_stutter_of_its_length(calls: dict[str, Held]) -> None:
    held = calls["pause"]
    for pause in held.paused:
        assert pause["sent"] == pause["received"] == {"muted": False, "readyState": "live"}
    start = held.paused[0]["start"] + AHEAD_MS
    found = {kind: episodes(held.of("bob"), kind) for kind in ("big", "audio")}
    seen = {at: length for at, length in found["big"].items() if at < start + 1000 < at + length}
    assert list(seen.values()) == [pytest.approx(2000, abs=200)]
    # A browser may stand still for itself. What the client tells beside the pause has to be such a freeze.
    assert len(found["big"]) <= held.freezes
    # How much sound is missing, and in how many pieces, is the browser's matter: it plays on for as long as its jitter
    # buffer lasts. Here it is told, at its time, and no more than there was; its exact length is a matter of counters,
    # tested with those of a recorded call by test_client_units.
    heard = {at: length for at, length in found["audio"].items() if start - 300 < at < start + 3000}
    assert min(heard) < start + 700
    assert len(heard) <= held.concealments
    assert 1000 < sum(heard.values()) < held.concealed_ms + 50
    assert episodes(held.of("alice"), "big") == {}


def test_bodies(calls: dict[str, Held]) -> None:
    """Plain text, small enough for a page that goes away, compressed where that pays."""
    receiver = calls["pause"].receiver
    assert all(headers["Content-Type"].startswith("text/plain") for headers in receiver.headers)
    assert all(len(body) <= 60_000 for body in receiver.bodies)
    for headers, body in zip(receiver.headers, receiver.bodies, strict=True):
        assert (headers.get("Content-Encoding") == "gzip") == (len(body) >= 8192)
    assert "gzip" in {headers.get("Content-Encoding") for headers in receiver.headers}


def test_trouble_at_the_server_loses_nothing(calls: dict[str, Held]) -> None:
    """503 and a wrong UserSig: the same bytes come again, with the new UserSig after 401."""
    held = calls["trouble"]
    bodies: dict[tuple[str, int], set[bytes]] = defaultdict(set)
    for report, body in zip(held.receiver.reports, held.receiver.bodies, strict=True):
        bodies[report.user_id, report.seq].add(body)
    assert len(bodies["alice", 1]) == 1, "the same bytes each time"
    with_old, with_new = sorted(bodies["bob", 1], key=lambda body: b"new sig" in body)
    assert with_old.replace(b"sig of bob", b"new sig") == with_new
    assert {error["status"] for error in held.outcomes["alice"]["errors"]} == {503}
    assert [error["kind"] for error in held.outcomes["bob"]["errors"]] == ["unauthorized"]
    for user_id in USERS:
        assert held.outcomes[user_id]["accepted"] == [report.seq for report in held.of(user_id)]


def test_pending_reports_are_stored_without_what_proves_the_user(calls: dict[str, Held]) -> None:
    stored = msgspec.json.decode(calls["trouble"].in_storage, type=dict[str, str])
    session = calls["trouble"].sessions[1]
    assert f"roompulse:{APP_ID}:bob:{session}:1" in stored
    assert "sig of bob" not in calls["trouble"].in_storage
    assert "key of bob" not in calls["trouble"].in_storage


def test_a_screen_over_a_second_connection(calls: dict[str, Held]) -> None:
    """It is a stream beside the others, from its first to its last moment; that little moves in it is no stutter."""
    held = calls["trouble"]
    for user_id, peer in (("alice", None), ("bob", "alice")):
        samples = held.samples(user_id)
        streams: list[dict[str, LocalStream | RemoteStream]]
        if peer is None:
            streams = [{stream.type: stream for stream in sample.local} for sample in samples]
        else:
            streams = [{stream.type: stream for stream in sample.remote} for sample in samples]
        shared = [(sample, found) for sample, found in zip(samples, streams, strict=True) if "sub" in found]
        assert 3000 <= sum(sample.dur_ms for sample, _ in shared) <= 6500
        assert {"audio", "big"} <= set(shared[0][1])
        assert {found["sub"].height for _, found in shared} - {None} == {360}
        assert any(found["sub"].bitrate and found["sub"].width for _, found in shared)
        assert "sub" not in streams[0]
        assert "sub" not in streams[-1]
        for sample, following in pairwise(samples):
            assert sample.start_ms + sample.dur_ms == following.start_ms
    assert episodes(held.of("bob"), "sub") == {}


def test_a_page_that_goes_away_sends_its_tail(calls: dict[str, Held]) -> None:
    held = calls["departure"]
    assert sum(sample.dur_ms for sample in held.samples("alice")) >= 1000


def test_what_was_not_confirmed_comes_from_the_users_next_tab(calls: dict[str, Held]) -> None:
    held = calls["departure"]
    late = {(report.session_id, report.seq) for report in held.confirmed_late}
    assert held.kept
    assert held.kept <= late
