"""Telling every service about applications: sealed records onto the compacted topic."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from aiokafka import AIOKafkaProducer

from schemas.topics import APPLICATIONS
from services.runtime.applications import seal_application
from services.runtime.secrets import SecretBox

if TYPE_CHECKING:
    from collections.abc import Iterable

    from schemas.applications import Application
    from services.runtime.settings import Settings


async def publish_applications(settings: Settings, applications: Iterable[Application]) -> None:
    """Write the applications' records and return when Kafka has them all. Raises `KafkaError`."""
    box = SecretBox.from_settings(settings)
    producer = AIOKafkaProducer(
        bootstrap_servers=settings.kafka_bootstrap, acks="all", enable_idempotence=True, request_timeout_ms=10_000
    )
    await producer.start()
    try:
        sent = [
            await producer.send(
                APPLICATIONS.name,
                key=str(application.sdk_app_id).encode(),
                value=msgspec.json.encode(seal_application(application, box)),
            )
            for application in applications
        ]
        for future in sent:
            await future
    finally:
        await producer.stop()
