"""One attempt to deliver a callback, and what follows from its outcome."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from schemas.deliveries import OUR_FAULTS
from schemas.keys import event_key
from schemas.topics import DEAD_LETTERS, DELIVERIES
from services.dispatcher import metrics
from services.dispatcher.schedule import DurableSchedule, Schedule, VendorSchedule
from services.dispatcher.sender import Answer
from services.dispatcher.signing import GAP, request_headers
from services.runtime.journal import ANYWHERE, Entry

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from schemas.applications import CallbackSchedule
    from schemas.deliveries import DeliveryAttempt, Outcome
    from services.dispatcher.delivery import Delivery
    from services.dispatcher.disabled import DisabledEndpoints
    from services.dispatcher.lane import RetryLane
    from services.dispatcher.monitor import Monitor
    from services.dispatcher.queues import Endpoint
    from services.dispatcher.sender import HttpSender
    from services.runtime.applications import ApplicationTable
    from services.runtime.clock import Clock
    from services.runtime.journal import Journal
    from services.runtime.settings import Settings

    class Landed(Protocol):
        """Told that an attempt has ended, so that its slot is free."""

        def __call__(
            self, delivery: Delivery, endpoint: Endpoint, *, retry: bool, answer: Answer | None, put_back: bool
        ) -> None: ...


_LATE_MS = 1_000
"""An attempt that Kafka's absence delays by more than this is excused."""
_GONE = 410
_IN_THE_WAY = 5
"""A callback that failed so often in a row by faults of ours makes way for others: the fault may be in it alone."""
_ASIDE_MS = 5_000
_LONGEST_ASIDE_MS = 300_000


class Courier:
    """Sends, writes down every attempt, and decides between done, another time and given up."""

    def __init__(
        self,
        settings: Settings,
        *,
        applications: ApplicationTable,
        journal: Journal,
        lane: RetryLane,
        sender: HttpSender,
        monitor: Monitor,
        disabled: DisabledEndpoints,
        clock: Clock,
        on_landed: Landed,
        on_wait: Callable[[Delivery], None],
        on_done: Callable[[Delivery], None],
    ) -> None:
        """`on_wait` is called with a callback that waits for its next attempt, `on_done` with one that is forgotten."""
        self._applications = applications
        self._journal = journal
        self._lane = lane
        self._sender = sender
        self._monitor = monitor
        self._disabled = disabled
        self._clock = clock
        self._on_landed = on_landed
        self._on_wait = on_wait
        self._on_done = on_done
        self.schedules: dict[CallbackSchedule, Schedule] = {
            "vendor": VendorSchedule(
                interval_ms=round(settings.callback_retry_interval_s * 1000),
                window_ms=round(settings.callback_retry_window_s * 1000),
            ),
            "durable": DurableSchedule(
                base_ms=round(settings.callback_durable_base_s * 1000),
                cap_ms=round(settings.callback_durable_cap_s * 1000),
                window_ms=round(settings.callback_durable_window_s * 1000),
            ),
        }

    async def attempt(self, delivery: Delivery, endpoint: Endpoint, *, retry: bool) -> None:
        """Make an attempt that has its turn."""
        answer: Answer | None = None
        put_back = False
        try:
            if not delivery.attempts:
                await self._persist_stale(delivery, endpoint)
            started_ms = self._clock()
            if delivery.our_faults and delivery.attempts:
                delivery.excuse(started_ms)
            callback_ts = delivery.callback_ts_at(started_ms)
            # What is set while a request is in the air is not what its answer is about.
            version = self._version_of(delivery)
            answer = await self._post(delivery, callback_ts, started_ms)
            if answer is not None and self._says_gone(delivery, answer):
                self._disable(delivery, version)
            if answer is not None and answer.error_class in OUR_FAULTS:
                self._excuse(delivery)
                put_back = not self._too_old(delivery) and (
                    delivery.our_faults < _IN_THE_WAY or not endpoint.others_wait
                )
        finally:
            self._on_landed(delivery, endpoint, retry=retry, answer=answer, put_back=put_back)
        if answer is None:
            await self.give_up(delivery, "parked", "the time for attempts ended before this one had its turn")
            return
        if answer.error_class in OUR_FAULTS:
            await self._not_attempted(delivery, answer, callback_ts, started_ms, put_back=put_back)
            return
        delivery.our_faults = 0
        delivery.attempts += 1
        delivery.owed = False
        if delivery.attempts == 1:
            delivery.first_attempt_ms = started_ms
        await self._settle(delivery, answer, callback_ts, started_ms)

    def _too_old(self, delivery: Delivery) -> bool:
        """Whether faults of ours are no excuse any more."""
        return self._clock() - delivery.since_ms >= self.schedules["durable"].window_ms

    def _excuse(self, delivery: Delivery) -> None:
        """Leave out of a callback's time what a fault of ours took of it."""
        if delivery.attempts:
            delivery.excuse(self._clock())
            delivery.owed = True
        delivery.our_faults += 1

    async def _not_attempted(
        self, delivery: Delivery, answer: Answer, callback_ts: int, started_ms: int, *, put_back: bool
    ) -> None:
        """Write down an attempt that failed by a fault of ours and does not count."""
        metrics.ATTEMPTS.labels("failed", answer.error_class).inc()
        row = _row(delivery.attempt(delivery.attempts + 1, callback_ts, started_ms, answer, "failed"))
        if put_back or delivery.partition.closed:
            await self._journal.write(row)
            return
        if self._too_old(delivery):
            await self.give_up(delivery, answer.error_class, answer.error)
            return
        times = min(delivery.our_faults - _IN_THE_WAY, 10)
        delivery.due_ms = self._clock() + min(_ASIDE_MS << times, _LONGEST_ASIDE_MS)
        await self._lane.hold(delivery, row)
        if not delivery.partition.closed:
            self._on_wait(delivery)

    async def _persist_stale(self, delivery: Delivery, endpoint: Endpoint) -> None:
        """Let the lane have a callback whose bytes cannot be told from its event, before they are sent.

        The lane has them in the order of the events, and so they come out of it.
        """
        room = endpoint.rooms.get(delivery.room)
        if delivery.refresh(self._clock()) or (room is not None and room.persisting):
            if room is None:
                await self._lane.hold(delivery)
                return
            room.persisting += 1
            try:
                await self._lane.hold(delivery)
            finally:
                room.persisting -= 1

    async def _post(self, delivery: Delivery, callback_ts: int, now_ms: int) -> Answer | None:
        """Send; None where it is too late for it."""
        if (
            delivery.attempts
            and not delivery.owed
            and self.schedule_of(delivery.event.sdk_app_id).over(delivery.window_start_ms, now_ms)
        ):
            return None
        application = self._applications.get(delivery.event.sdk_app_id)
        if application is None:
            return Answer(error_class="no-url", error="the application does not exist any more")
        body = delivery.body_at(callback_ts)
        headers = request_headers(application, body, delivery.delivery_id, now_ms)
        if delivery.gap:
            headers[GAP] = "1"
        return await self._sender.post(delivery.url, body, headers)

    def _version_of(self, delivery: Delivery) -> int:
        application = self._applications.get(delivery.event.sdk_app_id)
        return 0 if application is None else application.version

    def schedule_of(self, sdk_app_id: int) -> Schedule:
        """The schedule that an application has today."""
        return self.schedules[self.schedule_name(sdk_app_id)]

    def schedule_name(self, sdk_app_id: int) -> CallbackSchedule:
        """Its name."""
        application = self._applications.get(sdk_app_id)
        return "vendor" if application is None else application.callback.schedule

    async def _settle(self, delivery: Delivery, answer: Answer, callback_ts: int, started_ms: int) -> None:
        """Write down an attempt and what follows from it."""
        now_ms = self._clock()
        due_ms: int | None = None
        outcome: Outcome = "delivered"
        gone = self._says_gone(delivery, answer)
        if gone:
            outcome = "given-up"
        elif not answer.succeeded:
            due_ms = self.schedule_of(delivery.event.sdk_app_id).next_attempt(
                delivery.attempts, delivery.window_start_ms, now_ms, answer.retry_after_ms
            )
            outcome = "failed" if due_ms is not None else "given-up"
        metrics.ATTEMPTS.labels(outcome, answer.error_class).inc()
        metrics.ATTEMPT_SECONDS.observe(answer.duration_ms / 1000)
        self._monitor.attempted((delivery.event.sdk_app_id, delivery.url), answer)
        row = _row(delivery.attempt(delivery.attempts, callback_ts, started_ms, answer, outcome))
        if delivery.partition.closed:
            # Whoever has the partition now decides about the callback; that a request was made stays true.
            await self._journal.write(row)
        elif due_ms is not None:
            delivery.due_ms = due_ms
            await self._lane.hold(delivery, row)
            if self._clock() - due_ms > _LATE_MS:
                delivery.excuse(self._clock())
            if not delivery.partition.closed:
                self._on_wait(delivery)
        elif gone:
            await self._finish_disabled(delivery, row, now_ms)
        elif outcome == "given-up":
            await self._finish(delivery, row, _dead_letter(delivery, now_ms, answer.error_class))
        else:
            metrics.DELIVERED_SECONDS.observe(max(0, now_ms - delivery.accepted_ms) / 1000)
            await self._finish(delivery, row)

    def _says_gone(self, delivery: Delivery, answer: Answer) -> bool:
        return answer.status == _GONE and self.schedule_name(delivery.event.sdk_app_id) == "durable"

    def _disable(self, delivery: Delivery, version: int) -> None:
        """Send nothing any more to an endpoint that says that it is gone. The end of the callback lets Kafka know."""
        key = (delivery.event.sdk_app_id, delivery.url)
        if self._disabled.note(key, version):
            self._monitor.disabled(key)

    async def _finish_disabled(self, delivery: Delivery, row: Entry, now_ms: int) -> None:
        entries = [row, _dead_letter(delivery, now_ms, "disabled")]
        application = self._applications.get(delivery.event.sdk_app_id)
        if application is not None and self._disabled.covers(application, delivery.url):
            entries.append(self._disabled.entry(application, delivery.url, now_ms))
        await self._finish(delivery, *entries)

    async def give_up(self, delivery: Delivery, error_class: str, error: str) -> None:
        """End a callback whose next attempt is not made."""
        now_ms = self._clock()
        metrics.ATTEMPTS.labels("given-up", error_class).inc()
        answer = Answer(error_class=error_class, error=error)
        attempt = delivery.attempt(delivery.attempts + 1, delivery.callback_ts_at(now_ms), now_ms, answer, "given-up")
        await self._finish(delivery, _row(attempt), _dead_letter(delivery, now_ms, error_class))

    async def _finish(self, delivery: Delivery, *entries: Entry) -> None:
        await self._journal.write(*entries)
        await self._lane.finish(delivery)
        self._on_done(delivery)


def _row(attempt: DeliveryAttempt) -> Entry:
    return Entry(DELIVERIES.name, attempt.delivery_id.encode(), msgspec.json.encode(attempt), ANYWHERE)


def _dead_letter(delivery: Delivery, now_ms: int, reason: str) -> Entry:
    event = delivery.event
    key = event_key(event.sdk_app_id, event.room_id, event.task_id)
    return Entry(DEAD_LETTERS.name, key, msgspec.json.encode(delivery.to_dead_letter(now_ms, reason)))
