"""The simulated day of the storage bench: what it measures is worth as much as its values are like real ones."""

from __future__ import annotations

from collections import defaultdict

import pytest

from schemas.reports import SAMPLE_GRID_MS, AcceptedReport, Sample
from tests.bench.day import NETWORKS, Day
from tests.bench.recording import Recording

FIRST_MS = 1_769_817_600_000


@pytest.fixture(scope="module")
def day() -> Day:
    return Day(FIRST_MS, 60_000)


@pytest.fixture(scope="module")
def reports(day: Day) -> list[AcceptedReport]:
    return list(day.reports())


@pytest.fixture(scope="module")
def stays(reports: list[AcceptedReport]) -> dict[str, list[Sample]]:
    """Samples by session."""
    found: defaultdict[str, list[Sample]] = defaultdict(list)
    for report in reports:
        found[report.session_id] += report.samples
    return dict(found)


def test_every_network_was_recorded() -> None:
    recording = Recording()
    assert set(recording.users) == set(NETWORKS)
    assert {(received, kind) for _, received, kind in recording.streams} == {
        (received, kind) for received in (False, True) for kind in ("audio", "big", "sub")
    }


def test_reports_come_in_the_order_of_their_arrival(reports: list[AcceptedReport]) -> None:
    assert [report.arrival_ms for report in reports] == sorted(report.arrival_ms for report in reports)
    assert all(report.arrival_ms > report.samples[-1].start_ms for report in reports)


def test_the_number_of_stream_samples_is_told(day: Day, stays: dict[str, list[Sample]]) -> None:
    found = sum(len(sample.local) + len(sample.remote) for samples in stays.values() for sample in samples)
    assert found == day.streams >= 60_000


def test_samples_lie_in_their_cells_without_a_gap(stays: dict[str, list[Sample]]) -> None:
    for samples in stays.values():
        cells = [sample.start_ms // SAMPLE_GRID_MS for sample in samples]
        assert cells == list(range(cells[0], cells[0] + len(cells)))
        for sample, cell in zip(samples, cells, strict=True):
            assert sample.start_ms + sample.dur_ms <= (cell + 1) * SAMPLE_GRID_MS


def test_no_two_streams_are_alike(stays: dict[str, list[Sample]]) -> None:
    """What is measured of the same length differs everywhere: nothing compresses that would not in earnest."""
    series: defaultdict[tuple[str, str, str], list[int | None]] = defaultdict(list)
    for session, samples in stays.items():
        for sample in samples:
            for stream in sample.remote:
                series[session, stream.user_id, stream.type].append(stream.bitrate)
    windows = [
        tuple(bitrates[at : at + 5])
        for bitrates in series.values()
        for at in range(len(bitrates) - 4)
        if None not in bitrates[at : at + 5] and all(bitrates[at : at + 5])
    ]
    assert len(windows) > 10_000
    assert len(set(windows)) == len(windows)
