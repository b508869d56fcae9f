"""A scheduler without any network for unit tests: attempts hang in the air until they are told to land."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from services.dispatcher.circuit import Circuit, Circuits
from services.dispatcher.pace import Paces
from services.dispatcher.scheduler import EndpointKey, Scheduler
from services.dispatcher.sender import Answer

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.dispatcher.delivery import Delivery
    from services.dispatcher.queues import Endpoint

FINE = Answer(status=200)
BUSY = Answer(status=503, error_class="status")
REFUSED = Answer(error_class="refused")
OURS = Answer(error_class="own")
HOLD_MS = 60_000


class Air:
    """A scheduler, and the attempts that it has started."""

    def __init__(
        self,
        in_flight: int = 1000,
        per_endpoint: int = 64,
        *,
        failures: int = 3,
        next_turn: Callable[[Callable[[], None]], None] | None = None,
    ) -> None:
        self.started: list[Delivery] = []
        self.flying: list[tuple[Delivery, Endpoint, bool]] = []
        self.now_ms = 1_000_000
        self.alarms: list[int] = []
        self.rates: Counter[int] = Counter()
        self.ordered: set[int] = set()
        self.changes: list[tuple[EndpointKey, bool]] = []
        self.circuits = Circuits(
            self.clock,
            failures=failures,
            failing_ms=0,
            first_pause_ms=1_000,
            longest_pause_ms=8_000,
            on_change=self._changed,
        )
        self.scheduler = Scheduler(
            self._start,
            in_flight=in_flight,
            in_flight_per_endpoint=per_endpoint,
            circuits=self.circuits,
            paces=Paces(self.clock, self.rates.__getitem__),
            clock=self.clock,
            on_later=self.alarms.append,
            ordered=self.ordered.__contains__,
            hold_ms=HOLD_MS,
            next_turn=next_turn,
        )

    def clock(self) -> int:
        return self.now_ms

    def _changed(self, key: EndpointKey, circuit: Circuit) -> None:
        self.changes.append((key, bool(circuit.parked_ms)))

    def _start(self, delivery: Delivery, endpoint: Endpoint, retry: bool) -> None:
        self.started.append(delivery)
        self.flying.append((delivery, endpoint, retry))

    def submit(self, *deliveries: Delivery) -> None:
        for delivery in deliveries:
            self.scheduler.submit(delivery)
        self.scheduler.pump()

    def retry(self, *deliveries: Delivery) -> None:
        for delivery in deliveries:
            self.scheduler.submit_retry(delivery)
        self.scheduler.pump()

    def land(self, index: int = 0, *, answer: Answer | None = None) -> Delivery:
        """The attempt that is longest in the air ends."""
        delivery, endpoint, retry = self.flying.pop(index)
        self.scheduler.finished(delivery, endpoint, retry=retry, answer=answer, put_back=answer is OURS)
        return delivery

    def wait(self, ms: int) -> None:
        """Let time pass; the alarms that were set go off."""
        self.now_ms += ms
        due = [at_ms for at_ms in self.alarms if at_ms <= self.now_ms]
        self.alarms[:] = [at_ms for at_ms in self.alarms if at_ms > self.now_ms]
        if due:
            self.scheduler.pump()

    def land_all(self) -> None:
        while self.flying:
            self.land()

    def by_url(self) -> Counter[str]:
        return Counter(delivery.url for delivery, _, _ in self.flying)
