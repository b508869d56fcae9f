"""What follows from an attempt, with a journal, a receiver and a clock of the test's own."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

import msgspec
import pytest

from schemas.applications import Application, CallbackConfig
from schemas.callbacks import sign
from schemas.deliveries import DeliveryAttempt
from schemas.retries import DeadLetter, RetryRecord
from services.dispatcher.circuit import Circuits
from services.dispatcher.courier import Courier
from services.dispatcher.delivery import SAME_BYTES_MS, Delivery
from services.dispatcher.disabled import DisabledEndpoints
from services.dispatcher.lane import RetryLane
from services.dispatcher.monitor import Monitor
from services.dispatcher.pace import Paces
from services.dispatcher.queues import Endpoint
from services.dispatcher.scheduler import Scheduler
from services.dispatcher.sender import Answer
from services.runtime.settings import Settings
from tests.unit.dispatcher.deliveries import delivery_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from services.runtime.journal import Entry

REFUSED = Answer(error_class="refused", error="nobody there")
FINE = Answer(status=200, response="{}")


class World:
    """A courier and everything around it in memory."""

    def __init__(self) -> None:
        self.now_ms = 1_000_000
        self.written: list[Entry] = []
        self.journal_takes_ms = 0
        self.sent: list[tuple[str, bytes, Mapping[str, str], int]] = []
        self.answers: list[Answer] = []
        self.waiting: list[Delivery] = []
        self.done: list[Delivery] = []
        self.application: Application | None = Application(
            sdk_app_id=1,
            name="demo",
            status="enabled",
            version=1,
            created_ms=0,
            secret_key="",
            callback_key="Key1",
            callback=CallbackConfig(room_url="http://a.example/"),
        )
        self.told: list[dict[str, Any]] = []
        self.disabled = DisabledEndpoints(Settings(), on_disabled=lambda _: None)
        self.lane = RetryLane(cast("Any", self), lambda: None)
        self.circuits = Circuits(
            self.clock,
            failures=10,
            failing_ms=10_000,
            first_pause_ms=1_000,
            longest_pause_ms=10_000,
            on_change=lambda _key, _circuit: None,
        )
        self.scheduler = self.scheduler_of()
        self.courier = Courier(
            Settings(),
            applications=cast("Any", self),
            journal=cast("Any", self),
            lane=self.lane,
            sender=cast("Any", self),
            monitor=Monitor(self.clock, instance="test", notify=self.told.append),
            disabled=self.disabled,
            clock=self.clock,
            on_landed=self.scheduler.finished,
            on_wait=self.waiting.append,
            on_done=self.done.append,
        )
        self._tasks: list[asyncio.Task[None]] = []

    def clock(self) -> int:
        return self.now_ms

    def scheduler_of(self) -> Scheduler:
        return Scheduler(
            self._start,
            in_flight=1000,
            in_flight_per_endpoint=10,
            circuits=self.circuits,
            paces=Paces(self.clock, lambda _: 0),
            clock=self.clock,
            on_later=lambda _: None,
        )

    def _start(self, delivery: Delivery, endpoint: Endpoint, retry: bool) -> None:
        self._tasks.append(asyncio.create_task(self.courier.attempt(delivery, endpoint, retry=retry)))

    def get(self, _: int) -> Application | None:
        return self.application

    async def write(self, *entries: Entry) -> list[int]:
        for _ in range(5):
            await asyncio.sleep(0)
        self.now_ms += self.journal_takes_ms
        self.written += entries
        return list(range(len(entries)))

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        await asyncio.sleep(0)
        self.sent.append((url, body, headers, len(self.written)))
        return self.answers.pop(0)

    async def attempt(self, *deliveries: Delivery, answers: list[Answer]) -> None:
        """Make an attempt of each."""
        self.answers += answers
        for delivery in deliveries:
            if delivery.attempts:
                self.scheduler.submit_retry(delivery)
            else:
                delivery.partition.tracker.take(delivery.offset)
                delivery.partition.pend(delivery)
                self.scheduler.submit(delivery)
        self.scheduler.pump()
        await asyncio.gather(*self._tasks)

    def rows(self) -> list[DeliveryAttempt]:
        values = [entry.value for entry in self.written if entry.topic == "deliveries"]
        return [msgspec.json.decode(value or b"", type=DeliveryAttempt) for value in values]

    def lane_values(self) -> list[RetryRecord | None]:
        values = [entry.value for entry in self.written if entry.topic == "retries"]
        return [value and msgspec.json.decode(value, type=RetryRecord) for value in values]  # type: ignore[misc]

    def letters(self) -> list[DeadLetter]:
        values = [entry.value for entry in self.written if entry.topic == "dead-letters"]
        return [msgspec.json.decode(value or b"", type=DeadLetter) for value in values]


@pytest.fixture
async def world() -> World:
    return World()


async def test_delivered(world: World) -> None:
    delivery = delivery_of()
    await world.attempt(delivery, answers=[FINE])
    [(url, body, headers, _)] = world.sent
    assert url == "http://a.example/"
    assert headers == {"SdkAppId": "1", "Sign": sign("Key1", body)}
    assert [entry.topic for entry in world.written] == ["deliveries"]
    assert (world.rows()[0].outcome, world.rows()[0].attempt) == ("delivered", 1)
    assert world.done == [delivery]
    assert delivery.partition.tracker.take(delivery.offset) is False


@pytest.mark.parametrize(
    ("answer", "limit"), [(Answer(error_class="timeout"), 5), (Answer(status=503, error_class="status"), 5), (FINE, 10)]
)
async def test_what_strains_an_endpoint_lowers_its_limit(world: World, answer: Answer, limit: int) -> None:
    endpoints: list[Endpoint] = []
    world.scheduler = world.scheduler_of()

    def landed(delivery: Delivery, endpoint: Endpoint, *, retry: bool, answer: Answer | None, put_back: bool) -> None:
        world.scheduler.finished(delivery, endpoint, retry=retry, answer=answer, put_back=put_back)
        endpoints.append(endpoint)

    world.courier._on_landed = landed
    await world.attempt(delivery_of(), answers=[answer])
    assert [endpoint.limit for endpoint in endpoints] == [limit]


async def test_failed_goes_to_the_lane_and_waits(world: World) -> None:
    delivery = delivery_of()
    await world.attempt(delivery, answers=[REFUSED])
    assert [entry.topic for entry in world.written] == ["deliveries", "retries"]
    assert (world.rows()[0].outcome, world.rows()[0].error_class) == ("failed", "refused")
    [record] = world.lane_values()
    assert record is not None
    assert (record.attempts, record.first_attempt_ms, record.due_ms) == (1, 1_000_000, 1_000_000)
    assert world.waiting == [delivery]
    assert not world.done
    assert delivery.partition.lane == {delivery.delivery_id: delivery}
    assert delivery.partition.tracker.take(delivery.offset) is False


async def test_delivered_in_the_end_leaves_nothing_in_the_lane(world: World) -> None:
    delivery = delivery_of()
    await world.attempt(delivery, answers=[REFUSED])
    await world.attempt(delivery, answers=[FINE])
    assert [entry.topic for entry in world.written] == ["deliveries", "retries", "deliveries", "retries"]
    assert world.lane_values()[-1] is None
    assert delivery.partition.lane == {}
    assert world.sent[0][1:3] == world.sent[1][1:3]


async def test_given_up_when_the_window_ends(world: World) -> None:
    delivery = delivery_of()
    await world.attempt(delivery, answers=[REFUSED])
    world.now_ms += 55_000
    await world.attempt(delivery, answers=[REFUSED])
    assert [row.outcome for row in world.rows()] == ["failed", "given-up"]
    [letter] = world.letters()
    assert (letter.reason, letter.callback.attempts, letter.url) == ("refused", 2, "http://a.example/")
    assert world.lane_values()[-1] is None
    assert world.done == [delivery]


async def test_without_a_turn_in_time_it_is_given_up_as_parked(world: World) -> None:
    delivery = delivery_of()
    await world.attempt(delivery, answers=[REFUSED])
    world.now_ms += 61_000
    await world.attempt(delivery, answers=[])
    assert len(world.sent) == 1
    row = world.rows()[-1]
    assert (row.outcome, row.error_class, row.attempt, row.status) == ("given-up", "parked", 2, 0)
    assert [letter.reason for letter in world.letters()] == ["parked"]
    assert world.done == [delivery]


async def test_after_a_time_without_a_dispatcher_one_more_attempt_is_made(world: World) -> None:
    delivery = delivery_of()
    await world.attempt(delivery, answers=[REFUSED])
    delivery.due_ms += 50_000
    world.now_ms += 3_600_000
    delivery.excuse(world.now_ms)
    # Even if its turn is late.
    world.now_ms += 61_000
    await world.attempt(delivery, answers=[FINE])
    assert world.rows()[-1].outcome == "delivered"


async def test_the_durable_schedule_goes_on_with_renewed_bytes(world: World) -> None:
    assert world.application is not None
    durable = CallbackConfig(room_url="http://a.example/", schedule="durable")
    world.application = msgspec.structs.replace(
        world.application, callback=durable, webhook_secret="whsec_" + "MTIz" * 8
    )
    delivery = delivery_of()
    busy = Answer(status=503, error_class="status", retry_after_ms=120_000)
    await world.attempt(delivery, answers=[busy])
    assert delivery.due_ms == world.now_ms + 120_000
    record = world.lane_values()[-1]
    assert record is not None
    assert record.due_ms == delivery.due_ms
    # Another dispatcher finds it in the lane in time: it neither comes earlier nor is its window longer.
    found = Delivery.of_record(record, delivery.partition, world.now_ms + 60_000)
    assert (found.due_ms, found.excused_ms, found.owed) == (delivery.due_ms, 0, False)
    found.url = delivery.url
    world.now_ms = found.due_ms
    await world.attempt(found, answers=[FINE])
    (_, first, first_headers, _), (_, second, second_headers, _) = world.sent
    assert (b'"CallbackTs":1000000,' in first, b'"CallbackTs":1120000,' in second) == (True, True)
    assert second_headers["Sign"] == sign("Key1", second)
    assert second_headers["webhook-id"] == first_headers["webhook-id"]
    assert (first_headers["webhook-timestamp"], second_headers["webhook-timestamp"]) == ("1000", "1120")
    assert [row.outcome for row in world.rows()] == ["failed", "delivered"]


async def test_a_stale_callback_is_in_the_lane_before_it_is_sent(world: World) -> None:
    delivery = delivery_of(accepted_ms=world.now_ms - SAME_BYTES_MS - 1)
    await world.attempt(delivery, answers=[FINE])
    [(_, body, _, written_before)] = world.sent
    record, tombstone = world.lane_values()
    assert record is not None
    assert written_before == 1
    assert (record.callback_ts, record.attempts) == (1_000_000, 0)
    assert b'"CallbackTs":1000000,' in body
    assert tombstone is None


async def test_a_fresh_callback_does_not_overtake_a_stale_one_of_its_room(world: World) -> None:
    stale = delivery_of("a", accepted_ms=world.now_ms - SAME_BYTES_MS - 1)
    fresh = delivery_of("a", accepted_ms=world.now_ms - 5, partition=stale.partition)
    elsewhere = delivery_of("b", accepted_ms=world.now_ms - 7, partition=stale.partition)
    await world.attempt(stale, fresh, elsewhere, answers=[FINE] * 3)
    assert [body for _, body, _, _ in world.sent] == [
        delivery.body_at(delivery.callback_ts) for delivery in (elsewhere, stale, fresh)
    ]
    assert {record.delivery_id for record in world.lane_values() if record} == {stale.delivery_id, fresh.delivery_id}


async def test_time_without_kafka_is_excused(world: World) -> None:
    delivery = delivery_of()
    world.journal_takes_ms = 30_000
    await world.attempt(delivery, answers=[REFUSED])
    assert delivery.due_ms == 1_030_000
    assert delivery.window_start_ms == 1_030_000
    assert delivery.owed


async def test_a_partition_that_is_gone_keeps_the_row_alone(world: World) -> None:
    for answer in (FINE, REFUSED):
        delivery = delivery_of()
        delivery.partition.tracker.take(delivery.offset)
        endpoint = Endpoint((1, delivery.url), 10)
        endpoint.add(delivery)
        assert endpoint.next() == (delivery, False)
        world.scheduler.endpoints[endpoint.key] = endpoint
        delivery.partition.close()
        world.answers.append(answer)
        await world.courier.attempt(delivery, endpoint, retry=False)
        assert delivery.partition.tracker.watermark == delivery.partition.tracker.next_offset - 1
    assert [entry.topic for entry in world.written] == ["deliveries", "deliveries"]
    assert not world.waiting


async def test_an_application_that_is_gone(world: World) -> None:
    world.application = None
    delivery = delivery_of()
    await world.attempt(delivery, answers=[])
    assert not world.sent
    assert world.rows()[0].error_class == "no-url"


async def test_what_is_done_does_not_come_into_the_lane_any_more(world: World) -> None:
    delivery = delivery_of()
    delivery.partition.tracker.take(delivery.offset)
    late = asyncio.create_task(world.lane.hold(delivery))
    await world.lane.finish(delivery)
    await late
    assert world.written == []
    assert delivery.partition.lane == {}


async def test_done_while_it_is_being_moved(world: World) -> None:
    delivery = delivery_of()
    delivery.partition.tracker.take(delivery.offset)
    moving = asyncio.create_task(world.lane.hold(delivery))
    await asyncio.sleep(0)
    await world.lane.finish(delivery)
    await moving
    assert [value is None for value in world.lane_values()] == [False, True]
    assert delivery.partition.lane == {}


async def test_whoever_stops_waiting_for_a_move_disturbs_nobody(world: World) -> None:
    delivery = delivery_of()
    delivery.partition.tracker.take(delivery.offset)
    moving = asyncio.create_task(world.lane.hold(delivery))
    await asyncio.sleep(0)
    impatient = asyncio.create_task(world.lane.hold(delivery))
    await asyncio.sleep(0)
    impatient.cancel()
    await moving
    assert list(delivery.partition.lane) == [delivery.delivery_id]


OURS = Answer(error_class="own-dns", error="no name server")


async def test_a_fault_of_ours_is_no_attempt(world: World) -> None:
    delivery = delivery_of()
    await world.attempt(delivery, answers=[OURS])
    assert (delivery.attempts, delivery.first_attempt_ms) == (0, 0)
    assert [entry.topic for entry in world.written] == ["deliveries"]
    assert (world.rows()[0].outcome, world.rows()[0].error_class, world.rows()[0].attempt) == ("failed", "own-dns", 1)
    assert list(world.scheduler.endpoints) == [(1, delivery.url)]
    world.now_ms += 250
    world.answers.append(FINE)
    world.scheduler.pump()
    await asyncio.gather(*world._tasks)
    assert [(row.outcome, row.attempt) for row in world.rows()] == [("failed", 1), ("delivered", 1)]
    assert world.done == [delivery]


async def test_a_fault_of_ours_takes_no_time_of_the_window(world: World) -> None:
    delivery = delivery_of()
    await world.attempt(delivery, answers=[REFUSED])
    world.now_ms = delivery.due_ms
    await world.attempt(delivery, answers=[OURS])
    world.now_ms += 3_600_000
    world.answers.append(FINE)
    world.scheduler.pump()
    await asyncio.gather(*world._tasks)
    assert world.rows()[-1].outcome == "delivered"
    assert world.rows()[-1].attempt == 2


async def test_what_fails_by_us_again_and_again_makes_way_for_others(world: World) -> None:
    poison, other = delivery_of("a"), delivery_of("a")
    other.partition = poison.partition
    await world.attempt(poison, answers=[OURS])
    for _ in range(9):
        world.now_ms += 5_000
        world.answers.append(OURS)
        world.scheduler.pump()
        await asyncio.gather(*world._tasks)
    assert not world.waiting, "nobody is there to make way for"
    world.now_ms += 5_000
    await world.attempt(other, answers=[OURS])
    assert world.waiting == [poison]
    assert (poison.due_ms - world.now_ms, poison.attempts, poison.in_lane) == (300_000, 0, True)
    world.now_ms += 5_000
    world.answers.append(FINE)
    world.scheduler.pump()
    await asyncio.gather(*world._tasks)
    assert world.done == [other]
    # In its turn it is a first attempt still.
    world.now_ms += 3_600_000
    await world.attempt(poison, answers=[FINE])
    assert world.rows()[-1].attempt == 1
    assert world.lane_values()[-1] is None


async def test_a_fault_of_ours_without_end_is_given_up_after_days(world: World) -> None:
    delivery = delivery_of()
    await world.attempt(delivery, answers=[OURS])
    for days in (0, 0, 0, 3):
        world.now_ms += 5_000 + days * 86_400_000
        world.answers.append(OURS)
        world.scheduler.pump()
        await asyncio.gather(*world._tasks)
    assert [letter.reason for letter in world.letters()] == ["own-dns"], "even though nobody waits behind it"
    assert world.done == [delivery]


GONE = Answer(status=410, error_class="status", error="status 410")


async def test_gone_disables_the_endpoint_on_the_durable_schedule(world: World) -> None:
    assert world.application is not None
    durable = CallbackConfig(room_url="http://a.example/", schedule="durable")
    world.application = msgspec.structs.replace(world.application, callback=durable, version=7)
    deliveries = [delivery_of("a"), delivery_of("b")]
    await world.attempt(*deliveries, answers=[GONE, GONE])
    assert world.disabled.covers(world.application, "http://a.example/")
    assert not world.disabled.covers(world.application, "http://b.example/")
    assert not world.disabled.covers(msgspec.structs.replace(world.application, version=8), "http://a.example/")
    assert [(row.outcome, row.status, row.error_class) for row in world.rows()] == [("given-up", 410, "status")] * 2
    assert [letter.reason for letter in world.letters()] == ["disabled"] * 2
    assert world.done == deliveries
    [record, _] = [entry for entry in world.written if entry.topic == "disabled-endpoints"]
    assert record.key == b"1 http://a.example/"
    assert [message["Event"] for message in world.told] == ["endpoint disabled"]


async def test_gone_is_a_failure_like_others_on_the_vendors_schedule(world: World) -> None:
    assert world.application is not None
    await world.attempt(delivery_of(), answers=[GONE])
    assert [row.outcome for row in world.rows()] == ["failed"]
    assert not world.disabled.covers(world.application, "http://a.example/")


async def test_gone_said_of_an_earlier_setting_disables_nothing(world: World) -> None:
    assert world.application is not None
    durable = CallbackConfig(room_url="http://a.example/", schedule="durable")
    world.application = msgspec.structs.replace(world.application, callback=durable, version=7)
    post = world.post

    async def post_while_it_is_set_anew(url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        assert world.application is not None
        world.application = msgspec.structs.replace(world.application, version=8)
        return await post(url, body, headers)

    world.post = post_while_it_is_set_anew  # type: ignore[method-assign]
    await world.attempt(delivery_of(), answers=[GONE])
    assert not world.disabled.covers(world.application, "http://a.example/")
    assert [letter.reason for letter in world.letters()] == ["disabled"]
    assert not [entry for entry in world.written if entry.topic == "disabled-endpoints"]
