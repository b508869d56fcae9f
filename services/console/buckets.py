"""The 10-second grid of the live board: which buckets a page shows, and how far each may be trusted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypedDict

if TYPE_CHECKING:
    from collections.abc import Sequence

BUCKET_MS = 10_000
POINTS = 384
"""Points of a chart: 64 minutes."""
PROVISIONAL_MS = 15_000
"""Clients report every 10 s: until this long after its end, reports with samples of a bucket are still on their way."""
STALE_MS = 60_000
"""A newest bucket that ended longer ago says nothing of now."""

State = Literal["settled", "provisional", "stale", "none"]


class Point(TypedDict):
    """One bucket of one application. None is unknown, never zero; rates are per cent, times Unix milliseconds."""

    BucketTime: int
    OnlineUsers: int | None
    AbnormalUsers: int | None
    OnlineRooms: int | None
    VideoStutterRate: float | None
    AudioStutterRate: float | None
    Provisional: bool


class Latest(TypedDict):
    """The numbers of the tiles. *stale* and *none* have none: nobody reported lately, or in the whole window."""

    State: State
    BucketTime: int | None
    UpdatedTime: int | None
    """The end of the newest bucket that is known."""
    OnlineUsers: int | None
    AbnormalUsers: int | None
    OnlineRooms: int | None
    VideoStutterRate: float | None
    AudioStutterRate: float | None


def bucket_of(time_ms: int) -> int:
    """The start of the bucket that a time falls into."""
    return time_ms - time_ms % BUCKET_MS


def window_start(last_bucket_ms: int) -> int:
    """The first bucket of the chart that ends with this one."""
    return last_bucket_ms - (POINTS - 1) * BUCKET_MS


def is_provisional(bucket_ms: int, now_ms: int) -> bool:
    """Whether the bucket's numbers may still grow in the ordinary course of things."""
    return now_ms < bucket_ms + BUCKET_MS + PROVISIONAL_MS


def unknown_point(bucket_ms: int, now_ms: int) -> Point:
    """The point of a bucket in which nobody reported."""
    return Point(
        BucketTime=bucket_ms,
        OnlineUsers=None,
        AbnormalUsers=None,
        OnlineRooms=None,
        VideoStutterRate=None,
        AudioStutterRate=None,
        Provisional=is_provisional(bucket_ms, now_ms),
    )


def dense(points: Sequence[Point], last_bucket_ms: int, now_ms: int) -> list[Point]:
    """`POINTS` points up to and with the last bucket, those that are missing unknown."""
    known = {point["BucketTime"]: point for point in points}
    times = range(window_start(last_bucket_ms), last_bucket_ms + 1, BUCKET_MS)
    return [known.get(time) or unknown_point(time, now_ms) for time in times]


def latest(points: Sequence[Point], now_ms: int) -> Latest:
    """What the tiles show, from points in order of time.

    The newest settled bucket, since a provisional one lacks the users whose report is still to come; the provisional
    one only where there is no other yet.
    """
    known = [point for point in points if point["OnlineUsers"] is not None]
    if not known:
        return _without_numbers("none", None)
    settled = [point for point in known if not point["Provisional"]]
    chosen = settled[-1] if settled else known[-1]
    if now_ms - known[-1]["BucketTime"] - BUCKET_MS > STALE_MS:
        return _without_numbers("stale", known[-1])
    # A settled bucket from before a silence must not hide that reports have begun to come again.
    if now_ms - chosen["BucketTime"] - BUCKET_MS > STALE_MS:
        chosen = known[-1]
    return Latest(
        State="provisional" if chosen["Provisional"] else "settled",
        BucketTime=chosen["BucketTime"],
        UpdatedTime=chosen["BucketTime"] + BUCKET_MS,
        OnlineUsers=chosen["OnlineUsers"],
        AbnormalUsers=chosen["AbnormalUsers"],
        OnlineRooms=chosen["OnlineRooms"],
        VideoStutterRate=chosen["VideoStutterRate"],
        AudioStutterRate=chosen["AudioStutterRate"],
    )


def at_point(point: Point | None, now_ms: int) -> Latest:
    """What the tiles show when paused at one point, None where its bucket has no row."""
    return latest([point], min(now_ms, point["BucketTime"] + BUCKET_MS)) if point else _without_numbers("none", None)


def _without_numbers(state: State, point: Point | None) -> Latest:
    return Latest(
        State=state,
        BucketTime=point["BucketTime"] if point else None,
        UpdatedTime=point["BucketTime"] + BUCKET_MS if point else None,
        OnlineUsers=None,
        AbnormalUsers=None,
        OnlineRooms=None,
        VideoStutterRate=None,
        AudioStutterRate=None,
    )
