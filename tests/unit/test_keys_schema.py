"""What is stored under a key stays there: keys, shards and ids are what they have always been."""

from __future__ import annotations

from collections import Counter

import pytest

from schemas.applications import CallbackConfig
from schemas.deliveries import delivery_id
from schemas.keys import USER_SHARDS, event_key, may_be_numeric, report_partition, room_key, user_shard


def test_rooms_of_two_kinds_have_one_partition_key() -> None:
    assert room_key(123) == ("123", 0)
    assert room_key("123") == ("123", 1)
    assert event_key(7, "123", "task") == event_key(7, "123", None) == b"7/room/123"
    assert event_key(7, None, "123") == b"7/task/123"
    assert event_key(7, None, None) == b"7"


def test_a_room_has_the_same_share_of_each_partition() -> None:
    users = {user_shard(user): user for user in map(str, range(1000))}
    assert len(users) == USER_SHARDS
    for room in ("8801", "lobby", "张三"):
        assert report_partition(7, room, "alice", 1) == 0
        for partitions in (2, 4, 8, 16):
            found = Counter(report_partition(7, room, user, partitions) for user in users.values())
            assert set(found.values()) == {USER_SHARDS // partitions}
            assert len(found) == partitions
    assert len({report_partition(7, str(room), "alice", 8) for room in range(100)}) == 8


def test_a_user_has_the_same_shard_for_ever() -> None:
    assert {user: user_shard(user) for user in ("alice", "bob", "user_85034614", "张三")} == {
        "alice": 7,
        "bob": 0,
        "user_85034614": 12,
        "张三": 10,
    }
    assert {user_shard(f"user_{number}") for number in range(1000)} == set(range(USER_SHARDS))


def test_an_event_has_the_same_delivery_for_ever() -> None:
    assert delivery_id(1400000001, "e") == "484a3be83aa4da8248780a97117097f9"
    assert delivery_id(1400000001, "e") != delivery_id(1400000002, "e")
    assert delivery_id(1, "1/e") != delivery_id(11, "/e")


@pytest.mark.parametrize("text", ["1", "8801", "4294967295"])
def test_texts_that_may_be_numeric_rooms(text: str) -> None:
    assert may_be_numeric(text)


@pytest.mark.parametrize(
    "text", ["", "0", "01", "4294967296", "1" * 11, "-1", "+1", "1.0", "1e3", " 1", "1\n", "٣", "²", "a"]
)
def test_texts_that_may_not(text: str) -> None:
    assert not may_be_numeric(text)


def test_which_url_a_group_goes_to() -> None:
    config = CallbackConfig(
        room_url="room", media_url="media", recording_url="recording", relay_url="relay", group_urls={"7": "seven"}
    )
    urls = {group: config.url_of(group) for group in range(1, 16)}
    assert urls == {**dict.fromkeys(range(1, 16), ""), 1: "room", 2: "media", 3: "recording", 8: "recording"} | {
        4: "relay",
        7: "seven",
    }
