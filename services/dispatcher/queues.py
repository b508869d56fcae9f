"""What waits for one endpoint: its rooms, each in the order of its events, and its further attempts."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.dispatcher.delivery import Delivery
    from services.dispatcher.partition import Partition
    from services.dispatcher.scheduler import EndpointKey

IN_FLIGHT_PER_ROOM = 32
"""First attempts of one room that one endpoint has in the air; they start in the order of their events."""


class Room:
    """First attempts of one room at one endpoint, in the order of their events."""

    __slots__ = ("gap", "holder", "in_flight", "name", "persisting", "queued", "waiting")

    def __init__(self, name: str) -> None:
        self.name = name
        self.waiting: deque[Delivery] = deque()
        self.in_flight = 0
        self.persisting = 0
        """Callbacks in the air that go into the retry lane before they are sent; later ones must not overtake them."""
        self.queued = False
        """Whether it is among those that have their turn."""
        self.holder: tuple[str, Partition] | None = None
        """The delivery id of the callback whose end the others wait for, where order is asked for."""
        self.gap = False
        """Whether the next one need not wait any longer although an earlier one has not come to its end."""

    @property
    def held(self) -> bool:
        """Whether nothing may start before another callback has come to its end."""
        # That of a partition that is gone comes to its end elsewhere.
        return self.holder is not None and not self.holder[1].closed

    @property
    def empty(self) -> bool:
        """Whether nothing is to be known of it any more."""
        return not self.waiting and not self.in_flight and not self.held


class Endpoint:
    """What waits for one URL of one application."""

    __slots__ = (
        "in_flight",
        "key",
        "limit",
        "ordered",
        "postponed",
        "probing",
        "queued",
        "retries",
        "retries_in_flight",
        "retry_next",
        "rooms",
        "turns",
    )

    def __init__(self, key: EndpointKey, limit: int, *, ordered: bool = False) -> None:
        self.key = key
        self.limit = limit
        self.ordered = ordered
        """Whether of each room one callback at a time goes out, and the next one when it has come to its end."""
        self.in_flight = 0
        self.retries_in_flight = 0
        self.rooms: dict[str, Room] = {}
        self.turns: deque[Room] = deque()
        """Rooms that may start something, each once."""
        self.retries: deque[Delivery] = deque()
        self.retry_next = True
        """Whether a retry goes before a first attempt: they take turns."""
        self.queued = False
        self.postponed = False
        """Whether it has its turn at a time to come."""
        self.probing = False
        """Whether what is in the air is to find out how the endpoint is."""

    def next(self) -> tuple[Delivery, bool] | None:
        """The delivery whose turn it is, and whether it is a retry; None where none may start.

        Half of the slots is kept for first attempts.
        """
        if self.retry_next or not self.turns:
            found = self._next_retry() or self._next_first()
        else:
            found = self._next_first() or self._next_retry()
        if found is not None:
            self.in_flight += 1
            self.retry_next = not found[1]
        return found

    def _next_retry(self) -> tuple[Delivery, bool] | None:
        while self.retries and self.retries_in_flight < max(1, self.limit // 2):
            delivery = self.retries.popleft()
            if not delivery.partition.draining:
                self.retries_in_flight += 1
                return delivery, True
        return None

    def _next_first(self) -> tuple[Delivery, bool] | None:
        while self.turns:
            room = self.turns.popleft()
            room.queued = False
            delivery = room.waiting.popleft()
            draining = delivery.partition.draining
            room.in_flight += not draining
            if self.ordered and not draining:
                room.holder = (delivery.delivery_id, delivery.partition)
                delivery.gap = delivery.gap or room.gap
                room.gap = False
            self._take_turn(room)
            if not draining:
                return delivery, False
        return None

    def add(self, delivery: Delivery) -> None:
        """Queue a first attempt."""
        room = self._room(delivery.room)
        room.waiting.append(delivery)
        self._take_turn(room)

    def hold(self, name: str, delivery_id: str, partition: Partition) -> None:
        """Let a room wait for the end of a callback whose first attempt is made already."""
        self._room(name).holder = (delivery_id, partition)

    def let_go(self, name: str, delivery_id: str, *, gap: bool) -> bool:
        """Let a room wait no longer for a callback; whether it did. `gap`: that has not come to its end."""
        room = self.rooms.get(name)
        if room is None or room.holder is None or room.holder[0] != delivery_id:
            return False
        room.holder = None
        room.gap = gap and bool(room.waiting)
        self._take_turn(room)
        return True

    def forget_closed(self) -> None:
        """Let no room wait for callbacks of partitions that are gone."""
        for room in list(self.rooms.values()):
            if room.holder is not None and not room.held:
                room.holder = None
                self._take_turn(room)

    def be_ordered(self, *, ordered: bool) -> None:
        """Keep the order of each room from now on, or no longer."""
        self.ordered = ordered
        if not ordered:
            for room in list(self.rooms.values()):
                room.holder, room.gap = None, False
                self._take_turn(room)

    def put_back(self, delivery: Delivery, *, retry: bool) -> None:
        """Queue again, where it was, what was not attempted after all; `release` follows."""
        if retry:
            self.retries.appendleft(delivery)
            return
        room = self.rooms[delivery.room]
        place = bisect_left(room.waiting, delivery.offset, key=lambda waiting: waiting.offset)
        room.waiting.insert(place, delivery)
        if room.holder is not None and room.holder[0] == delivery.delivery_id:
            room.holder = None

    def release(self, delivery: Delivery, *, retry: bool) -> None:
        """An attempt has ended."""
        self.in_flight -= 1
        if retry:
            self.retries_in_flight -= 1
            return
        room = self.rooms[delivery.room]
        room.in_flight -= 1
        self._take_turn(room)

    def drain(self, first_attempts: list[Delivery], retries: list[Delivery]) -> None:
        """Hand over everything that waits: first attempts, each room's in order, and retries."""
        for room in list(self.rooms.values()):
            if room.gap:
                room.waiting[0].gap, room.gap = True, False
            first_attempts += room.waiting
            room.waiting.clear()
            room.queued = False
            if room.empty:
                del self.rooms[room.name]
        retries += self.retries
        self.retries.clear()
        self.turns.clear()

    def withdraw(self, unwanted: Callable[[Delivery], bool]) -> list[Delivery]:
        """Hand over what waits and is unwanted; the rest keeps its order."""
        withdrawn: list[Delivery] = []
        for room in list(self.rooms.values()):
            found = [delivery for delivery in room.waiting if unwanted(delivery)]
            if found:
                withdrawn += found
                gone = set(found)
                room.waiting = deque(delivery for delivery in room.waiting if delivery not in gone)
                if not room.waiting and room.queued:
                    self.turns.remove(room)
                    room.queued = False
                room.gap = room.gap and bool(room.waiting)
                if room.empty:
                    del self.rooms[room.name]
        for delivery in [delivery for delivery in self.retries if unwanted(delivery)]:
            self.retries.remove(delivery)
            withdrawn.append(delivery)
        return withdrawn

    @property
    def others_wait(self) -> bool:
        """Whether something waits, beside what is in the air."""
        return bool(self.retries or self.turns)

    @property
    def idle(self) -> bool:
        """Whether nothing waits and nothing is in the air."""
        return not (self.in_flight or self.rooms or self.retries)

    def _room(self, name: str) -> Room:
        room = self.rooms.get(name)
        if room is None:
            room = self.rooms[name] = Room(name)
        return room

    def _take_turn(self, room: Room) -> None:
        """Queue a room if something of it may start; forget it if nothing is left of it."""
        if room.waiting:
            at_once = 1 if self.ordered else IN_FLIGHT_PER_ROOM
            if not room.queued and room.in_flight < at_once and not room.held:
                room.queued = True
                self.turns.append(room)
        elif room.empty:
            self.rooms.pop(room.name, None)
