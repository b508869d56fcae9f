"""What benches of the processor take for granted: their load is what they say, and a wrong number does not pass."""

from __future__ import annotations

from collections import defaultdict
from itertools import islice, pairwise

import msgspec
import pytest

from schemas.reports import AcceptedReport, ReportBatch
from tests.bench.load import APP, records, rounds
from tests.bench.pipeline import together
from tests.bench.processor import judged
from tests.bench.scale import splits
from tests.bench.steady import Freshness
from tests.bench.tempo import Due, due_reports

START_MS = 1_790_000_000_000


def test_reports_at_a_pace_are_those_of_users_who_go_on_and_enter_anew() -> None:
    users, turns = 20, 60
    due = list(islice(due_reports(10, START_MS), users * turns))
    assert [report.due_ms for report in due[: users + 1 : users]] == [START_MS, START_MS + 10_000]
    known: defaultdict[str, list[AcceptedReport]] = defaultdict(list)
    for sent in due:
        report = msgspec.json.decode(sent.value, type=AcceptedReport)
        assert (report.sdk_app_id, report.user_id) == (APP, f"user_{sent.room}_{sent.user}")
        assert report.room_id == sent.room
        assert report.samples[0].start_ms == sent.first_ms
        # All that it tells had happened when it was sent, two seconds before at most.
        assert sent.due_ms - 2_000 < report.sent_ms <= sent.due_ms
        known[report.user_id].append(report)
    assert len(known) == users
    for reports in known.values():
        starts = [sample.start_ms for report in reports for sample in report.samples]
        assert {after - before for before, after in pairwise(starts)} == {2_000}
        entered = [report.session_id for report in reports if report.client is not None]
        assert entered == list(dict.fromkeys(report.session_id for report in reports))
        # Sessions of thirty reports, those of one room begun one report before those of the next.
        place = reports[0].room_id
        assert isinstance(place, int)
        assert len(entered) == (turns + place - 2) // 30 - (place - 1) // 30 + 1


def test_rounds_of_few_rooms_fill_records_as_those_of_many() -> None:
    sizes = []
    for rooms in (10, 1_000):
        batches = [
            len(msgspec.json.decode(value, type=ReportBatch).reports)
            for reports in together(rounds(rooms, 4, 20_000, START_MS))
            for _, value, _ in records(reports, 8)
        ]
        assert sum(batches) == 4_000
        sizes.append(sum(batches) / len(batches))
    assert sizes[0] == pytest.approx(sizes[1], rel=0.1)


def test_what_a_framework_found_is_right_only_when_every_window_is() -> None:
    told = {"1/10": 700, "2/10": 1400}
    assert judged({"2/10": 1400, "1/10": 700}, told).startswith("right")
    for wrong in ({"1/10": 1400, "2/10": 700}, {"1/10": 700}, told | {"1/20": 700}, {}):
        assert judged(wrong, told).startswith("WRONG")
    assert judged(None, told) == "had not read all of it"


def test_freshness_counts_from_the_last_acknowledgement_to_the_first_look_that_shows_all() -> None:
    def report(room: int, first_ms: int) -> Due:
        return Due(first_ms + 10_000, room, 0, first_ms, b"")

    freshness = Freshness(1)
    freshness.acknowledged([report(1, START_MS)], 100.0)
    freshness.acknowledged([report(2, START_MS)], 101.0)
    bucket = START_MS
    freshness.read(f"1\t{bucket}\t8000\n0\t{bucket}\t8000\n", 100.5)
    freshness.read(f"1\t{bucket}\t10000\n0\t{bucket}\t10000\n", 102.0)
    freshness.read(f"1\t{bucket}\t10000\n0\t{bucket}\t20000\n", 104.0)
    freshness.read(f"1\t{bucket}\t10000\n0\t{bucket}\t20000\n", 106.0)
    freshness.shut(bucket + 20_000, 0)
    assert (freshness.rooms, freshness.application) == ([], []), "more reports may still come"
    freshness.shut(bucket + 30_000, 0)
    assert (freshness.rooms, freshness.application, freshness.lost) == ([2.0], [3.0], 0)


def test_a_number_that_is_never_right_is_lost() -> None:
    freshness = Freshness(1)
    freshness.acknowledged([Due(START_MS + 10_000, 1, 0, START_MS, b"")], 100.0)
    freshness.read(f"1\t{START_MS}\t10000\n0\t{START_MS}\t12000\n", 101.0)
    freshness.shut(START_MS + 30_000, 0)
    assert (freshness.rooms, freshness.application, freshness.lost) == ([1.0], [], 0)
    freshness.shut(START_MS + 70_000, 0)
    assert (freshness.rooms, freshness.application, freshness.lost) == ([1.0], [], 1)


def test_how_two_workers_split_a_large_room() -> None:
    assert splits(8, rooms=100)["halves"] == 100
    assert splits(1, rooms=100) == {"alternating": 0, "halves": 0}
