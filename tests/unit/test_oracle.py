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


def test_an_exception_needs_two_samples_in_a_row_and_silence_ten_seconds() -> None:
    def sample(number: int, **fields: Any) -> dict[str, Any]:
        return {"StartMs": T + number * 2000, "DurMs": 2000, **fields}

    def abnormal(*samples: dict[str, Any]) -> dict[int, set[str]]:
        return {
            (at - T) // 10_000: numbers.abnormal for (_, at), numbers in by_room([report(7, "a", *samples)]).items()
        }

    assert abnormal(sample(4, SysCpu=90), sample(5, SysCpu=90)) == {0: set(), 1: {"a"}}
    assert abnormal(sample(3, SysCpu=90), sample(4, SysCpu=85), sample(5, SysCpu=90)) == {0: set(), 1: set()}
    assert abnormal(sample(1, SdkTaskMs=61), sample(3, SdkTaskMs=61)) == {0: {"a"}}
    assert abnormal(sample(1, SdkTaskMs=61), sample(4, SdkTaskMs=61)) == {0: set()}
    assert abnormal(sample(0, SysCpu=1, SdkTaskMs=99), sample(1, SysCpu=1, SdkTaskMs=99)) == {0: set()}

    def seen(*rates: float, kind: str = "big", **fields: Any) -> list[dict[str, Any]]:
        remote = {"UserId": "b", "Type": kind, **fields}
        return [sample(number, Remote=[{**remote, "RenderFps": rate}]) for number, rate in enumerate(rates)]

    assert abnormal(*seen(15, 9, 9)) == {0: {"a"}}
    assert abnormal(*seen(15, 15, 9)) == {0: set()}
    assert abnormal(*seen(21, 15, 15)) == {0: {"a"}}
    assert abnormal(*seen(9.8, 4.8, 9.8, kind="sub")) == {0: set()}
    assert abnormal(*seen(9, 9, 9, kind="sub")) == {0: set()}
    assert abnormal(*seen(4, 4, kind="sub")) == {0: {"a"}}
    assert abnormal(*seen(0, 0, PlayMs=0)) == {0: set()}
    assert abnormal(*seen(0, 0, Muted=True)) == {0: set()}
    sent = [sample(number, Local=[{"Type": "big", "CapFps": 30, "SendFps": 8}]) for number in range(2)]
    assert abnormal(*sent) == {0: {"a"}}

    silent = [sample(number, Local=[{"Type": "audio", "Volume": 0, "Muted": False}]) for number in range(5)]
    assert abnormal(*silent) == {0: {"a"}}
    assert abnormal(*silent[:4], sample(4, Local=[{"Type": "audio", "Volume": 1}])) == {0: set()}
    assert abnormal(*silent[:4], sample(4, Local=[{"Type": "audio", "Volume": 0, "Muted": True}])) == {0: set()}
