from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest
from aiokafka.admin import AIOKafkaAdminClient

from schemas.topics import APPLICATIONS, CATALOGUE, EVENTS, Topic
from services.runtime.settings import Settings
from services.runtime.topics import TopicMismatch, ensure_topics

if TYPE_CHECKING:
    from tests.support.kafka import KafkaBroker


@pytest.fixture
def settings(kafka: KafkaBroker) -> Settings:
    return Settings(kafka_bootstrap=kafka.bootstrap, kafka_partitions=3)


async def partitions(settings: Settings) -> dict[str, int]:
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap)
    await admin.start()
    try:
        return {entry["topic"]: len(entry["partitions"]) for entry in await admin.describe_topics()}
    finally:
        await admin.close()


async def test_what_is_missing_is_created_and_what_is_there_stays(settings: Settings) -> None:
    await ensure_topics(settings, [EVENTS])
    await ensure_topics(settings.model_copy(update={"kafka_partitions": 5}))
    await ensure_topics(settings)
    found = await partitions(settings)
    assert found["events"] == 3
    assert found["applications"] == 1
    assert {topic.name: found[topic.name] for topic in CATALOGUE if topic not in (EVENTS, APPLICATIONS)} == {
        topic.name: topic.partitions or 5 for topic in CATALOGUE if topic not in (EVENTS, APPLICATIONS)
    }


@pytest.mark.parametrize(
    ("there", "wanted"),
    [
        (Topic(name="a", key="", cleanup="delete", about=""), {"cleanup": "compact"}),
        (Topic(name="b", key="", cleanup="delete", partitions=2, about=""), {"partitions": 1}),
    ],
)
async def test_a_topic_that_contradicts_the_catalogue_is_refused(
    settings: Settings, there: Topic, wanted: dict[str, object]
) -> None:
    await ensure_topics(settings, [there])
    with pytest.raises(TopicMismatch, match=f"topic {there.name} "):
        await ensure_topics(settings, [msgspec.structs.replace(there, **wanted)])
