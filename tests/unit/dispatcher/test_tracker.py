"""The watermark over completions in any order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.dispatcher.tracker import WINDOW, OffsetTracker


def test_the_watermark_waits_for_the_first_gap() -> None:
    tracker = OffsetTracker(100)
    assert [tracker.take(offset) for offset in range(100, 105)] == [True] * 5
    for offset in (101, 102, 104):
        tracker.complete(offset)
    assert tracker.watermark == 100
    tracker.complete(100)
    assert tracker.watermark == 103
    tracker.complete(103)
    assert (tracker.watermark, tracker.metadata, tracker.next_offset) == (105, "", 105)


def test_offsets_that_kafka_leaves_out_count_as_completed() -> None:
    tracker = OffsetTracker(5)
    tracker.take(5)
    tracker.take(9)
    tracker.complete(5)
    assert tracker.watermark == 9
    tracker.complete(9)
    assert tracker.watermark == 10


def test_completing_twice_and_late_does_no_harm() -> None:
    tracker = OffsetTracker(0)
    tracker.take(0)
    tracker.complete(0)
    assert tracker.watermark == 1
    tracker.complete(0)
    assert tracker.watermark == 1
    assert not tracker.take(0)


def test_metadata_of_the_whole_window_fits_into_a_commit() -> None:
    tracker = OffsetTracker(0)
    for offset in range(WINDOW):
        assert not tracker.full
        tracker.take(offset)
        if offset:
            tracker.complete(offset)
    assert tracker.full
    assert tracker.watermark == 0
    assert len(tracker.metadata) <= 4096
    tracker.complete(0)
    assert not tracker.full


@pytest.mark.parametrize("metadata", ["", "1:", "1:%%%", "2:AAAA", "rubbish", "1:AAA"])
def test_metadata_of_another_format_repeats_everything(metadata: str) -> None:
    tracker = OffsetTracker(7, metadata)
    assert tracker.watermark == 7
    assert tracker.take(7)
    assert tracker.take(8)


@given(
    first=st.integers(0, 1 << 40),
    gaps=st.lists(st.integers(1, 3), min_size=1, max_size=200),
    completed=st.sets(st.integers(0, 199)),
)
def test_a_restart_repeats_what_was_not_completed_and_nothing_else(
    first: int, gaps: list[int], completed: set[int]
) -> None:
    offsets = [first]
    for gap in gaps:
        offsets.append(offsets[-1] + gap)
    tracker = OffsetTracker(first)
    assert [offset for offset in offsets if not tracker.take(offset)] == []
    done = {offsets[index] for index in completed if index < len(offsets)}
    for offset in done:
        tracker.complete(offset)
    left = [offset for offset in offsets if offset not in done]
    watermark = tracker.watermark
    assert watermark == (left[0] if left else offsets[-1] + 1)
    again = OffsetTracker(watermark, tracker.metadata)
    assert [offset for offset in offsets if offset >= watermark and again.take(offset)] == left
    for offset in left:
        again.complete(offset)
    assert again.watermark == offsets[-1] + 1
