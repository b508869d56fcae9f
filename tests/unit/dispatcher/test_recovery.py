"""What a group's coordinator says, and what it does not say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import GroupLoadInProgressError
from aiokafka.structs import OffsetAndMetadata

from services.dispatcher import recovery
from services.runtime.settings import Settings
from tests.unit.dispatcher.deliveries import partition_of

if TYPE_CHECKING:
    from collections.abc import Callable

ZERO, ONE = TopicPartition("events", 0), TopicPartition("events", 1)


@pytest.fixture
def coordinator(monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[TopicPartition, OffsetAndMetadata]], None]:
    """Sets what the coordinator answers."""

    def answers(offsets: dict[TopicPartition, OffsetAndMetadata]) -> None:
        class Admin:
            def __init__(self, **_: Any) -> None:
                pass

            async def start(self) -> None:
                pass

            async def close(self) -> None:
                pass

            async def list_consumer_group_offsets(self, *_: Any, **__: Any) -> dict[TopicPartition, OffsetAndMetadata]:
                return offsets

        monkeypatch.setattr(recovery, "AIOKafkaAdminClient", Admin)

    return answers


async def test_a_coordinator_that_still_loads_is_not_a_fresh_group(
    coordinator: Callable[[dict[TopicPartition, OffsetAndMetadata]], None],
) -> None:
    # It answers with an error for the group and without partitions, and the client looks at the partitions only.
    for offsets in ({}, {ZERO: OffsetAndMetadata(7, "")}):
        coordinator(offsets)
        with pytest.raises(GroupLoadInProgressError) as raised:
            await recovery.recover(Settings(), "dispatcher", [partition_of(0), partition_of(1)], lambda: 0)
        assert raised.value.retriable


async def test_partitions_without_a_commit_are_known_by_their_number(
    coordinator: Callable[[dict[TopicPartition, OffsetAndMetadata]], None],
) -> None:
    coordinator({ZERO: OffsetAndMetadata(7, "1:AQ=="), ONE: OffsetAndMetadata(-1, "")})
    assert await recovery.committed(Settings(), "dispatcher", [ZERO, ONE]) == {ZERO: (7, "1:AQ==")}
