"""The oracle against sums done by hand."""

from __future__ import annotations

from typing import Any

from tests.oracle.quality import by_application, by_room

T = 1_700_000_000_000


def report(room: int | str, user: str, *samples: dict[str, Any]) -> dict[str, Any]:
    return {"SdkAppId": 1, "RoomId": room, "UserId": user, "SessionId": user, "Samples": list(samples)}


def test_an_episode_over_two_buckets_counts_in_both_once_it_is_long_enough() -> None:
    # 400 ms before the boundary and 300 after it: 700 ms together, over the limit of 600.
    before = {
        "StartMs": T + 8000,
        "DurMs": 2000,
        "Remote": [{"UserId": "b", "Type": "big", "PlayMs": 2000, "Stutters": [[T + 9600, 400]]}],
    }
    after = {
        "StartMs": T + 10000,
        "DurMs": 2000,
        "Remote": [{"UserId": "b", "Type": "big", "PlayMs": 2000, "Stutters": [[T + 9600, 700]]}],
    }
    room = (1, "7", 0)
    for reports in ([report(7, "a", before), report(7, "a", after)], [report(7, "a", after, before)] * 2):
        numbers = by_room(reports)
        assert numbers[room, T].video_stutter_ms == 400
        assert numbers[room, T + 10000].video_stutter_ms == 300
        assert numbers[room, T].video_play_ms == 2000
    assert by_room([report(7, "a", before)])[room, T].video_stutter_ms == 0


def test_audio_has_its_own_limit_and_muted_time_is_no_playing_time() -> None:
    sample = {
        "StartMs": T,
        "DurMs": 2000,
        "Remote": [
            {"UserId": "b", "Type": "audio", "Stutters": [[T + 100, 200], [T + 900, 199]]},
            {"UserId": "c", "Type": "audio", "Muted": True},
        ],
    }
    numbers = by_room([report("7", "a", sample)])[(1, "7", 1), T]
    assert (numbers.audio_stutter_ms, numbers.audio_play_ms) == (200, 2000)


def test_a_user_in_two_rooms_counts_twice_and_number_and_text_are_two_rooms() -> None:
    sample = {"StartMs": T, "DurMs": 2000}
    total = by_application(by_room([report(7, "a", sample), report("7", "a", sample), report(7, "b", sample)]))[1, T]
    assert len(total.online) == 3
    assert len(total.rooms) == 2
