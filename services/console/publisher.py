"""Telling every service about applications: sealed records onto the compacted topic."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec
import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from schemas.topics import APPLICATIONS
from services.console.store import DatabaseUnusable
from services.runtime.applications import seal_application
from services.runtime.secrets import SecretBox
from services.runtime.topics import ensure_topics

if TYPE_CHECKING:
    from collections.abc import Iterable

    from schemas.applications import Application
    from services.console.store import ApplicationStore
    from services.runtime.settings import Settings

log = structlog.get_logger(__name__)

LOOK_EVERY_S = 0.5
TRY_AGAIN_S = 2.0


async def publish_applications(settings: Settings, applications: Iterable[Application]) -> None:
    """Write the applications' records and return when Kafka has them all. Raises `KafkaError`."""
    box = SecretBox.from_settings(settings)
    producer = AIOKafkaProducer(
        bootstrap_servers=settings.kafka_bootstrap, acks="all", enable_idempotence=True, request_timeout_ms=10_000
    )
    try:
        await producer.start()
        sent = [
            await producer.send(
                APPLICATIONS.name,
                key=str(application.sdk_app_id).encode(),
                value=msgspec.json.encode(seal_application(application, box)),
            )
            for application in applications
        ]
        await asyncio.gather(*sent)
    finally:
        await producer.stop()


async def publish_newest(settings: Settings, store: ApplicationStore, sdk_app_id: int) -> None:
    """Publish an application as it is stored, and again where it changed meanwhile.

    Of two processes that change an application, the one that is late to publish would otherwise leave its older
    record as the last one, the only one that compaction keeps. Raises `KafkaError`.
    """
    published = 0
    while (application := await asyncio.to_thread(store.newest, sdk_app_id)).version != published:
        await publish_applications(settings, [application])
        published = application.version


class Publisher:
    """Keeps the topic in step with the database: everything at start, then each change, whoever made it.

    `ready` turns true when everything has been published once. Kafka and the database are waited for.
    """

    def __init__(self, settings: Settings, store: ApplicationStore) -> None:
        self._settings = settings
        self._store = store
        self._published: dict[int, int] = {}
        self.ready = False

    async def run(self) -> None:
        """Publish until cancelled. Raises `TopicMismatch` where the topics are not what Roompulse needs."""
        working = True
        while True:
            try:
                if not self.ready:
                    await ensure_topics(self._settings)
                await self._publish_changes()
            except (KafkaError, OSError, DatabaseUnusable) as error:
                if working:
                    log.warning("applications cannot be published now, trying again", error=str(error))
                working = False
                await asyncio.sleep(TRY_AGAIN_S)
            else:
                working = True
                await asyncio.sleep(LOOK_EVERY_S)

    async def _publish_changes(self) -> None:
        versions = await asyncio.to_thread(self._store.versions)
        if versions != self._published:
            everything = await asyncio.to_thread(self._store.all, with_deleted=True)
            changed = [one for one in everything if one.version != self._published.get(one.sdk_app_id)]
            await publish_applications(self._settings, changed)
            self._published = {one.sdk_app_id: one.version for one in everything}
            log.info("applications published", applications=len(changed))
        self.ready = True
