"""The times of a callback: which `CallbackTs` it has, and what counts against its window."""

from __future__ import annotations

import msgspec

from schemas.retries import RetryRecord
from services.dispatcher.delivery import SAME_BYTES_MS, Delivery
from services.dispatcher.sender import Answer
from tests.unit.dispatcher.deliveries import delivery_of, partition_of


def attempted(attempts: int, first_attempt_ms: int, due_ms: int) -> Delivery:
    delivery = delivery_of(accepted_ms=first_attempt_ms)
    delivery.attempts, delivery.first_attempt_ms, delivery.due_ms = attempts, first_attempt_ms, due_ms
    return delivery


def restarted(delivery: Delivery, now_ms: int) -> Delivery:
    """The same callback, as another dispatcher finds it in the lane."""
    value = msgspec.json.encode(delivery.to_record())
    found = Delivery.of_record(msgspec.json.decode(value, type=RetryRecord), partition_of(), now_ms)
    if found.attempts:
        found.excuse(now_ms)
    return found


def test_the_first_time_is_that_of_the_record() -> None:
    delivery = delivery_of(accepted_ms=1_000)
    assert not delivery.refresh(1_000 + SAME_BYTES_MS)
    assert delivery.callback_ts_at(1_000 + SAME_BYTES_MS) == 1_000
    assert b'"CallbackTs":1000,' in delivery.body_at(delivery.callback_ts_at(1_000))


def test_a_stale_time_is_chosen_anew_once() -> None:
    delivery = delivery_of(accepted_ms=1_000)
    now_ms = 1_001 + SAME_BYTES_MS
    assert delivery.refresh(now_ms)
    assert delivery.callback_ts_at(now_ms + 5) == now_ms
    assert not delivery.refresh(now_ms + 5)
    assert restarted(delivery, now_ms + 500).callback_ts_at(now_ms + 500) == now_ms


def test_attempts_of_the_first_minute_have_the_same_bytes() -> None:
    delivery = attempted(2, 5_000, 15_000)
    assert not delivery.refresh(500_000)
    assert delivery.callback_ts_at(5_000 + SAME_BYTES_MS) == 5_000
    assert delivery.callback_ts_at(5_001 + SAME_BYTES_MS) == 5_001 + SAME_BYTES_MS


def test_time_without_a_dispatcher_is_excused() -> None:
    delivery = restarted(attempted(3, 10_000, 30_000), 100_000)
    assert (delivery.excused_ms, delivery.due_ms, delivery.owed) == (70_000, 100_000, True)
    assert delivery.window_start_ms == 80_000
    again = restarted(delivery, 100_000)
    assert (again.excused_ms, again.due_ms, again.window_start_ms) == (70_000, 100_000, 80_000)


def test_a_short_restart_excuses_nothing() -> None:
    delivery = restarted(attempted(3, 10_000, 30_000), 25_000)
    assert (delivery.excused_ms, delivery.due_ms, delivery.owed) == (0, 30_000, False)


def test_the_lane_keeps_everything() -> None:
    delivery = attempted(3, 10_000, 30_000)
    delivery.excused_ms = 7
    again = restarted(delivery, 0)
    assert again.to_record() == delivery.to_record()
    assert again.delivery_id == delivery.delivery_id
    assert again.in_lane


def test_rooms_without_a_room_keep_the_order_of_their_task() -> None:
    delivery = delivery_of("lobby")
    assert delivery.room == "lobby"
    delivery.event.room_id, delivery.event.task_id = None, "task-1"
    assert delivery.room == "task-1"
    delivery.event.task_id = None
    assert delivery.room == ""


def test_the_row_of_an_attempt() -> None:
    delivery = attempted(2, 10_000, 30_000)
    answer = Answer(status=503, duration_ms=12, error_class="status", error="status 503", response="no")
    row = delivery.attempt(2, 10_000, 20_000, answer, "failed")
    assert (row.attempt, row.started_ms, row.duration_ms, row.status, row.outcome) == (2, 20_000, 12, 503, "failed")
    assert (row.url, row.delivery_id, row.callback_ts) == (delivery.url, delivery.delivery_id, 10_000)
    assert row.request_id != delivery.attempt(3, 10_000, 30_000, answer, "failed").request_id
