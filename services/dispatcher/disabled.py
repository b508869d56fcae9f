"""Endpoints that said that they are gone for good: nothing goes there until their application is set anew."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import msgspec
import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from schemas.retries import DisabledEndpoint
from schemas.topics import DISABLED_ENDPOINTS
from services.runtime.journal import Entry

if TYPE_CHECKING:
    from collections.abc import Callable

    from schemas.applications import Application
    from services.dispatcher.scheduler import EndpointKey
    from services.runtime.settings import Settings

log = structlog.get_logger(__name__)
_decoder = msgspec.json.Decoder(DisabledEndpoint)


class DisabledEndpoints:
    """What all dispatchers found out, followed from the first record of the topic on.

    An endpoint is disabled as its application was then: whatever the operator changes of the application enables it.
    """

    def __init__(self, settings: Settings, *, on_disabled: Callable[[EndpointKey], None]) -> None:
        self._settings = settings
        self._on_disabled = on_disabled
        self._versions: dict[EndpointKey, int] = {}
        self._ready = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def covers(self, application: Application, url: str) -> bool:
        """Whether nothing may go to a URL of an application."""
        return bool(self._versions) and self._versions.get((application.sdk_app_id, url), 0) >= application.version

    def entry(self, application: Application, url: str, now_ms: int) -> Entry:
        """The record that lets all dispatchers know."""
        record = DisabledEndpoint(
            sdk_app_id=application.sdk_app_id, url=url, version=application.version, disabled_ms=now_ms
        )
        key = f"{application.sdk_app_id} {url}".encode()
        return Entry(DISABLED_ENDPOINTS.name, key, msgspec.json.encode(record))

    def note(self, key: EndpointKey, version: int) -> bool:
        """An endpoint is disabled; whether that is new."""
        if self._versions.get(key, 0) >= version:
            return False
        self._versions[key] = version
        self._on_disabled(key)
        return True

    async def wait_ready(self) -> None:
        """Return when the topic has been read to the end that it had at the start."""
        await self._ready.wait()

    async def start(self) -> None:
        """Begin to follow the topic."""
        self._task = asyncio.create_task(self._follow_for_ever(), name="disabled endpoints")

    async def stop(self) -> None:
        """Stop following."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _follow_for_ever(self) -> None:
        while True:
            try:
                await self._follow()
            except (KafkaError, OSError) as error:
                log.warning("topic of disabled endpoints out of reach, trying again", error=str(error))
                await asyncio.sleep(1)

    async def _follow(self) -> None:
        partition = TopicPartition(DISABLED_ENDPOINTS.name, 0)
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._settings.kafka_bootstrap,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            fetch_max_wait_ms=500,
        )
        await consumer.start()
        try:
            consumer.assign([partition])
            await consumer.seek_to_beginning(partition)
            end = (await consumer.end_offsets([partition]))[partition]
            while True:
                if await consumer.position(partition) >= end:
                    self._ready.set()
                for records in (await consumer.getmany(timeout_ms=500)).values():
                    for record in records:
                        self._apply(record.value)
        finally:
            await consumer.stop()

    def _apply(self, value: bytes | None) -> None:
        try:
            record = _decoder.decode(value or b"")
        except msgspec.DecodeError as error:
            log.error("record of a disabled endpoint cannot be read", error=str(error))
            return
        self.note((record.sdk_app_id, record.url), record.version)
