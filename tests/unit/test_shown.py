"""What is told of one callback: its state, and which bytes the next request would have."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

import pytest

from schemas.applications import Application, CallbackConfig
from schemas.deliveries import delivery_id
from services.console.shown import show

if TYPE_CHECKING:
    from services.console.monitor import Monitor

APP = 1400000001
NOW = 1_785_000_000_000
EVENT = {
    "EventId": "e1",
    "EventGroupId": 1,
    "EventType": 103,
    "EventTime": NOW - 5_000,
    "ArrivalTime": NOW - 4_900,
    "RoomId": "lobby",
    "RoomIdType": 1,
    "UserId": "alice",
    "TaskId": "",
    "EventInfo": '{"RoomId": "lobby"}',
    "Extra": "",
}


class Tables:
    """The tables, with one event and its attempts."""

    def __init__(self, *attempts: tuple[int, str, int], error_class: str = "status", event: bool = True) -> None:
        """Attempts as (number, outcome, milliseconds before now)."""
        self.asked: list[str] = []
        self._event = EVENT if event else None
        self._attempts = [
            {
                **{name: value for name, value in EVENT.items() if name not in ("EventInfo", "Extra", "ArrivalTime")},
                "DeliveryId": delivery_id(APP, "e1"),
                "Attempt": number,
                "RequestId": f"r{number}",
                "AcceptedTime": NOW - 4_800,
                "Url": "http://customer.example/hook",
                "CallbackTime": NOW - ago,
                "StartedTime": NOW - ago,
                "DurationMs": 1,
                "Status": 500,
                "Outcome": outcome,
                "ErrorClass": error_class,
                "Error": "",
                "Response": "",
            }
            for number, outcome, ago in attempts
        ]

    async def attempts(self, sdk_app_id: int, **asked: Any) -> list[dict[str, Any]]:
        assert sdk_app_id == APP
        return [row for row in reversed(self._attempts) if row["DeliveryId"] in asked["narrowed"].ids]

    async def event(self, sdk_app_id: int, event_id: str, *, room: str | None = None) -> dict[str, Any] | None:
        self.asked.append(event_id)
        return self._event if (sdk_app_id, event_id) == (APP, "e1") and room in (None, "lobby") else None


async def shown_of(tables: Tables, *, url: str = "http://customer.example/new", name: str = "e1") -> Any:
    application = Application(
        sdk_app_id=APP,
        name="one",
        status="enabled",
        version=1,
        created_ms=0,
        secret_key="",
        callback_key="Key1",
        callback=CallbackConfig(room_url=url),
    )
    return await show(cast("Monitor", tables), application, name, NOW)


@pytest.mark.parametrize(
    ("attempts", "state", "callback_ts"),
    [
        ([], "waiting", NOW),
        ([(1, "failed", 20_000)], "waiting", NOW - 20_000),
        ([(1, "failed", 60_000), (2, "failed", 59_000)], "waiting", NOW - 59_000),
        ([(1, "failed", 60_001), (2, "failed", 1_000)], "waiting", NOW),
        ([(1, "failed", 50_000), (2, "given-up", 40_000)], "given-up", NOW),
        ([(1, "failed", 50_000), (2, "delivered", 40_000)], "delivered", None),
        # Sent once more: the attempts of that count.
        ([(1, "failed", 900_000), (2, "given-up", 840_000), (1, "failed", 5_000)], "waiting", NOW - 5_000),
        ([(1, "given-up", 900_000), (1, "given-up", 840_000)], "given-up", NOW),
        ([(1, "given-up", 900_000), (1, "delivered", 840_000)], "delivered", None),
        ([(1, "delivered", 900_000), (1, "failed", 840_000)], "delivered", None),
    ],
)
async def test_state_and_next_request(
    attempts: list[tuple[int, str, int]], state: str, callback_ts: int | None
) -> None:
    shown = await shown_of(Tables(*attempts))
    assert (shown["State"], [row["Attempt"] for row in shown["Attempts"]]) == (state, [row[0] for row in attempts])
    if callback_ts is None:
        assert shown["Next"] is None
    else:
        assert shown["Next"]["Url"] == "http://customer.example/new"
        assert json.loads(shown["Next"]["Body"])["CallbackTs"] == callback_ts


async def test_without_a_url_nothing_is_next() -> None:
    assert (await shown_of(Tables((1, "failed", 1_000)), url=""))["Next"] is None
    assert (await shown_of(Tables((1, "failed", 1_000)), url="http://customer.example:port/"))["Next"] is None


@pytest.mark.parametrize("error_class", ["parked", "no-url", "disabled"])
async def test_rows_without_an_attempt_have_no_request(error_class: str) -> None:
    shown = await shown_of(Tables((7, "given-up", 1_000), error_class=error_class))
    assert shown["Attempts"][0]["Request"] is None
    assert shown["Next"] is not None


async def test_while_the_tables_have_no_event_there_are_attempts_alone() -> None:
    shown = await shown_of(Tables((1, "failed", 1_000), event=False), name=delivery_id(APP, "e1"))
    assert (shown["EventId"], shown["Attempts"][0]["Request"], shown["Next"]) == ("e1", None, None)


async def test_what_nobody_knows() -> None:
    assert await shown_of(Tables(event=False)) is None
    assert await shown_of(Tables((1, "failed", 1_000)), name="e2") is None
