"""Which endpoints are left alone for a while: those that fail again and again, those that we cannot reach ourselves.

Nothing here waits or talks to anybody.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from msgspec import Struct, field

from schemas.deliveries import OUR_FAULTS
from services.dispatcher.sender import Answer

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from services.dispatcher.scheduler import EndpointKey
    from services.runtime.clock import Clock

REOPENED_AFTER = 10
"""So many answers after the first good one, an endpoint is trusted as before."""
FAILURES_WHILE_OPENING = 3
"""So many failures in a row before that park it again at once."""
_OUR_FIRST_PAUSE_MS = 250
_OUR_LONGEST_PAUSE_MS = 5_000
MAX_FAILING = 50_000
"""Endpoints whose failures are counted; of more, those that failed longest ago begin anew."""
_ILL = frozenset({"timeout", "refused", "reset", "connect", "dns", "tls", "protocol"})
_SAYS_NOTHING = frozenset({"blocked", "url", "no-url"})


class Health(Enum):
    """What an attempt tells of its endpoint."""

    WELL = "it answers, whatever it says"
    ILL = "it does not answer, or says that it cannot work"
    OUR_FAULT = "nothing, since the attempt failed on our side"
    UNKNOWN = "nothing, since nobody was asked"


def health_of(answer: Answer) -> Health:
    """What an attempt tells of its endpoint."""
    if answer.error_class in OUR_FAULTS:
        return Health.OUR_FAULT
    if answer.error_class in _SAYS_NOTHING:
        return Health.UNKNOWN
    if answer.error_class == "status":
        return Health.ILL if answer.status >= 500 or answer.status == 429 else Health.WELL
    if answer.error_class in _ILL:
        return Health.ILL
    return Health.WELL


class Circuit(Struct):
    """One endpoint that failed lately."""

    failures: int = 0
    """In a row."""
    since_ms: int = 0
    """When the first of them ended."""
    parked_ms: int = 0
    """Since when it is parked, 0 where it is not."""
    opening_ms: int = 0
    """Since when it answers again, without being trusted yet; 0 where that is not so."""
    answers: int = 0
    """Good answers in that time."""
    held_ms: int = 0
    """Since when a fault of ours keeps us from it, 0 where none does."""
    released_ms: int = 0
    """When such a fault was over last."""
    gone: bool = False
    """Whether nothing goes there any more."""
    pause_ms: int = 0
    next_ms: int = 0
    """Before that, no attempt begins at an endpoint that is parked or held."""
    last: Answer = field(default_factory=Answer)
    """The failure that parked it."""

    @property
    def closed(self) -> bool:
        """Whether it gets one attempt at a time, with pauses."""
        return bool(self.held_ms or (self.parked_ms and not self.opening_ms))

    @property
    def reachable_ms(self) -> int:
        """Since when nothing but the endpoint itself is the reason why callbacks wait."""
        return max(self.parked_ms, self.released_ms)


class Circuits:
    """Parks endpoints that fail again and again, probes them and opens them again.

    An endpoint is parked after `failures` failures in a row that took at least `failing_ms` together. While it is
    parked there is one attempt at a time, with pauses that grow from `first_pause_ms` to `longest_pause_ms`. A good
    answer opens it; it is trusted as before after further ones, and until then parked again more easily. Faults of our
    own count as nothing of this: they make pauses, too, until an attempt gets out.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        failures: int,
        failing_ms: int,
        first_pause_ms: int,
        longest_pause_ms: int,
        on_change: Callable[[EndpointKey, Circuit], None],
    ) -> None:
        """`on_change` is called with an endpoint that was parked, or is not any more (`parked_ms` tells)."""
        self._clock = clock
        self._failures = failures
        self._failing_ms = failing_ms
        self._first_pause_ms = first_pause_ms
        self._longest_pause_ms = longest_pause_ms
        self._on_change = on_change
        self._circuits: dict[EndpointKey, Circuit] = {}
        self.parked: dict[EndpointKey, Circuit] = {}
        """Endpoints that are parked, or not trusted yet after that."""
        self.closed: dict[EndpointKey, Circuit] = {}
        """Endpoints that get one attempt at a time, with pauses."""

    def note(self, key: EndpointKey, answer: Answer) -> None:
        """An attempt has ended."""
        health = health_of(answer)
        circuit = self._circuits.get(key)
        if health is Health.UNKNOWN or (health is Health.WELL and circuit is None):
            return
        if circuit is None:
            circuit = self._circuits[key] = Circuit()
            self._forget_surplus()
        now_ms = self._clock()
        if health is Health.OUR_FAULT:
            self._hold(circuit, now_ms)
        else:
            if circuit.held_ms:
                circuit.held_ms, circuit.released_ms, circuit.pause_ms, circuit.next_ms = 0, now_ms, 0, now_ms
            if health is Health.ILL:
                self._failed(key, circuit, answer, now_ms)
            else:
                self._answered(key, circuit, now_ms)
        if key in self._circuits and circuit.closed:
            self.closed[key] = circuit
        else:
            self.closed.pop(key, None)

    def settle(self) -> None:
        """Trust endpoints that have been well for long enough although they got little to do."""
        now_ms = self._clock()
        for key, circuit in list(self.parked.items()):
            if circuit.opening_ms and not circuit.failures and now_ms - circuit.opening_ms >= self._failing_ms:
                self._trust(key, circuit)

    def application_changed(self, sdk_app_id: int, urls: Collection[str]) -> None:
        """Probe the endpoints of an application at once; forget those that are not among its URLs any more."""
        now_ms = self._clock()
        for key, circuit in list(self._circuits.items()):
            if key[0] != sdk_app_id:
                continue
            if key[1] in urls:
                circuit.next_ms = now_ms
                continue
            del self._circuits[key]
            self.closed.pop(key, None)
            if self.parked.pop(key, None) is not None:
                circuit.parked_ms, circuit.gone = 0, True
                self._on_change(key, circuit)

    @staticmethod
    def _hold(circuit: Circuit, now_ms: int) -> None:
        if not circuit.held_ms:
            circuit.held_ms, circuit.pause_ms = now_ms, 0
        elif now_ms < circuit.next_ms:
            return
        circuit.pause_ms = min(_OUR_LONGEST_PAUSE_MS, 2 * circuit.pause_ms) or _OUR_FIRST_PAUSE_MS
        circuit.next_ms = now_ms + circuit.pause_ms

    def _failed(self, key: EndpointKey, circuit: Circuit, answer: Answer, now_ms: int) -> None:
        if not circuit.failures:
            circuit.since_ms = now_ms
        circuit.failures += 1
        circuit.answers = 0
        if circuit.opening_ms:
            if circuit.failures >= FAILURES_WHILE_OPENING:
                circuit.opening_ms = 0
                self._pause(circuit, now_ms)
        elif circuit.parked_ms:
            # What was in the air when it was parked is no probe.
            if now_ms >= circuit.next_ms:
                self._pause(circuit, now_ms)
        elif circuit.failures >= self._failures and now_ms - circuit.since_ms >= self._failing_ms:
            circuit.parked_ms, circuit.last, circuit.pause_ms = now_ms, answer, 0
            self._pause(circuit, now_ms)
            self.parked[key] = circuit
            self._on_change(key, circuit)

    def _pause(self, circuit: Circuit, now_ms: int) -> None:
        circuit.pause_ms = min(self._longest_pause_ms, 2 * circuit.pause_ms) or self._first_pause_ms
        circuit.next_ms = now_ms + circuit.pause_ms

    def _answered(self, key: EndpointKey, circuit: Circuit, now_ms: int) -> None:
        circuit.failures = 0
        if not circuit.parked_ms:
            del self._circuits[key]
            return
        circuit.opening_ms = circuit.opening_ms or now_ms
        circuit.answers += 1
        if circuit.answers > REOPENED_AFTER:
            self._trust(key, circuit)

    def _trust(self, key: EndpointKey, circuit: Circuit) -> None:
        del self._circuits[key]
        del self.parked[key]
        circuit.parked_ms = 0
        self._on_change(key, circuit)

    def _forget_surplus(self) -> None:
        if len(self._circuits) > MAX_FAILING:
            oldest = next((key for key in self._circuits if key not in self.parked and key not in self.closed), None)
            if oldest is not None:
                del self._circuits[oldest]
