"""What every server-side media task has: when it runs, what it receives, and the intervals it accounts for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from msgspec import Struct

from schemas.keys import room_key
from schemas.tasks import MAX_INTERVAL_MS, Robot, TaskInput, TaskInterval, TaskOutput

if TYPE_CHECKING:
    from collections.abc import Iterator

    from services.simulator.traffic.plan import Call, Stay

SHORTEST_TASK_MS = 15_000


class MediaTask(Struct, frozen=True, kw_only=True):
    """A recorder or relay that sits in the call's room from `start_ms` to `end_ms`."""

    task_id: str
    task_type: Literal["record", "relay", "mix"]
    robot: str
    start_ms: int
    end_ms: int
    outputs: tuple[TaskOutput, ...]
    record_mode: Literal["single", "mixed"] | None = None
    further_robots: tuple[Robot, ...] = ()
    only_user: str = ""
    """A relay of a single user's stream."""


def intervals_of(call: Call, task: MediaTask) -> Iterator[tuple[int, TaskInterval]]:
    """(when it is sent, interval) of a task: a new one wherever an input changes, at most 60 s each.

    Every seventh is first sent while it is still growing; the longer one that follows replaces it.
    """
    edges = sorted(
        {
            edge
            for stream in call.streams
            for piece in stream.pieces
            for edge in (piece.start_ms, piece.end_ms)
            if task.start_ms < edge < task.end_ms
        }
        | {task.end_ms}
    )
    start_ms = task.start_ms
    count = 0
    inputs = _inputs(call, task, start_ms)
    for edge in edges:
        then = _inputs(call, task, edge) if edge < task.end_ms else None
        if then == inputs:
            continue
        while start_ms < edge:
            end_ms = min(start_ms + MAX_INTERVAL_MS, edge)
            count += 1
            if count % 7 == 0 and end_ms - start_ms > 2000:
                half_ms = start_ms + (end_ms - start_ms) // 2
                yield half_ms + 100, _interval(call, task, start_ms, half_ms, inputs, final=False)
            yield end_ms + 100, _interval(call, task, start_ms, end_ms, inputs, final=end_ms == task.end_ms)
            start_ms = end_ms
        inputs = then or []


def _interval(
    call: Call, task: MediaTask, start_ms: int, end_ms: int, inputs: list[TaskInput], *, final: bool
) -> TaskInterval:
    text, room_type = room_key(call.room.room_id)
    return TaskInterval(
        task_id=task.task_id,
        task_type=task.task_type,
        record_mode=task.record_mode,
        room_id=text,
        room_id_type=room_type,
        robots=[Robot(room_id=text, room_id_type=room_type, user_id=task.robot), *task.further_robots],
        start_ms=start_ms,
        end_ms=end_ms,
        final=final,
        inputs=inputs,
        outputs=list(task.outputs),
    )


def _inputs(call: Call, task: MediaTask, at_ms: int) -> list[TaskInput]:
    """What the task receives at one moment: everybody's sound, main picture and screen."""
    return [
        TaskInput(
            user_id=stream.user_id,
            type=stream.type,
            width=piece.width or None,
            height=piece.height or None,
        )
        for stream in call.streams
        if stream.type != "small" and task.only_user in ("", stream.user_id)
        for piece in stream.pieces
        if piece.start_ms <= at_ms < piece.end_ms
    ]


def longest_anchor(call: Call) -> Stay | None:
    """Whose media a task may follow: of those who send, the one who stays longest."""
    senders = {stream.user_id for stream in call.streams}
    stays = [stay for stay in call.stays if stay.user_id in senders]
    return max(stays, key=lambda stay: stay.end_ms - stay.join_ms, default=None)
