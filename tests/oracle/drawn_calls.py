"""Drawn room events and reports: rooms with several lives, and what gets lost, comes twice, late or disordered."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Any

HOUR_MS = 3_600_000
GRID_MS = 500
SAMPLE_MS = 2_000


@dataclass
class DrawnCalls:
    """What was posted, and the order in which it comes."""

    events: list[dict[str, Any]]
    reports: list[dict[str, Any]]
    coming: list[tuple[str, dict[str, Any]]]
    """`event` or `report`, and what was posted."""
    begin: int
    until: int
    """By then all is over but for those who never leave."""


def draw_calls(seed: int, sdk_app_id: int, now_ms: int) -> DrawnCalls:
    """The scenario of a seed; it is over an hour before now."""
    random = Random(seed)
    hour = now_ms // HOUR_MS * HOUR_MS - 3 * HOUR_MS
    begin = hour + random.choice(
        [random.randrange(0, HOUR_MS, GRID_MS), HOUR_MS - random.randrange(0, 300_000, GRID_MS)]
    )
    drawing = _Drawing(random, sdk_app_id)
    rooms: list[int | str] = random.choice([[7, "7"], random.sample([7, "7", 8, "hall"], random.randint(1, 3))])
    until = max(drawing.room(room, begin) for room in rooms)
    coming = [("event", event) for event in drawing.events] + [("report", report) for report in drawing.reports]
    coming += [item for item in coming if random.random() < 0.1]
    late = random.choice([0, 0, 20_000, 200_000])
    # Partitions of reports may be behind, and users are in different ones.
    lag = {user: random.choice([0, 0, 60_000, 300_000]) for user in "abc"}
    order = [
        (
            _time(item)
            + (0 if item[0] == "event" else lag[item[1]["UserId"]])
            + random.choice([0, 0, 0, 0, late, random.randint(0, late)]),
            random.random(),
        )
        for item in coming
    ]
    coming = [coming[number] for number in sorted(range(len(coming)), key=order.__getitem__)]
    return DrawnCalls(drawing.events, drawing.reports, coming, begin, until + 900_000)


class _Drawing:
    def __init__(self, random: Random, sdk_app_id: int) -> None:
        self._random = random
        self._app = sdk_app_id
        self.events: list[dict[str, Any]] = []
        self.reports: list[dict[str, Any]] = []
        self._sessions = 0
        self._begun: set[tuple[int | str, str, int]] = set()

    def room(self, room: int | str, at: int) -> int:
        """A few lives of a room; the result is when the last is over."""
        random = self._random
        for _ in range(random.choice([1, 2, 2, 3])):
            scene = random.choice([{}, {"RoomScene": "call"}, {"RoomScene": "live"}])
            silent = random.random() < 0.2
            over = at
            if not silent and random.random() < 0.7:
                self._event(101, room, at + random.choice([0, 0, -500, 1_000, 5_000, 5_500]), "a", **scene)
            for user in random.sample(["a", "b", "c"], random.randint(1, 3)):
                over = max(over, self._user(room, at, user, scene, told=not silent and random.random() < 0.8))
            if not silent and random.random() < 0.4:
                self._dismissal(room, over + random.choice([0, 500, -2_000, 3_000]))
            at = over + random.choice([0, 500, 5_000, 60_000, 100_000, 650_000])
        return at

    def _user(self, room: int | str, at: int, user: str, scene: dict[str, str], *, told: bool) -> int:
        random = self._random
        over = at
        for _ in range(random.choice([1, 1, 2])):
            enter = over + random.randrange(0, 40_000, GRID_MS)
            over = enter + random.choice([0, 500, 10_000, random.randrange(0, 100_000, GRID_MS)])
            role = random.choice([20, 21])
            if told and random.random() < 0.88:
                self._event(103, room, enter, user, Role=role, Reason=1, **(scene if random.random() < 0.5 else {}))
            if told and random.random() < 0.3:
                self._event(105, room, random.randrange(enter, over + GRID_MS, GRID_MS), user, Role=41 - role)
            if told and random.random() < 0.85:
                self._event(104, room, over, user, Reason=random.choice([1, 2]), **random.choice([{}, {"Role": role}]))
            if not told or random.random() < 0.6:
                first = enter + random.choice([-2_000, 0, 1_000, 4_000])
                self._session(room, user, first, max(first + 1_000, over + random.choice([-4_000, 0, 2_000])))
            over += random.choice([0, 0, 500, 20_000, 110_000])
        return over

    def _event(self, kind: int, room: int | str, at: int, user: str, **info: Any) -> None:
        self.events.append(
            {
                "EventGroupId": 1,
                "EventType": kind,
                "EventId": f"e{len(self.events):04}",
                "EventInfo": {"RoomId": room, "EventMsTs": at, "UserId": user, **info},
            }
        )

    def _dismissal(self, room: int | str, at: int) -> None:
        self._event(102, room, at, "a")
        if self._random.random() < 0.6:
            # As the vendor writes it: a number as text, and whether a type is told differs.
            self.events[-1]["EventInfo"]["RoomId"] = str(room)
            if self._random.random() < 0.3:
                self.events[-1]["RoomIdType"] = int(isinstance(room, str))
            elif room == "7" or isinstance(room, int):
                return
            else:
                self.events[-1]["RoomIdType"] = 1

    def _session(self, room: int | str, user: str, first: int, last: int) -> None:
        self._sessions += 1
        while (room, user, first) in self._begun:
            # A stay is told by its user and begin.
            first += 1
        self._begun.add((room, user, first))
        samples = [
            {"StartMs": start, "DurMs": min(SAMPLE_MS, last - start)}
            for start in range(first, last, SAMPLE_MS)
            if start == first or self._random.random() < 0.95
        ]
        for number, begin in enumerate(range(0, len(samples), 5), 1):
            self.reports.append(
                {
                    "SdkAppId": self._app,
                    "RoomId": room,
                    "UserId": user,
                    "SessionId": f"s{self._sessions}",
                    "Seq": number,
                    "SentMs": samples[begin]["StartMs"] + 10_000,
                    "Samples": samples[begin : begin + 5],
                }
            )


def _time(item: tuple[str, dict[str, Any]]) -> int:
    kind, posted = item
    time: int = posted["EventInfo"]["EventMsTs"] if kind == "event" else posted["SentMs"]
    return time
