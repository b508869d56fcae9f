"""Creating the topics of the catalogue, and refusing brokers whose topics contradict it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import structlog
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import TopicAlreadyExistsError, for_code

from schemas.topics import CATALOGUE, Topic

if TYPE_CHECKING:
    from collections.abc import Iterable

    from services.runtime.settings import Settings

log = structlog.get_logger(__name__)
_DESCRIBE_TRIES = 50
_DESCRIBE_PAUSE_S = 0.1


class TopicMismatch(Exception):
    """A topic exists but is not what the catalogue says, so that data or order could be lost in it."""


async def ensure_topics(settings: Settings, catalogue: Iterable[Topic] = CATALOGUE) -> None:
    """Create what is missing.

    Raises `TopicMismatch` where a topic's cleanup policy or, where the catalogue fixes it, its number of partitions
    differs. Retention is the operator's to change and is not looked at.
    """
    wanted = {topic.name: topic for topic in catalogue}
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap)
    await admin.start()
    try:
        present = set(await admin.list_topics())
        await _create(admin, settings, [topic for name, topic in wanted.items() if name not in present])
        # Those that somebody else made in between are compared too.
        await _compare(admin, list(wanted.values()))
    finally:
        await admin.close()


async def _create(admin: AIOKafkaAdminClient, settings: Settings, missing: list[Topic]) -> None:
    if not missing:
        return
    response: Any = await admin.create_topics(
        [
            NewTopic(
                topic.name,
                num_partitions=topic.partitions or settings.kafka_partitions,
                replication_factor=settings.kafka_replication,
                topic_configs=topic.config,
            )
            for topic in missing
        ]
    )
    for name, code, *message in response.topic_errors:
        error = for_code(code)
        if code and error is not TopicAlreadyExistsError:
            raise error(f"topic {name}: {message}")
    log.info("topics created", topics=[topic.name for topic in missing])


async def _described(admin: AIOKafkaAdminClient, names: list[str]) -> dict[str, Any]:
    """What the broker says of topics; of one that was made a moment ago it may not know yet."""
    for _ in range(_DESCRIBE_TRIES):
        found = {entry["topic"]: entry for entry in await admin.describe_topics(names)}
        unknown = [name for name in names if found[name]["error_code"]]
        if not unknown:
            return found
        await asyncio.sleep(_DESCRIBE_PAUSE_S)
    raise for_code(found[unknown[0]]["error_code"])(f"topic {unknown[0]}")


async def _compare(admin: AIOKafkaAdminClient, topics: list[Topic]) -> None:
    if not topics:
        return
    described = await _described(admin, [topic.name for topic in topics])
    configs: dict[str, str] = {}
    resources = [ConfigResource(ConfigResourceType.TOPIC, topic.name) for topic in topics]
    responses: list[Any] = await admin.describe_configs(resources)
    for response in responses:
        for _, _, _, name, entries in response.resources:
            configs[name] = next(entry[1] for entry in entries if entry[0] == "cleanup.policy")
    for topic in topics:
        if set(configs[topic.name].split(",")) != {topic.cleanup}:
            raise TopicMismatch(
                f"topic {topic.name} has cleanup.policy={configs[topic.name]}, Roompulse needs {topic.cleanup}"
            )
        partitions = len(described[topic.name]["partitions"])
        if topic.partitions is not None and partitions != topic.partitions:
            raise TopicMismatch(f"topic {topic.name} has {partitions} partitions, Roompulse needs {topic.partitions}")
