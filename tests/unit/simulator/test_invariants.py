"""What holds for every call, whatever the seed."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from schemas.keys import room_key
from schemas.reports import SAMPLE_GRID_MS, Report, Sample
from services.simulator.traffic.rooms import calls_of, room_of
from services.simulator.traffic.scenario import Scenario
from services.simulator.traffic.truth import ground_truth
from tests.unit.simulator.scenarios import SEEDS, START_MS, events_of, reports_of, scenario

if TYPE_CHECKING:
    from services.simulator.traffic.plan import Call

Session = tuple[str, int, str, str]


def room_of_event(info: dict[str, object], room_type: object) -> tuple[str, int]:
    room = info["RoomId"]
    assert isinstance(room, int | str)
    text, by_type = room_key(room)
    return text, by_type if room_type is None else int(str(room_type))


def sessions(seed: int) -> dict[Session, list[Report]]:
    found: dict[Session, list[Report]] = defaultdict(list)
    for report in reports_of(scenario(seed)):
        found[*room_key(report.room_id), report.user_id, report.session_id].append(report)
    return found


def all_calls(of: Scenario) -> list[Call]:
    return [call for index in range(of.rooms) for call in calls_of(of, room_of(index))]


@pytest.mark.parametrize("seed", SEEDS)
def test_entering_and_leaving_alternate(seed: int) -> None:
    inside: dict[tuple[str, int, str], bool] = defaultdict(bool)
    for event in events_of(scenario(seed)):
        if event["EventType"] not in (103, 104, 105):
            continue
        info = event["EventInfo"]
        user = (*room_of_event(info, None), info["UserId"])
        assert inside[user] == (event["EventType"] != 103), event
        inside[user] = event["EventType"] != 104
    assert not any(inside.values())


@pytest.mark.parametrize("seed", SEEDS)
def test_a_room_is_created_before_and_closed_after_all_else(seed: int) -> None:
    for call in all_calls(scenario(seed)):
        assert all(call.stays[0].join_ms <= stay.join_ms < stay.end_ms <= stay.removed_ms for stay in call.stays)
        assert call.closed_ms > call.last_removal_ms
        for stream in call.streams:
            assert call.start_ms < stream.start_ms < stream.end_ms
            assert stream.pieces[0].start_ms == stream.start_ms
            assert stream.pieces[-1].end_ms == stream.end_ms
            for earlier, later in pairwise(stream.pieces):
                assert earlier.end_ms == later.start_ms


@pytest.mark.parametrize("seed", SEEDS)
def test_calls_of_a_room_do_not_overlap(seed: int) -> None:
    reused = 0
    for index in range(12):
        calls = list(calls_of(scenario(seed), room_of(index)))
        reused += len(calls) > 1
        for earlier, later in pairwise(calls):
            assert earlier.closed_ms < later.start_ms
    assert reused


@pytest.mark.parametrize("seed", SEEDS)
def test_media_events_fit_the_stay(seed: int) -> None:
    """202, 204 and 206 come only while their user is inside, and only after their start."""
    sending: dict[tuple[str, int, str, int], bool] = defaultdict(bool)
    inside: set[tuple[str, int, str]] = set()
    for event in events_of(scenario(seed)):
        kind, info = event["EventType"], event["EventInfo"]
        if kind > 206 or kind in (101, 102, 105):
            continue
        user = (*room_of_event(info, None), info["UserId"])
        if kind == 103:
            inside.add(user)
            continue
        if kind == 104:
            inside.discard(user)
            for start in (201, 203, 205):
                sending[*user, start] = False
            continue
        start = kind - 1 if kind % 2 == 0 else kind
        assert user in inside, event
        assert sending[*user, start] == (kind % 2 == 0), event
        sending[*user, start] = kind % 2 == 1


@pytest.mark.parametrize("seed", SEEDS)
def test_samples_cover_a_session_without_overlap_and_respect_the_grid(seed: int) -> None:
    for reports in sessions(seed).values():
        samples = [sample for report in sorted(reports, key=lambda report: report.seq) for sample in report.samples]
        for sample in samples:
            assert sample.dur_ms > 0
            assert sample.start_ms // SAMPLE_GRID_MS == (sample.start_ms + sample.dur_ms - 1) // SAMPLE_GRID_MS
        for earlier, later in pairwise(samples):
            assert earlier.start_ms + earlier.dur_ms == later.start_ms


@pytest.mark.parametrize("seed", SEEDS)
def test_reports_count_from_one_and_come_every_ten_seconds(seed: int) -> None:
    for reports in sessions(seed).values():
        assert [report.seq for report in reports] == list(range(1, len(reports) + 1))
        assert reports[0].client is not None
        if reports[0].samples:
            assert reports[0].sent_ms - reports[0].samples[0].start_ms <= 3000
        for report in reports:
            assert all(sample.start_ms + sample.dur_ms <= report.sent_ms for sample in report.samples)
        for earlier, later in pairwise(reports[:-1]):
            assert later.sent_ms - earlier.sent_ms == 10_000


@pytest.mark.parametrize("seed", SEEDS)
def test_a_stream_keeps_its_size_within_a_sample(seed: int) -> None:
    """Whatever starts, stops or changes its size does so at the edge of a sample."""
    for call in all_calls(scenario(seed)):
        by_session: dict[str, list[Sample]] = defaultdict(list)
        for report in reports_of(scenario(seed)):
            if report.room_id == call.room.room_id:
                by_session[report.session_id] += report.samples
        for stay in call.stays:
            changes = [
                edge
                for stream in call.streams
                if stream.user_id == stay.user_id
                for piece in stream.pieces
                for edge in (piece.start_ms, piece.end_ms)
            ]
            for sample in by_session[stay.session_id]:
                assert not any(sample.start_ms < edge < sample.start_ms + sample.dur_ms for edge in changes)


@pytest.mark.parametrize("seed", SEEDS)
def test_an_episode_is_sent_again_and_grows(seed: int) -> None:
    crossing = 0
    for reports in sessions(seed).values():
        seen: dict[tuple[str, str, int], tuple[int, int]] = {}
        for sample in (sample for report in reports for sample in report.samples):
            end_ms = sample.start_ms + sample.dur_ms
            for stream in sample.remote:
                assert not (stream.muted and stream.stutters)
                for start_ms, length in stream.stutters:
                    key = stream.user_id, stream.type, start_ms
                    assert sample.start_ms < start_ms + length <= end_ms
                    if start_ms < sample.start_ms:
                        crossing += 1
                        # It was alive at the very end of the sample before, and has grown since.
                        assert seen[key][1] == sample.start_ms
                        assert length > seen[key][0]
                    else:
                        assert key not in seen
                    seen[key] = length, end_ms
    assert crossing > 20


@pytest.mark.parametrize("seed", SEEDS)
def test_reports_tell_exactly_the_truth(seed: int) -> None:
    """The longest length of every episode and the time played, put together as the processor does it."""
    longest: dict[tuple[str, str, str], dict[int, int]] = defaultdict(dict)
    played: dict[tuple[str, str, str], int] = defaultdict(int)
    for report in reports_of(scenario(seed)):
        for sample in report.samples:
            for stream in sample.remote:
                key = report.session_id, stream.user_id, stream.type
                played[key] += stream.play_ms or 0
                for start_ms, length in stream.stutters:
                    longest[key][start_ms] = max(length, longest[key].get(start_ms, 0))
    truths = list(ground_truth(scenario(seed)))
    assert {(truth.session_id, truth.peer, truth.type) for truth in truths} == set(played)
    for truth in truths:
        told = truth.session_id, truth.peer, truth.type
        assert played[told] == truth.play_ms
        assert sorted(longest[told].items()) == list(truth.stutters)
    lengths = [length for truth in truths for _, length in truth.stutters]
    assert min(lengths) < 200
    assert max(lengths) > 4000


@pytest.mark.parametrize("seed", SEEDS)
def test_the_scenario_ends_when_it_says(seed: int) -> None:
    end_ms = scenario(seed).end_ms
    assert end_ms is not None
    last_ms = max(event["EventInfo"]["EventMsTs"] for event in events_of(scenario(seed)))
    assert end_ms - 60_000 < last_ms < end_ms + 10_000


def test_rooms_are_numbers_and_texts_and_some_share_a_name() -> None:
    rooms = [room_of(index) for index in range(16)]
    keys = {room_key(room.room_id) for room in rooms}
    assert len(keys) == 16
    assert len({text for text, _ in keys}) == 12
    assert {room.scene for room in rooms} == {"call", "live"}


def test_everything_that_a_call_can_be_occurs() -> None:
    calls = all_calls(Scenario(seed=5, start_ms=START_MS, duration_ms=1_800_000, rooms=30))
    stays = [stay for call in calls for stay in call.stays]
    assert {stay.ending for stay in stays} == {"left", "crashed", "killed", "removed", "dissolved"}
    assert {stay.exit_reason for stay in stays} == {1, 2, 3, 5}
    assert {stay.enter_reason for stay in stays} == {1, 3}
    assert any(not call.tells_end for call in calls)
    assert any(call.closed_ms - call.last_removal_ms == 600_000 for call in calls)
    assert any(stay.removed_ms - stay.end_ms == 90_000 for stay in stays)
    assert any(stay.tail_ms for stay in stays)
    assert any(stay.failed_entry_ms for stay in stays)
    assert any(stay.network_switch for stay in stays)
    assert any(stay.role_changes for stay in stays)
    assert any(piece.muted for call in calls for stream in call.streams for piece in stream.pieces)
    resized = [stream for call in calls for stream in call.streams if len({piece.width for piece in stream.pieces}) > 1]
    assert resized
    assert {stream.type for call in calls for stream in call.streams} == {"audio", "big", "small", "sub"}
    assert len({stay.profile.sdk_type for stay in stays}) == 6
    in_two_rooms = {stay.user_id for stay in stays if stay.user_id.startswith("visitor")}
    assert in_two_rooms


def test_troubles_show_in_the_measurements() -> None:
    """Each exception of the dashboard has its cause in some sample."""
    samples = [sample for seed in SEEDS for report in reports_of(scenario(seed)) for sample in report.samples]
    assert any((sample.sys_cpu or 0) > 85 for sample in samples)
    assert any((sample.sdk_task_ms or 0) > 60 for sample in samples)
    assert any((sample.down_loss or 0) > 10 for sample in samples)
    assert any((sample.up_loss or 0) > 10 for sample in samples)
    local = [stream for sample in samples for stream in sample.local]
    remote = [stream for sample in samples for stream in sample.remote]
    assert any(stream.cap_fps is not None and stream.cap_fps < 10 for stream in local if stream.type == "big")
    assert any(stream.volume == 0 and not stream.muted for stream in local if stream.type == "audio")
    assert any(stream.volume == 0 and not stream.muted for stream in remote if stream.type == "audio")
    assert any((stream.jitter_ms or 0) > 100 for stream in remote)
    assert any((stream.delay_ms or 0) > 400 for stream in remote)
