"""The state behind one application's live page, and what changed in it since a viewer last looked."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

from services.console.buckets import Latest, Point, bucket_of, dense, latest, unknown_point, window_start

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.console.monitor import Attempt

SHOWN_ATTEMPTS = 50


class Changes(TypedDict):
    """What a viewer has to learn: points that are new or different, and attempts that are new, in order of time."""

    Points: list[Point]
    Attempts: list[Attempt]
    Latest: Latest


class Board:
    """Points and attempts, each with the revision at which it last changed.

    Viewers compare revisions instead of holding queues: one who is slow gets fewer and larger changes, never more.
    """

    def __init__(self, now_ms: int) -> None:
        self.revision = 0
        self._latest = latest([], now_ms)
        self._points: dict[int, tuple[int, Point]] = {}
        self._attempts: dict[str, tuple[int, Attempt]] = {}

    def apply(self, points: Sequence[Point], attempts: Sequence[Attempt], now_ms: int) -> bool:
        """Take in what the tables say now; whether anything is different."""
        next_revision = self.revision + 1
        window = dense(points, bucket_of(now_ms), now_ms)
        newest = latest(window, now_ms)
        changed_points = {
            point["BucketTime"]: (next_revision, point) for point in window if point != self._point(point, now_ms)
        }
        shown = self._newest_attempts(attempts, next_revision)
        changed = bool(changed_points) or newest != self._latest or not shown.keys() <= self._attempts.keys()
        start = window_start(bucket_of(now_ms))
        self._points = {time: entry for time, entry in (self._points | changed_points).items() if time >= start}
        self._attempts = shown
        self._latest = newest
        if changed or self.revision == 0:
            self.revision = next_revision
            return True
        return False

    def since(self, revision: int) -> Changes:
        """What changed after a revision; after 0, everything."""
        points = sorted(self._points.items())
        attempts = reversed(self._attempts.values())
        return Changes(
            Points=[point for _, (changed, point) in points if changed > revision],
            Attempts=[attempt for changed, attempt in attempts if changed > revision],
            Latest=self._latest,
        )

    def _point(self, like: Point, now_ms: int) -> Point:
        """What viewers hold for a bucket: that it is unknown, where they were told nothing."""
        entry = self._points.get(like["BucketTime"])
        return entry[1] if entry else unknown_point(like["BucketTime"], now_ms)

    def _newest_attempts(self, attempts: Sequence[Attempt], revision: int) -> dict[str, tuple[int, Attempt]]:
        """The newest of those known and those just read, newest first."""
        read = {attempt["RequestId"]: (revision, attempt) for attempt in attempts}
        both = sorted((read | self._attempts).items(), key=lambda item: item[1][1]["StartedTime"], reverse=True)
        return dict(both[:SHOWN_ATTEMPTS])
