"""Relay to CDNs and mixing: the states of event 401 and the intervals of the relay."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from schemas.keys import room_key
from schemas.tasks import Robot, TaskOutput
from services.simulator.traffic.roomevents import event
from services.simulator.traffic.seeds import identifier, random_of
from services.simulator.traffic.tasks import SHORTEST_TASK_MS, MediaTask, intervals_of, longest_anchor

if TYPE_CHECKING:
    from collections.abc import Iterator
    from random import Random

    from schemas.tasks import TaskInterval
    from services.simulator.traffic.items import Event
    from services.simulator.traffic.plan import Call

IDLE, CONNECTING, RUNNING, RECOVERING, FAILED, DISCONNECTING = range(6)
DESTINATIONS: tuple[tuple[Literal["css", "other-cdn"], ...], ...] = (("css",), ("other-cdn",), ("css", "other-cdn"))
REPEATED_EVERY_MS = 5000
GIVES_UP_AFTER_MS = 60_000


def relay_call(call: Call, kind: Literal["relay", "mix"]) -> tuple[list[Event], list[tuple[int, TaskInterval]]]:
    """The events of relaying a call, and its intervals with the times when they are sent."""
    anchor = longest_anchor(call)
    if anchor is None:
        return [], []
    rng = random_of(*call.path, kind)
    start_ms = anchor.join_ms + rng.randrange(1500, 6000)
    end_ms = anchor.end_ms - rng.randrange(500, 6000)
    if end_ms - start_ms < SHORTEST_TASK_MS:
        return [], []
    mixes = kind == "mix"
    destinations = rng.choice(DESTINATIONS)
    outputs = [
        TaskOutput(
            format="rtmp",
            codec="h264",
            width=1280 if mixes else None,
            height=720 if mixes else None,
            video_bitrate=1_500_000,
            audio_bitrate=64_000,
            destination=destination,
        )
        for destination in destinations
    ]
    text, room_type = room_key(call.room.room_id)
    further: tuple[Robot, ...] = ()
    if mixes and rng.random() < 0.4:
        # The mix also goes back into a room, where a second robot sends it.
        further = (Robot(room_id=text, room_id_type=room_type, user_id=f"mixback_{call.room.index}"),)
        outputs.append(TaskOutput(format="rtc", codec="h264", width=1280, height=720, destination="rtc"))
    task = MediaTask(
        task_id=identifier(call.run, kind, call.room.index, call.number),
        task_type=kind,
        robot=f"{kind}_{call.room.index}",
        start_ms=start_ms,
        end_ms=end_ms,
        outputs=tuple(outputs),
        further_robots=further,
        only_user="" if mixes else anchor.user_id,
    )
    events = [
        _status(call, task, at_ms, f"rtmp://{destination}.example/live/{call.room.index}", status)
        for destination in destinations
        for at_ms, status in _states(rng, start_ms, end_ms)
    ]
    return events, list(intervals_of(call, task))


def _states(rng: Random, start_ms: int, end_ms: int) -> Iterator[tuple[int, int]]:
    """(when, state) of one target. `CONNECTING` and `RECOVERING` are told every 5 s, for 60 s at most."""
    fate = rng.random()
    if fate < 0.08 and end_ms - start_ms > GIVES_UP_AFTER_MS:
        for at_ms in range(start_ms, start_ms + GIVES_UP_AFTER_MS, REPEATED_EVERY_MS):
            yield at_ms, CONNECTING
        yield start_ms + GIVES_UP_AFTER_MS, FAILED
        return
    yield start_ms, CONNECTING
    at_ms = start_ms + rng.randrange(300, 3000)
    yield at_ms, RUNNING
    if fate < 0.35 and end_ms - at_ms > 30_000:
        lost_ms = at_ms + rng.randrange(2000, (end_ms - at_ms) // 3)
        back_ms = lost_ms + rng.randrange(500, 18_000)
        if fate < 0.15 and end_ms - lost_ms > GIVES_UP_AFTER_MS + 1000:
            back_ms = lost_ms + GIVES_UP_AFTER_MS
        for told_ms in range(lost_ms, back_ms, REPEATED_EVERY_MS):
            yield told_ms, RECOVERING
        if back_ms - lost_ms == GIVES_UP_AFTER_MS:
            yield back_ms, FAILED
            yield back_ms + 200, IDLE
            return
        yield back_ms, RUNNING
    yield end_ms, DISCONNECTING
    yield end_ms + 150, IDLE


def _status(call: Call, task: MediaTask, at_ms: int, url: str, status: int) -> Event:
    payload: dict[str, Any] = {"Url": url, "Status": status}
    if status == FAILED:
        payload |= {"ErrorCode": 1, "ErrorMsg": "the CDN does not answer"}
    made = event(call, 401, at_ms, UserId=task.robot, TaskId=task.task_id, Payload=payload)
    made["EventInfo"]["RoomType"] = room_key(call.room.room_id)[1]
    del made["EventInfo"]["EventTs"]
    return made
