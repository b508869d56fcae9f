"""Who may send next: a queue per endpoint and room, fair turns between endpoints, bounds on what is in the air.

An endpoint is one URL of one application. Nothing here waits or talks to anybody.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from services.dispatcher.pressure import Pressure

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.dispatcher.delivery import Delivery

IN_FLIGHT_PER_ROOM = 32
"""First attempts of one room that one endpoint has in the air; they start in the order of their events."""
_KEPT = 0.1
"""This part of the slots is kept for endpoints that have nothing in the air."""
_SHARE_OF_FREE = 0.25
"""An endpoint may have in the air this part of what else is free, so that those that hang leave room for the next."""

EndpointKey = tuple[int, str]
"""SdkAppId and URL."""


class Room:
    """First attempts of one room at one endpoint, in the order of their events."""

    __slots__ = ("in_flight", "name", "persisting", "waiting")

    def __init__(self, name: str) -> None:
        self.name = name
        self.waiting: deque[Delivery] = deque()
        self.in_flight = 0
        self.persisting = 0
        """Callbacks in the air that go into the retry lane before they are sent; later ones must not overtake them."""


class Endpoint:
    """What waits for one URL of one application."""

    __slots__ = ("in_flight", "key", "limit", "queued", "retries", "retries_in_flight", "retry_next", "rooms", "turns")

    def __init__(self, key: EndpointKey, limit: int) -> None:
        self.key = key
        self.limit = limit
        self.in_flight = 0
        self.retries_in_flight = 0
        self.rooms: dict[str, Room] = {}
        self.turns: deque[Room] = deque()
        """Rooms that may start something, each once."""
        self.retries: deque[Delivery] = deque()
        self.retry_next = True
        """Whether a retry goes before a first attempt: they take turns."""
        self.queued = False

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
            delivery = room.waiting.popleft()
            draining = delivery.partition.draining
            room.in_flight += not draining
            self._take_turn(room)
            if not draining:
                return delivery, False
        return None

    def add(self, delivery: Delivery) -> None:
        """Queue a first attempt."""
        room = self.rooms.get(delivery.room)
        if room is None:
            room = self.rooms[delivery.room] = Room(delivery.room)
        room.waiting.append(delivery)
        if len(room.waiting) == 1:
            self._take_turn(room)

    def release(self, delivery: Delivery, *, retry: bool) -> None:
        """An attempt has ended."""
        self.in_flight -= 1
        if retry:
            self.retries_in_flight -= 1
            return
        room = self.rooms[delivery.room]
        room.in_flight -= 1
        if room.in_flight == IN_FLIGHT_PER_ROOM - 1 and room.waiting:
            self.turns.append(room)
        elif not room.in_flight and not room.waiting:
            del self.rooms[delivery.room]

    def drain(self, first_attempts: list[Delivery], retries: list[Delivery]) -> None:
        """Hand over everything that waits: first attempts, each room's in order, and retries."""
        for room in list(self.rooms.values()):
            first_attempts += room.waiting
            room.waiting.clear()
            if not room.in_flight:
                del self.rooms[room.name]
        retries += self.retries
        self.retries.clear()
        self.turns.clear()

    @property
    def idle(self) -> bool:
        """Whether nothing waits and nothing is in the air."""
        return not (self.in_flight or self.rooms or self.retries)

    def _take_turn(self, room: Room) -> None:
        if room.waiting and room.in_flight < IN_FLIGHT_PER_ROOM:
            self.turns.append(room)
        elif not room.waiting and not room.in_flight:
            self.rooms.pop(room.name, None)


class Scheduler:
    """Starts attempts while there is room for them, endpoint after endpoint in turns."""

    def __init__(
        self, start: Callable[[Delivery, Endpoint, bool], None], *, in_flight: int, in_flight_per_endpoint: int
    ) -> None:
        """`start` is called with a delivery, its endpoint and whether it is a retry; `finished` must follow."""
        self._start = start
        self._limit = in_flight
        self._pressure = Pressure(in_flight_per_endpoint)
        self._in_flight = 0
        self._endpoints: dict[EndpointKey, Endpoint] = {}
        self._turns: deque[Endpoint] = deque()

    @property
    def in_flight(self) -> int:
        """Attempts in the air."""
        return self._in_flight

    @property
    def endpoints(self) -> dict[EndpointKey, Endpoint]:
        """Endpoints with something to do."""
        return self._endpoints

    def submit(self, delivery: Delivery) -> None:
        """Queue a first attempt at `delivery.url`."""
        endpoint = self._endpoint(delivery)
        endpoint.add(delivery)
        self._queue(endpoint)

    def submit_retry(self, delivery: Delivery) -> None:
        """Queue a further attempt that is due."""
        endpoint = self._endpoint(delivery)
        endpoint.retries.append(delivery)
        self._queue(endpoint)

    def finished(self, delivery: Delivery, endpoint: Endpoint, *, retry: bool, strained: bool | None = None) -> None:
        """An attempt that was started has ended; `strained` says whether as one does where there is too much to do.

        None: no request was made.
        """
        self._in_flight -= 1
        if strained is not None:
            self._pressure.note(endpoint.key, strained=strained)
            endpoint.limit = self._pressure.limit(endpoint.key)
        endpoint.release(delivery, retry=retry)
        if endpoint.idle:
            self._endpoints.pop(endpoint.key, None)
        else:
            self._queue(endpoint)
        self.pump()

    def pump(self) -> None:
        """Start what may start."""
        while self._turns and self._in_flight < self._limit:
            endpoint = self._turns.popleft()
            endpoint.queued = False
            if endpoint.in_flight >= self._allowance(endpoint):
                # An attempt of its own will bring it back.
                continue
            found = endpoint.next()
            if found is None:
                if endpoint.idle:
                    self._endpoints.pop(endpoint.key, None)
                continue
            self._in_flight += 1
            self._queue(endpoint)
            delivery, retry = found
            self._start(delivery, endpoint, retry)

    def _allowance(self, endpoint: Endpoint) -> int:
        free = self._limit * (1 - _KEPT) - self._in_flight + endpoint.in_flight
        return max(1, min(endpoint.limit, int(free * _SHARE_OF_FREE)))

    def _endpoint(self, delivery: Delivery) -> Endpoint:
        key = (delivery.event.sdk_app_id, delivery.url)
        endpoint = self._endpoints.get(key)
        if endpoint is None:
            endpoint = self._endpoints[key] = Endpoint(key, self._pressure.limit(key))
        return endpoint

    def _queue(self, endpoint: Endpoint) -> None:
        if not endpoint.queued and (endpoint.turns or endpoint.retries):
            endpoint.queued = True
            self._turns.append(endpoint)
