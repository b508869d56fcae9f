"""Who may send next: a queue per endpoint and room, fair turns between endpoints, bounds on what is in the air.

An endpoint is one URL of one application. Nothing here waits or talks to anybody.
"""

from __future__ import annotations

import heapq
from collections import deque
from functools import partial
from itertools import count
from typing import TYPE_CHECKING

from services.dispatcher.pressure import Pressure, strains
from services.dispatcher.queues import Endpoint

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.dispatcher.circuit import Circuits
    from services.dispatcher.delivery import Delivery
    from services.dispatcher.pace import Paces
    from services.dispatcher.partition import Partition
    from services.dispatcher.sender import Answer
    from services.runtime.clock import Clock

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
        ordered: Callable[[int], bool] = lambda _: False,
        hold_ms: int = 0,
        next_turn: Callable[[Callable[[], None]], object] | None = None,
    ) -> None:
        """`start` is called with a delivery, its endpoint and whether it is a retry; `finished` must follow.

        `on_later` is called with a time at which `pump` has to be called. `ordered` tells of an application whether its
        rooms keep their order: then they wait for a callback that fails, `hold_ms` at most from its first attempt on.
        `next_turn` calls what it is given in the event loop's next turn; without it any number of attempts starts in
        one.
        """
        self._start = start
        self._limit = in_flight
        self._pressure = Pressure(in_flight_per_endpoint)
        self._circuits = circuits
        self._paces = paces
        self._clock = clock
        self._on_later = on_later
        self._ordered = ordered
        self._hold_ms = hold_ms
        self._next_turn = next_turn
        self._started = 0
        """Attempts of this turn."""
        self._in_flight = 0
        self._probes = 0
        self._endpoints: dict[EndpointKey, Endpoint] = {}
        self._turns: deque[Endpoint] = deque()
        self._later: list[tuple[int, int, Callable[[], object]]] = []
        """What is to happen at a time, Unix ms: endpoints have their turn again, rooms wait no longer."""
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
        elif endpoint.ordered and not retry and answer is not None and not answer.succeeded:
            until_ms = self._clock() - answer.duration_ms + self._hold_ms
            waited = partial(self._let_go, endpoint.key, delivery.room, delivery.delivery_id, gap=True)
            self._call_at(until_ms, waited)
        endpoint.release(delivery, retry=retry)
        self._keep(endpoint)
        self.pump()

    def hold(self, key: EndpointKey, room: str, delivery_id: str, partition: Partition, since_ms: int) -> None:
        """Let a room wait for a callback whose first attempt another dispatcher made at `since_ms`."""
        self._at(key).hold(room, delivery_id, partition)
        self._call_at(since_ms + self._hold_ms, partial(self._let_go, key, room, delivery_id, gap=True))

    def ended(self, delivery: Delivery) -> bool:
        """A callback has come to its end; whether its room has waited for that, so that `pump` may start the next."""
        return self._let_go((delivery.event.sdk_app_id, delivery.url), delivery.room, delivery.delivery_id, gap=False)

    def forget_closed(self) -> None:
        """Let nothing wait for callbacks of partitions that are gone; `pump` then drops what else is left of them."""
        for endpoint in list(self._endpoints.values()):
            endpoint.forget_closed()
            self._keep(endpoint)

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
        self._call_at(at_ms, partial(self._bring_back, endpoint))

    def _bring_back(self, endpoint: Endpoint) -> None:
        self.hasten(endpoint)
        if endpoint.idle and self._endpoints.get(endpoint.key) is endpoint:
            del self._endpoints[endpoint.key]

    def _call_at(self, at_ms: int, call: Callable[[], object]) -> None:
        heapq.heappush(self._later, (at_ms, next(self._order), call))
        self._on_later(at_ms)

    def _recall(self) -> None:
        if not self._later:
            return
        now_ms = self._clock()
        while self._later and self._later[0][0] <= now_ms:
            heapq.heappop(self._later)[2]()
        if self._later:
            self._on_later(self._later[0][0])

    def _let_go(self, key: EndpointKey, room: str, delivery_id: str, *, gap: bool) -> bool:
        endpoint = self._endpoints.get(key)
        if endpoint is None or not endpoint.let_go(room, delivery_id, gap=gap):
            return False
        self._keep(endpoint)
        return True

    def _allowance(self, endpoint: Endpoint) -> int:
        free = self._limit * (1 - _KEPT) - self._in_flight + endpoint.in_flight
        return max(1, min(endpoint.limit, int(free * _SHARE_OF_FREE)))

    def _endpoint(self, delivery: Delivery) -> Endpoint:
        return self._at((delivery.event.sdk_app_id, delivery.url))

    def _at(self, key: EndpointKey) -> Endpoint:
        endpoint = self._endpoints.get(key)
        if endpoint is None:
            endpoint = Endpoint(key, self._pressure.limit(key), ordered=self._ordered(key[0]))
            self._endpoints[key] = endpoint
        return endpoint

    def _keep(self, endpoint: Endpoint) -> None:
        """Queue an endpoint, or forget it if nothing is left of it."""
        if endpoint.idle:
            self._endpoints.pop(endpoint.key, None)
        else:
            self._queue(endpoint)

    def _queue(self, endpoint: Endpoint) -> None:
        if not endpoint.queued and (endpoint.turns or endpoint.retries):
            endpoint.queued = True
            self._turns.append(endpoint)
