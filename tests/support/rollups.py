"""Rows of the tables that the console reads, written straight into ClickHouse."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.support.clickhouse import ClickHouseServer


class Rollups:
    """Inserts rows of one application; each later row of a bucket replaces the one before."""

    def __init__(self, clickhouse: ClickHouseServer, database: str, sdk_app_id: int) -> None:
        self._clickhouse = clickhouse
        self._database = database
        self.sdk_app_id = sdk_app_id
        self._computed = 0

    def app(self, bucket_ms: int, **columns: Any) -> None:
        """A row of `app_10s`; sums that are not named are zero."""
        self._insert("app_10s", self._app_row(bucket_ms, columns))

    def app_window(self, last_bucket_ms: int, count: int, **columns: Any) -> None:
        """The same row of `app_10s` in each of `count` buckets up to the last."""
        rows = [self._app_row(last_bucket_ms - number * 10_000, columns) for number in range(count)]
        self._insert("app_10s", *rows)

    def room(self, bucket_ms: int, room_id: str, room_id_type: int, **columns: Any) -> None:
        """Rows of `user_10s` that add up to this row of the view `room_10s`."""
        self._insert("user_10s", *_room_rows(bucket_ms, room_id, room_id_type, columns))

    def room_window(self, last_bucket_ms: int, count: int, room_id: str, room_id_type: int, **columns: Any) -> None:
        """The same row of `room_10s` in each of `count` buckets up to the last."""
        times = [last_bucket_ms - number * 10_000 for number in range(count)]
        self._insert("user_10s", *(row for time in times for row in _room_rows(time, room_id, room_id_type, columns)))

    def rooms(self, bucket_ms: int, room_ids: Iterable[str], **columns: Any) -> None:
        """Rows of string rooms that differ in their ids alone."""
        self._insert("user_10s", *(row for room_id in room_ids for row in _room_rows(bucket_ms, room_id, 1, columns)))

    def attempt(self, delivery_id: str, attempt: int, started_ms: int, **columns: Any) -> None:
        """A row of `deliveries`."""
        row = {
            "DeliveryId": delivery_id,
            "Attempt": attempt,
            "RequestId": f"{delivery_id}-{attempt}",
            "EventId": f"event-{delivery_id}",
            "EventGroupId": 1,
            "EventType": 103,
            "EventTime": _time(started_ms - 200),
            "AcceptedTime": _time(started_ms - 100),
            "RoomId": "8801",
            "RoomIdType": 0,
            "UserId": "alice",
            "TaskId": "",
            "Url": "http://customer.example:9000/callback",
            "CallbackTime": _time(started_ms),
            "StartedTime": _time(started_ms),
            "DurationMs": 12,
            "Status": 200,
            "Outcome": "delivered",
            "ErrorClass": "",
            "Error": "",
            "Response": '{"code":0}',
        }
        self._insert("deliveries", row | columns)

    def _app_row(self, bucket_ms: int, columns: dict[str, Any]) -> dict[str, Any]:
        counts = {"OnlineUsers": 0, "OnlineRooms": 0, "AbnormalUsers": 0}
        return {"BucketTime": _time(bucket_ms), **counts, **_sums(), **columns}

    def _insert(self, table: str, *rows: dict[str, Any]) -> None:
        self._computed += 1
        lines = []
        for row in rows:
            if table != "deliveries":
                row["ComputedTime"] = _time(1_700_000_000_000 + self._computed)
            if table == "user_10s":
                row["Version"] = self._computed
            lines.append(orjson.dumps({"SdkAppId": self.sdk_app_id, **row}).decode())
        self._clickhouse.query(f"INSERT INTO `{self._database}`.{table} FORMAT JSONEachRow {' '.join(lines)}")


def _room_rows(bucket_ms: int, room_id: str, room_id_type: int, columns: dict[str, Any]) -> list[dict[str, Any]]:
    sums = _sums() | columns
    online, abnormal = sums.pop("OnlineUsers", 0), sums.pop("AbnormalUsers", 0)
    key = {"BucketTime": _time(bucket_ms), "RoomId": room_id, "RoomIdType": room_id_type}
    rows = []
    for number in range(max(online, abnormal, 1)):
        row = {**key, "UserId": f"user-{number}", "SessionId": "s", "ReportedMs": 10_000 if number < online else 0}
        if number < abnormal:
            row["Exceptions"] = [{"Exception": "cpu", "PeerId": "", "Stream": "audio", "Cause": "device"}]
        rows.append({**row, **sums} if number == 0 else row)
    return rows


def _sums() -> dict[str, int]:
    return {"VideoStutterMs": 0, "VideoPlayMs": 0, "AudioStutterMs": 0, "AudioPlayMs": 0}


def _time(ms: int) -> str:
    return f"{ms // 1000}.{ms % 1000:03}"
