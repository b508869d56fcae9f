from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aiokafka import AIOKafkaProducer

from schemas.topics import APPLICATIONS
from services.console.publisher import publish_applications
from services.console.store import ApplicationStore
from services.processor.catalogue import Catalogue
from services.processor.store import Store
from services.runtime.applications import ApplicationTable

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.runtime.settings import Settings
    from tests.support.kafka import KafkaBroker


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.02)


async def test_the_table_is_ready_when_it_has_read_what_was_there(settings: Settings) -> None:
    store = ApplicationStore(settings)
    applications = [store.create(f"app_{number}") for number in range(20)]
    await publish_applications(settings, applications)
    table = ApplicationTable(settings)
    assert not table.ready
    await table.start()
    await asyncio.wait_for(table.wait_ready(), 60)
    assert [table.get(application.sdk_app_id) for application in applications] == applications
    assert table.get(1) is None

    changed = store.set_callback(applications[0].sdk_app_id, room_url="http://a.example/")
    await publish_applications(settings, [changed])
    await until(lambda: table.get(changed.sdk_app_id) == changed)
    # An old version that arrives late, as from a console that publishes everything again, changes nothing.
    deleted = store.set_status(applications[1].sdk_app_id, "deleted")
    await publish_applications(settings, [applications[0], deleted])
    await until(lambda: table.get(deleted.sdk_app_id) is None)
    assert table.get(changed.sdk_app_id) == changed
    assert len(table.all()) == 19
    await table.stop()
    store.close()


async def test_records_nobody_can_read_are_passed_over(settings: Settings) -> None:
    store = ApplicationStore(settings)
    application = store.create("good")
    async with AIOKafkaProducer(bootstrap_servers=settings.kafka_bootstrap) as producer:
        for value in (b"not JSON", b"{}", None):
            await producer.send_and_wait(APPLICATIONS.name, key=b"x", value=value)
    await publish_applications(settings, [application])
    table = ApplicationTable(settings)
    await table.start()
    await asyncio.wait_for(table.wait_ready(), 60)
    assert table.get(application.sdk_app_id) == application
    await table.stop()
    store.close()


async def test_a_broker_that_dies_is_waited_for(settings: Settings, kafka: KafkaBroker) -> None:
    table = ApplicationTable(settings)
    await table.start()
    await asyncio.wait_for(table.wait_ready(), 60)
    kafka.kill9()
    await asyncio.to_thread(kafka.start)
    store = ApplicationStore(settings)
    application = store.create("after_crash")
    await publish_applications(settings, [application])
    await until(lambda: table.get(application.sdk_app_id) == application)
    await table.stop()
    store.close()


async def test_queries_know_applications_without_their_keys(settings: Settings) -> None:
    console = ApplicationStore(settings)
    lessons = console.set_monitoring(console.create("lessons").sdk_app_id, edition="standard", utc_offset_minutes=480)
    await publish_applications(settings, [lessons])
    catalogue, store = Catalogue(settings), Store(settings)
    await catalogue.start()

    async def rows() -> list[tuple[object, ...]]:
        await catalogue.run(store)
        found = await store.query(
            "applications",
            "SELECT Name, Status, MonitoringEdition, UtcOffsetMinutes, Version FROM applications FINAL "
            "WHERE SdkAppId = {app:UInt32}",
            {"app": lessons.sdk_app_id},
        )
        return [tuple(row) for row in found]

    async with asyncio.timeout(60):
        while not catalogue.complete:
            await rows()
            await asyncio.sleep(0.02)
    assert await rows() == [("lessons", "enabled", "standard", 480, 2)]
    deleted = console.set_status(lessons.sdk_app_id, "deleted")
    await publish_applications(settings, [deleted])
    async with asyncio.timeout(60):
        while await rows() != [("lessons", "deleted", "standard", 480, 3)]:
            await asyncio.sleep(0.02)
    await catalogue.stop()
    await store.close()
    console.close()
