"""Cloud recording: the events 301 to 312 and the intervals of the recorder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from schemas.keys import room_key
from schemas.tasks import TaskOutput
from services.simulator.traffic.roomevents import event
from services.simulator.traffic.seeds import identifier, random_of
from services.simulator.traffic.tasks import SHORTEST_TASK_MS, MediaTask, intervals_of, longest_anchor

if TYPE_CHECKING:
    from collections.abc import Iterator
    from random import Random

    from schemas.tasks import TaskInterval
    from services.simulator.traffic.items import Event
    from services.simulator.traffic.plan import Call

TIMES_AS_TEXT = frozenset({301, 302, 307})
"""Recorders write `EventTs` of these as text."""
STOP_CALLED = 0
ROOM_CLOSED = 4
NOBODY_LEFT = 99


def record_call(call: Call) -> tuple[list[Event], list[tuple[int, TaskInterval]]]:
    """The events of a call's recording, and its intervals with the times when they are sent."""
    anchor = longest_anchor(call)
    if anchor is None:
        return [], []
    rng = random_of(*call.path, "recording")
    start_ms = anchor.join_ms + rng.randrange(800, 3000)
    end_ms = min(anchor.end_ms + rng.randrange(-4000, 4000), call.end_ms)
    if end_ms - start_ms < SHORTEST_TASK_MS:
        return [], []
    mixed = rng.random() < 0.5
    to_vod = rng.random() < 0.4
    width, height = (1280, 720) if mixed else (None, None)
    task = MediaTask(
        task_id=identifier(call.run, "recording", call.room.index, call.number),
        task_type="record",
        record_mode="mixed" if mixed else "single",
        robot=f"rec_{call.room.index}",
        start_ms=start_ms,
        end_ms=end_ms,
        outputs=(
            TaskOutput(
                format="mp4" if to_vod else "hls+mp4",
                codec="h264",
                width=width,
                height=height,
                video_bitrate=550_000 if mixed else None,
                audio_bitrate=64_000 if mixed else None,
                destination="vod" if to_vod else rng.choice(("cos", "other-storage")),
            ),
        ),
    )
    recorder = _Recorder(call, task)
    if rng.random() < 0.05:
        return [recorder.event(301, start_ms, {"Status": 1})], []
    events = list(recorder.life(rng, anchor.user_id, to_vod=to_vod))
    return events, list(intervals_of(call, task))


class _Recorder:
    def __init__(self, call: Call, task: MediaTask) -> None:
        self._call = call
        self._task = task
        self._mixed = task.record_mode == "mixed"
        self._file = f"{call.room.index}_{task.task_id[:12]}"

    def event(self, event_type: int, at_ms: int, payload: dict[str, Any]) -> Event:
        """An event of group 3; a recorder writes numeric rooms as text."""
        text, room_type = room_key(self._call.room.room_id)
        task = self._task
        made = event(self._call, event_type, at_ms, UserId=task.robot, TaskId=task.task_id, Payload=payload)
        made["EventInfo"]["RoomId"] = text
        if event_type in TIMES_AS_TEXT:
            made["EventInfo"]["EventTs"] = str(at_ms // 1000)
        if self._call.room.names_type:
            made["RoomIdType"] = room_type
        return made

    def life(self, rng: Random, user_id: str, *, to_vod: bool) -> Iterator[Event]:
        """From the recorder's start to its last file."""
        start_ms, end_ms = self._task.start_ms, self._task.end_ms
        yield self.event(301, start_ms, {"Status": 0})
        if rng.random() < 0.1:
            yield self.event(309, start_ms + 400, {"Url": "http://img.example/background.png"})
        if not to_vod:
            yield self.event(303, start_ms + 5100, {"Status": 0})
            yield self.event(307, start_ms + 5200, self._slice(user_id))
            yield self.event(304, start_ms + 5300, {"FileList": f"{self._file}.m3u8"})
        if rng.random() < 0.15:
            yield self.event(306, start_ms + rng.randrange(7000, end_ms - start_ms), {"Status": 0})
        if not to_vod and rng.random() < 0.05:
            payload = {"Code": "SlowDown", "Message": "please reduce your request rate"}
            yield self.event(308, end_ms - 1000, payload)
        closed = end_ms >= self._call.end_ms
        leave_code = rng.choice((ROOM_CLOSED, NOBODY_LEFT)) if closed else STOP_CALLED
        yield self.event(302, end_ms, {"LeaveCode": leave_code})
        if to_vod:
            stuck = rng.random() < 0.05
            yield self.event(311, end_ms + 4000, self._committed(user_id, stuck=stuck))
            yield self.event(312, end_ms + 4600, {"Status": int(stuck)})
        else:
            yield self.event(305, end_ms + 1500, {"Status": 0})
            yield self.event(310, end_ms + 6000, {"Status": 0, **self._files(user_id)})

    def _slice(self, user_id: str) -> dict[str, Any]:
        return {
            "FileName": f"{self._file}.m3u8",
            "UserId": "" if self._mixed else user_id,
            "TrackType": "audio_video",
            "BeginTimeStamp": self._task.start_ms + 300,
        }

    def _files(self, user_id: str) -> dict[str, Any]:
        name = f"{self._file}.mp4"
        message = {
            "FileName": name,
            "UserId": "" if self._mixed else user_id,
            "TrackType": "audio_video",
            "MediaId": "mix" if self._mixed else "main",
            "StartTimeStamp": self._task.start_ms + 300,
            "EndTimeStamp": self._task.end_ms,
        }
        return {"FileList": [name], "FileMessage": [message]}

    def _committed(self, user_id: str, *, stuck: bool) -> dict[str, Any]:
        file = {"UserId": "" if self._mixed else user_id, "TrackType": "audio_video", "CacheFile": f"{self._file}.mp4"}
        if stuck:
            return {"Status": 1, "Errmsg": "kept on the backup storage", "TencentVod": file}
        whole = {
            **file,
            "MediaId": "mix" if self._mixed else "main",
            "FileId": self._task.task_id[:19],
            "VideoUrl": f"http://vod.example/{self._file}.mp4",
            "StartTimeStamp": self._task.start_ms + 300,
            "EndTimeStamp": self._task.end_ms,
        }
        return {"Status": 0, "TencentVod": whole}
