"""Reports to rows, and which buckets they touch."""

from __future__ import annotations

from typing import Any

import pytest

from schemas.reports import AcceptedReport, Client, ClientEvent, LocalStream, RemoteStream, Sample
from services.processor.quality import EpisodeMemory, QualityFacts
from services.processor.tables import CLIENTS, SCHEMAS, to_arrow

T = 1_700_000_000_000


def report(*samples: Sample, room: int | str = 7, user: str = "alice", **fields: Any) -> AcceptedReport:
    return AcceptedReport(
        sdk_app_id=1,
        user_id=user,
        room_id=room,
        session_id="s",
        seq=1,
        sent_ms=T,
        arrival_ms=T + 50,
        samples=list(samples),
        **fields,
    )


def stuttering(start: int, *stutters: tuple[int, int], stream: Any = "big") -> Sample:
    remote = RemoteStream(user_id="bob", type=stream, play_ms=2000, stutters=list(stutters))
    return Sample(start_ms=start, dur_ms=2000, remote=[remote])


def facts_of(*reports: AcceptedReport) -> QualityFacts:
    return QualityFacts(reports)


def test_every_field_lands_in_its_column() -> None:
    local = LocalStream(
        type="sub", bitrate=1, loss=2, width=3, height=4, cap_fps=5, enc_fps=6, send_fps=7, volume=8, sample_rate=9
    )
    remote = RemoteStream(
        user_id="bob",
        type="audio",
        bitrate=11,
        loss=12,
        width=13,
        height=14,
        rec_fps=15,
        dec_fps=16,
        render_fps=17,
        jitter_ms=18,
        delay_ms=19,
        volume=20,
        play_ms=21,
        muted=True,
    )
    sample = Sample(
        start_ms=T,
        dur_ms=1999,
        app_cpu=1,
        sys_cpu=2,
        memory_mb=3,
        sdk_task_ms=4,
        rtt=5,
        gateway_rtt=6,
        up_loss=7,
        down_loss=8,
        sent_bytes=9,
        received_bytes=10,
        local=[local],
        remote=[remote],
    )
    facts = facts_of(report(sample, events=[ClientEvent(at_ms=T, event_id=1003, type=2, param_one=1, peer_id="p")]))
    (sample_row,) = facts.tables["samples"].to_pylist()
    names = ["AppCpu", "SysCpu", "MemoryMb", "SdkTaskMs", "Rtt", "GatewayRtt", "UpLoss", "DownLoss", "SentBytes"]
    assert [sample_row[name] for name in [*names, "ReceivedBytes"]] == list(range(1, 11))
    assert (sample_row["RoomId"], sample_row["RoomIdType"], sample_row["DurMs"]) == ("7", 0, 1999)
    sent, received = facts.tables["streams"].to_pylist()
    assert (sent["PeerId"], sent["Stream"]) == ("", 3)
    names = ["Bitrate", "Loss", "Width", "Height", "CapFps", "EncFps", "SendFps", "Volume", "SampleRate"]
    assert [sent[name] for name in names] == list(range(1, 10))
    assert all(
        sent[name] is None for name in ("RecFps", "DecFps", "RenderFps", "JitterMs", "DelayMs", "PlayMs", "Muted")
    )
    assert (received["PeerId"], received["Stream"]) == ("bob", 0)
    names = ["Bitrate", "Loss", "Width", "Height", "RecFps", "DecFps", "RenderFps", "JitterMs", "DelayMs", "Volume"]
    assert [received[name] for name in [*names, "PlayMs"]] == list(range(11, 22))
    assert received["Muted"] is True
    assert all(received[name] is None for name in ("CapFps", "EncFps", "SendFps", "SampleRate"))
    (event_row,) = facts.tables["client_events"].to_pylist()
    assert (event_row["EventId"], event_row["Type"], event_row["ParamOne"], event_row["ParamTwo"]) == (1003, 2, 1, -1)


def test_what_a_client_does_not_know_stays_unknown() -> None:
    facts = facts_of(report(Sample(start_ms=T, dur_ms=2000, local=[LocalStream(type="audio")]), client=Client(role=20)))
    (row,) = facts.tables["samples"].to_pylist()
    assert row["Rtt"] is None
    assert row["SysCpu"] is None
    (client,) = facts.tables["clients"].to_pylist()
    assert client["Role"] == 20
    assert [name for name in CLIENTS.names if client[name] is None] == [
        *("TerminalType", "UserType", "SdkType", "SdkVersion", "DeviceModel", "Os", "NetworkType"),
        *("JoinTime", "JoinCostMs", "JoinResult", "LeaveTime", "LeaveReason"),
    ]


def test_of_one_episode_the_longest_length_counts_and_each_bucket_has_a_row() -> None:
    memory = EpisodeMemory()
    facts = facts_of(report(stuttering(T + 8000, (T + 9600, 400)), stuttering(T + 10_000, (T + 9600, 700))))
    rows = to_arrow("stutters", memory.rows(facts.episodes)).to_pylist()
    assert [(row["BucketTime"].timestamp() * 1000 - T, row["EpisodeMs"]) for row in rows] == [(0, 600), (10_000, 700)]
    # One that ends with a bucket does not touch the next one.
    facts = facts_of(report(stuttering(T + 8000, (T + 9000, 1000))))
    assert len(EpisodeMemory().rows(facts.episodes)) == 1


def test_a_long_freeze_has_rows_by_its_length_not_by_its_square() -> None:
    memory = EpisodeMemory()
    rows = 0
    for seconds in range(2, 3602, 2):
        facts = facts_of(report(stuttering(T + seconds * 1000 - 2000, (T, seconds * 1000))))
        rows += len(memory.rows(facts.episodes))
        memory.remember(facts.episodes)
    assert rows < 2 * 1800


@pytest.mark.parametrize("begun", [T, T + 9_500, T + 9_999])
@pytest.mark.parametrize("cut", [1, 3, 100])
def test_however_records_are_cut_and_memories_lost_the_rows_are_the_same(begun: int, cut: int) -> None:
    lengths = [300, 500, 550, 650, 2_600, 9_999, 21_000, 33_000]

    def rows_left(at_once: int, forget_every: int) -> dict[Any, int]:
        left: dict[Any, int] = {}
        memory = EpisodeMemory()
        for turn, start in enumerate(range(0, len(lengths), at_once)):
            if turn % forget_every == 0:
                memory = EpisodeMemory()
            told = [stuttering(begun, (begun, length)) for length in lengths[start : start + at_once]]
            facts = facts_of(report(*told))
            for *key, length in memory.rows(facts.episodes):
                left[tuple(key)] = max(left.get(tuple(key), 0), length)
            memory.remember(facts.episodes)
        return left

    assert rows_left(1, forget_every=cut) == rows_left(len(lengths), forget_every=1) == rows_left(cut, forget_every=100)


def test_a_short_episode_is_not_taken_for_settled() -> None:
    """400 ms are in the table when it crosses the boundary; with 700 ms the earlier bucket's row must change too."""
    memory = EpisodeMemory()
    first = facts_of(report(stuttering(T + 8000, (T + 9600, 450))))
    assert len(memory.rows(first.episodes)) == 2
    memory.remember(first.episodes)
    second = facts_of(report(stuttering(T + 10_000, (T + 9600, 700))))
    assert len(memory.rows(second.episodes)) == 2


def test_a_shorter_length_that_comes_later_changes_nothing_that_is_settled() -> None:
    memory = EpisodeMemory()
    long = facts_of(report(stuttering(T + 24_000, (T, 25_000))))
    assert len(memory.rows(long.episodes)) == 3
    memory.remember(long.episodes)
    assert memory.rows(facts_of(report(stuttering(T + 4000, (T, 5000)))).episodes) == []


def test_the_memory_is_bounded() -> None:
    memory = EpisodeMemory(size=10)
    for user in range(50):
        facts = facts_of(report(stuttering(T + 10_000, (T, 12_000)), user=f"u{user}"))
        memory.rows(facts.episodes)
        memory.remember(facts.episodes)
    assert len(memory._done) == 10


def test_schemas_name_each_column_once() -> None:
    for name, schema in SCHEMAS.items():
        assert len(set(schema.names)) == len(schema.names), name
