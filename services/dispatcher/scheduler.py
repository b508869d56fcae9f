"""Who may send next: a queue per endpoint and room, fair turns between endpoints, bounds on what is in the air.

An endpoint is one URL of one application. Nothing here waits or talks to anybody.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left
from collections import deque
from itertools import count
from typing import TYPE_CHECKING

from services.dispatcher.pressure import Pressure, strains

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.dispatcher.circuit import Circuits
    from services.dispatcher.delivery import Delivery
    from services.dispatcher.pace import Paces
    from services.dispatcher.sender import Answer
    from services.runtime.clock import Clock

IN_FLIGHT_PER_ROOM = 32
"""First attempts of one room that one endpoint has in the air; they start in the order of their events."""
_KEPT = 0.1
"""This part of the slots is kept for endpoints that have nothing in the air."""
_SHARE_OF_FREE = 0.25
"""An endpoint may have in the air this part of what else is free, so that those that hang leave room for the next."""
_PROBING = 0.1
"""Endpoints that are closed off have this part of the slots together, however many they are."""
_PROBE_LATER_MS = 200
STARTS_A_TURN = 4
"""Attempts that start in one turn of the event loop. With more, endpoints that answer at once would make each turn so
long that what Kafka acknowledges is seen late, and a crash would repeat all that was answered meanwhile."""

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

    __slots__ = (
        "in_flight",
        "key",
        "limit",
        "postponed",
        "probing",
        "queued",
        "retries",
        "retries_in_flight",
        "retry_next",
        "rooms",
        "turns",
    )

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

    def put_back(self, delivery: Delivery, *, retry: bool) -> None:
        """Queue again, where it was, what was not attempted after all; `release` follows."""
        if retry:
            self.retries.appendleft(delivery)
            return
        room = self.rooms[delivery.room]
        place = bisect_left(room.waiting, delivery.offset, key=lambda waiting: waiting.offset)
        room.waiting.insert(place, delivery)
        if len(room.waiting) == 1 and room.in_flight < IN_FLIGHT_PER_ROOM:
            self.turns.append(room)

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

    def withdraw(self, unwanted: Callable[[Delivery], bool]) -> list[Delivery]:
        """Hand over what waits and is unwanted; the rest keeps its order."""
        withdrawn: list[Delivery] = []
        for room in list(self.rooms.values()):
            found = [delivery for delivery in room.waiting if unwanted(delivery)]
            if found:
                withdrawn += found
                gone = set(found)
                room.waiting = deque(delivery for delivery in room.waiting if delivery not in gone)
                if not room.waiting and room in self.turns:
                    self.turns.remove(room)
                if not room.waiting and not room.in_flight:
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

    def _take_turn(self, room: Room) -> None:
        if room.waiting and room.in_flight < IN_FLIGHT_PER_ROOM:
            self.turns.append(room)
        elif not room.waiting and not room.in_flight:
            self.rooms.pop(room.name, None)


class Scheduler:
    """Starts attempts while there is room for them, endpoint after endpoint in turns."""

    def __init__(
        self,
        start: Callable[[Delivery, Endpoint, bool], None],
        *,
        in_flight: int,
        in_flight_per_endpoint: int,
        circuits: Circuits,
        paces: Paces,
        clock: Clock,
        on_later: Callable[[int], None],
        next_turn: Callable[[Callable[[], None]], object] | None = None,
    ) -> None:
        """`start` is called with a delivery, its endpoint and whether it is a retry; `finished` must follow.

        `on_later` is called with a time at which `pump` has to be called. `next_turn` calls what it is given in the
        event loop's next turn; without it any number of attempts starts in one.
        """
        self._start = start
        self._limit = in_flight
        self._pressure = Pressure(in_flight_per_endpoint)
        self._circuits = circuits
        self._paces = paces
        self._clock = clock
        self._on_later = on_later
        self._next_turn = next_turn
        self._started = 0
        """Attempts of this turn."""
        self._in_flight = 0
        self._probes = 0
        self._endpoints: dict[EndpointKey, Endpoint] = {}
        self._turns: deque[Endpoint] = deque()
        self._later: list[tuple[int, int, Endpoint]] = []
        """Endpoints that may not start anything before a time."""
        self._order = count()

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

    def finished(
        self,
        delivery: Delivery,
        endpoint: Endpoint,
        *,
        retry: bool,
        answer: Answer | None = None,
        put_back: bool = False,
    ) -> None:
        """An attempt that was started has ended; no answer: no request was made.

        What is put back waits for its turn again as if it had not had it.
        """
        self._in_flight -= 1
        self._probes -= endpoint.probing
        endpoint.probing = False
        if answer is not None:
            self._note(endpoint, answer)
        if put_back:
            endpoint.put_back(delivery, retry=retry)
        endpoint.release(delivery, retry=retry)
        if endpoint.idle:
            self._endpoints.pop(endpoint.key, None)
        else:
            self._queue(endpoint)
        self.pump()

    def withdraw(self, key: EndpointKey, unwanted: Callable[[Delivery], bool]) -> list[Delivery]:
        """Hand over what waits for an endpoint and is unwanted."""
        endpoint = self._endpoints.get(key)
        if endpoint is None:
            return []
        withdrawn = endpoint.withdraw(unwanted)
        if endpoint.idle:
            del self._endpoints[key]
        return withdrawn

    def hasten(self, endpoint: Endpoint) -> None:
        """Let an endpoint that was postponed have its turn now."""
        if endpoint.postponed:
            endpoint.postponed = endpoint.queued = False
            self._queue(endpoint)

    def pump(self) -> None:
        """Start what may start."""
        self._recall()
        while self._turns and self._in_flight < self._limit and self._started < STARTS_A_TURN:
            endpoint = self._turns.popleft()
            endpoint.queued = False
            if endpoint.in_flight >= self._allowance(endpoint):
                # An attempt of its own will bring it back.
                continue
            if self._closed_off(endpoint):
                continue
            if next_ms := self._paces.next_ms(endpoint.key):
                self._postpone(endpoint, next_ms)
                continue
            found = endpoint.next()
            if found is None:
                if endpoint.idle:
                    self._endpoints.pop(endpoint.key, None)
                continue
            self._in_flight += 1
            self._paces.started(endpoint.key)
            if self._next_turn is not None:
                if not self._started:
                    self._next_turn(self._turn)
                self._started += 1
            if endpoint.key in self._circuits.closed:
                self._probes += 1
                endpoint.probing = True
            self._queue(endpoint)
            delivery, retry = found
            self._start(delivery, endpoint, retry)

    def _turn(self) -> None:
        self._started = 0
        self.pump()

    def _closed_off(self, endpoint: Endpoint) -> bool:
        """Whether an endpoint is left alone for now."""
        circuit = self._circuits.closed.get(endpoint.key)
        if circuit is None:
            return False
        if endpoint.in_flight:
            return True
        now_ms = self._clock()
        if now_ms < circuit.next_ms:
            self._postpone(endpoint, circuit.next_ms)
            return True
        if self._probes >= max(1, int(self._limit * _PROBING)):
            self._postpone(endpoint, now_ms + _PROBE_LATER_MS)
            return True
        return False

    def _note(self, endpoint: Endpoint, answer: Answer) -> None:
        key = endpoint.key
        before = self._circuits.closed.get(key)
        held = before is not None and before.held_ms
        self._circuits.note(key, answer)
        if before is not None and held and not before.held_ms:
            for delivery in endpoint.retries:
                if delivery.attempts:
                    delivery.excuse(self._clock())
        if key in self._circuits.closed:
            return
        if before is not None:
            self._pressure.restart(key)
            self.hasten(endpoint)
        self._pressure.note(key, strained=strains(answer))
        endpoint.limit = self._pressure.limit(key)

    def _postpone(self, endpoint: Endpoint, at_ms: int) -> None:
        endpoint.queued = endpoint.postponed = True
        heapq.heappush(self._later, (at_ms, next(self._order), endpoint))
        self._on_later(at_ms)

    def _recall(self) -> None:
        if not self._later:
            return
        now_ms = self._clock()
        while self._later and self._later[0][0] <= now_ms:
            endpoint = heapq.heappop(self._later)[2]
            self.hasten(endpoint)
            if endpoint.idle and self._endpoints.get(endpoint.key) is endpoint:
                del self._endpoints[endpoint.key]
        if self._later:
            self._on_later(self._later[0][0])

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
