"""How long rows are kept: by the edition of their application, which ClickHouse's own TTL cannot look up.

Once a day, what is older than its application may keep is deleted. Most tables are in parts by day or month: there a
part is dropped as a whole where nobody keeps it any more, and else the rows of those who do not. Calls have no such
parts; they go when they ended long enough ago, with all that they are computed from.

What is about to go is noted in table `expired` first, since nothing may be computed anew from half of its facts.
"""

# ruff: noqa: S608 -- put together from constants of this module, numbers and dates alone
from __future__ import annotations

import asyncio
from calendar import monthrange
from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Literal

import structlog

from services.processor.jobs import Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from services.processor.store import Store
    from services.runtime.settings import Settings

_LATER = "SETTINGS mutations_sync = 0, allow_nondeterministic_mutations = 1"
_PAUSE_S = 0.5

log = structlog.get_logger(__name__)

Kind = Literal["details", "summaries", "usage", "deliveries"]
Keeps = dict[int, date]
"""Application to the first day that it keeps."""

PARTED: dict[Kind, tuple[str, ...]] = {
    "details": (
        *("samples", "streams", "stutters", "client_events", "presence"),
        *("user_10s", "user_1m", "app_10s", "app_1m"),
    ),
    "summaries": ("user_1h", "user_1d", "app_1h", "app_1d"),
    "usage": ("task_intervals", "av_usage_5m", "task_usage_5m", "relay_usage_10s"),
    "deliveries": ("deliveries",),
}
"""Tables that are in parts by day or month; calls and what they are computed from go with the summaries."""

_SESSION = "SdkAppId, RoomId, RoomIdType, UserId, SessionId"
# What remains of call_rows and began before, was going on then: what it is computed from has to stay.
_KEPT = "SELECT SdkAppId, RoomId, StartTime FROM call_rows WHERE SdkAppId IN ({apps}) AND StartTime < {before}"
_OLD_SESSIONS = f"""
SELECT {_SESSION} FROM session_spans AS s LEFT JOIN ({_KEPT}) AS k USING (SdkAppId, RoomId)
WHERE SdkAppId IN ({{apps}})
GROUP BY {_SESSION} HAVING max(s.LastTime) < {{before}} AND NOT max(k.RoomId != '' AND s.LastTime >= k.StartTime)
"""
# In this order: each is found by what is left of those before it.
_CALLS = {
    "call_rows": """StartTime < {before} AND (SdkAppId, RoomId, RoomIdType, StartTime) NOT IN (
        SELECT SdkAppId, RoomId, RoomIdType, StartTime FROM calls
        WHERE SdkAppId IN ({apps}) AND (CloseTime IS NULL OR CloseTime >= {before}))""",
    "stay_rows": f"CallTime < {{before}} AND (SdkAppId, RoomId, CallTime) NOT IN ({_KEPT})",
    "events": f"""EventTime < {{before}} AND (SdkAppId, RoomId, EventId) NOT IN (
        SELECT SdkAppId, RoomId, EventId FROM events INNER JOIN ({_KEPT}) AS k USING (SdkAppId, RoomId)
        WHERE EventTime >= StartTime)""",
    "session_media": f"({_SESSION}) IN ({_OLD_SESSIONS})",
    "sessions": f"({_SESSION}) IN ({_OLD_SESSIONS})",
    "clients": f"SentTime < {{before}} AND ({_SESSION}) NOT IN (SELECT {_SESSION} FROM sessions)",
}


class CannotDelete(Exception):
    """ClickHouse has a deletion that it tries again and again; the message says why it fails."""


class Retention:
    """Deletes what is older than its application may keep."""

    name = "retention"
    every_s = 300.0

    def __init__(self, settings: Settings, known: Callable[[], bool]) -> None:
        """`known` tells whether table `applications` is complete: an edition may have changed a moment ago."""
        self._days: dict[Kind, dict[str, int]] = {
            "details": {
                "free": settings.retention_details_free_days,
                "standard": settings.retention_details_standard_days,
                "premium": settings.retention_details_premium_days,
            },
            "summaries": {
                "free": settings.retention_summary_free_days,
                "standard": settings.retention_summary_standard_days,
                "premium": settings.retention_summary_premium_days,
            },
            "usage": dict.fromkeys(("free", "standard", "premium"), settings.retention_usage_days),
            "deliveries": dict.fromkeys(("free", "standard", "premium"), settings.retention_deliveries_days),
        }
        self._known = known
        self._progress = Progress(self.name)

    async def run(self, store: Store) -> None:
        """Delete, unless that was done today. Rows of applications that nobody knows stay."""
        if not self._known():
            return
        until_us, now_us = await self._progress.begin(store)
        today = datetime.fromtimestamp(now_us / 1e6, UTC).date()
        if datetime.fromtimestamp(until_us / 1e6, UTC).date() == today:
            return
        found = await store.query(self.name, "SELECT SdkAppId, MonitoringEdition FROM applications FINAL", {})
        editions: dict[int, str] = {app: edition for app, edition in found}  # noqa: C416
        for kind, days in self._days.items():
            keeps = {app: today - timedelta(days[edition]) for app, edition in editions.items() if days[edition]}
            if keeps:
                await store.insert("expired", [(app, kind, first) for app, first in keeps.items()])
                for table in PARTED[kind]:
                    await _delete_parts(store, table, keeps)
                if kind == "summaries":
                    await _delete_calls(store, keeps)
        await self._progress.done(store, now_us)


def last_day_of(partition_id: str) -> date:
    """The last day of which rows may be in a part by day (`20261125`) or by month (`202611`)."""
    year, month = int(partition_id[:4]), int(partition_id[4:6])
    return date(year, month, int(partition_id[6:]) if partition_id[6:] else monthrange(year, month)[1])


async def _delete_parts(store: Store, table: str, keeps: Keeps) -> None:
    if await _busy(store, table):
        return
    found = await store.query(
        "parts",
        "SELECT DISTINCT partition_id FROM system.parts "
        "WHERE database = currentDatabase() AND table = {table:String} AND active ORDER BY partition_id",
        {"table": table},
    )
    for (partition,) in found:
        gone = _list(app for app, first in keeps.items() if last_day_of(partition) < first)
        if not gone:
            continue
        rows_of = f"SELECT 1 FROM {table} WHERE _partition_id = '{partition}' AND SdkAppId"
        if not await store.query("parts", f"{rows_of} NOT IN ({gone}) LIMIT 1", {}):
            log.info("expired part dropped", table=table, partition=partition)
            await store.execute(
                "retention",
                f"ALTER TABLE {table} DROP PARTITION ID '{partition}' SETTINGS max_partition_size_to_drop = 0",
                {},
            )
        elif await store.query("parts", f"{rows_of} IN ({gone}) LIMIT 1", {}):
            log.info("expired rows deleted", table=table, partition=partition)
            await store.execute(
                "retention",
                f"ALTER TABLE {table} DELETE IN PARTITION ID '{partition}' WHERE SdkAppId IN ({gone}) {_LATER}",
                {},
            )


async def _delete_calls(store: Store, keeps: Keeps) -> None:
    for first, apps in _by_day(keeps).items():
        scope = {"apps": _list(apps), "before": f"toDateTime64('{first} 00:00:00', 3, 'UTC')"}
        for table, condition in _CALLS.items():
            where = f"SdkAppId IN ({scope['apps']}) AND ({condition.format(**scope)})"
            if await store.query("expired calls", f"SELECT 1 FROM {table} WHERE {where} LIMIT 1", {}):
                await store.execute("retention", f"ALTER TABLE {table} DELETE WHERE {where} {_LATER}", {})
                while await _busy(store, table):  # noqa: ASYNC110 -- the database has nothing to wait for
                    await asyncio.sleep(_PAUSE_S)


async def _busy(store: Store, table: str) -> bool:
    """Whether a deletion is under way. Raises `CannotDelete` where ClickHouse fails to do it."""
    found = await store.query(
        "mutations",
        "SELECT latest_fail_reason FROM system.mutations "
        "WHERE database = currentDatabase() AND table = {table:String} AND NOT is_done LIMIT 1",
        {"table": table},
    )
    for (reason,) in found:
        if reason:
            raise CannotDelete(f"{table}: {reason}")
    return bool(found)


def _by_day(keeps: Mapping[int, date]) -> dict[date, list[int]]:
    days: defaultdict[date, list[int]] = defaultdict(list)
    for app, first in keeps.items():
        days[first].append(app)
    return days


def _list(apps: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(apps)))
