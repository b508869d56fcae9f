"""The topic catalogue: every topic of Roompulse with its key, partitions, retention and cleanup."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS


class Topic(Struct, frozen=True, kw_only=True):
    """One topic; `partitions` None means the installation's setting."""

    name: str
    key: str
    cleanup: Literal["delete", "compact"]
    retention_ms: int | None = None
    partitions: int | None = None
    about: str

    @property
    def config(self) -> dict[str, str]:
        """The topic's settings in the broker's words."""
        config: dict[str, str] = {"cleanup.policy": self.cleanup}
        if self.retention_ms is not None:
            config["retention.ms"] = str(self.retention_ms)
        if self.cleanup == "compact":
            # Followers read such a topic from its start; small segments let compaction reach recent records.
            config["segment.ms"] = str(HOUR_MS)
        return config


QUALITY = Topic(
    name="quality",
    key="none; the partition is that of (SdkAppId, room, user shard)",
    cleanup="delete",
    retention_ms=3 * DAY_MS,
    about="Batches of quality reports",
)
EVENTS = Topic(
    name="events",
    key="SdkAppId and room, without a room the task",
    cleanup="delete",
    retention_ms=7 * DAY_MS,
    about="Room, media, recording and relay events, one a record",
)
TASKS = Topic(
    name="tasks",
    key="SdkAppId and room, without a room the task",
    cleanup="delete",
    retention_ms=7 * DAY_MS,
    about="Intervals of server-side media tasks",
)
TOUCHED = Topic(
    name="touched",
    key="none; the partition is that of the room or application",
    cleanup="delete",
    retention_ms=3 * DAY_MS,
    about="What new facts touched and has to be recomputed",
)
APPLICATIONS = Topic(
    name="applications",
    key="SdkAppId",
    cleanup="compact",
    partitions=1,
    about="Application records; secrets are sealed",
)
RETRIES = Topic(
    name="retries",
    key="delivery id",
    cleanup="compact",
    about="Callbacks that wait for another attempt; a tombstone when done",
)
DEAD_LETTERS = Topic(
    name="dead-letters",
    key="SdkAppId and room",
    cleanup="delete",
    retention_ms=30 * DAY_MS,
    about="Callbacks given up, kept for replay",
)
DELIVERIES = Topic(
    name="deliveries",
    key="delivery id",
    cleanup="delete",
    retention_ms=3 * DAY_MS,
    about="One record an attempt, on its way to ClickHouse",
)
DISABLED_ENDPOINTS = Topic(
    name="disabled-endpoints",
    key="SdkAppId and URL",
    cleanup="compact",
    partitions=1,
    about="Endpoints that answered that they are gone",
)

CATALOGUE = (
    QUALITY,
    EVENTS,
    TASKS,
    TOUCHED,
    APPLICATIONS,
    RETRIES,
    DEAD_LETTERS,
    DELIVERIES,
    DISABLED_ENDPOINTS,
)
