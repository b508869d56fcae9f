"""A recorded load of quality reports: every field filled, two streams a sample, as ingest would write it to Kafka."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING
from zlib import crc32

import msgspec

from schemas.keys import report_partition
from schemas.reports import AcceptedReport, Client, ClientEvent, LocalStream, RemoteStream, ReportBatch, Sample

if TYPE_CHECKING:
    from collections.abc import Iterator

APP = 1_400_000_001
SAMPLES_A_REPORT = 5
REPORTS_A_RECORD = 40


def rounds(rooms: int, users: int, count: int, first_ms: int) -> Iterator[list[AcceptedReport]]:
    """Lists of one report of each user, ten seconds after ten seconds, until there are `count` samples."""
    draw = random.Random(1)
    for seq in range(1, 1 + max(1, count // (rooms * users * SAMPLES_A_REPORT))):
        at = first_ms + (seq - 1) * 10_000
        yield [_report(draw, room, user, seq, at) for room in range(1, rooms + 1) for user in range(users)]


def records(reports: list[AcceptedReport], partitions: int) -> Iterator[tuple[int, bytes, int]]:
    """Records of topic `quality`: partition, value and number of samples."""
    places: dict[int, list[AcceptedReport]] = {}
    for report in reports:
        place = report_partition(report.sdk_app_id, str(report.room_id), report.user_id, partitions)
        places.setdefault(place, []).append(report)
    for partition, here in places.items():
        for first in range(0, len(here), REPORTS_A_RECORD):
            batch = here[first : first + REPORTS_A_RECORD]
            yield partition, msgspec.json.encode(ReportBatch(batch)), sum(len(report.samples) for report in batch)


def singles(reports: list[AcceptedReport], partitions: int) -> Iterator[tuple[int, bytes, bytes, int]]:
    """The same samples one a record, all of a room in one partition: partition, key, value and time."""
    for report in reports:
        key = str(report.room_id).encode()
        who = {"SdkAppId": report.sdk_app_id, "RoomId": report.room_id, "UserId": report.user_id}
        for sample in report.samples:
            value = msgspec.json.encode({**who, **msgspec.to_builtins(sample)})
            yield crc32(key) % partitions, key, value, sample.start_ms


def _report(draw: random.Random, room: int, user: int, seq: int, at: int) -> AcceptedReport:
    ends = at + 10_000
    name = f"user_{room}_{user}"
    client = Client(20, 2, 1, "native", "12.3.4", "Pixel 8 Pro", "Android 15", "wifi", at, 420, 0, ends, 1)
    return AcceptedReport(
        sdk_app_id=APP,
        user_id=name,
        room_id=room,
        session_id=f"{name}-{room * 7919:08x}",
        seq=seq,
        sent_ms=ends,
        arrival_ms=ends,
        region="unknow",
        isp="unknow",
        client=client if seq == 1 else None,
        samples=[_sample(draw, room, user, at + 2_000 * place) for place in range(SAMPLES_A_REPORT)],
        events=[ClientEvent(at, 2001, 1, 2, 3, f"user_{room}_{user + 1}")] if seq == 1 else [],
    )


def _sample(draw: random.Random, room: int, user: int, at: int) -> Sample:
    below = draw.randrange
    sent = LocalStream(
        *("big", 800_000 + below(90_000), below(30) / 10, 1280, 720, 15.0, 15.0, 14.0 + below(2)),
        *(below(1000) / 10, 48_000, False),
    )
    received = RemoteStream(
        user_id=f"user_{room}_{user + 1}",
        type="big",
        bitrate=750_000 + below(90_000),
        loss=below(30) / 10,
        width=1280,
        height=720,
        rec_fps=15.0,
        dec_fps=15.0,
        render_fps=14.0 + below(2),
        jitter_ms=below(50),
        delay_ms=100 + below(80),
        volume=below(1000) / 10,
        play_ms=2000,
        muted=False,
        stutters=[(at + 500, 700)] if below(50) == 0 else [],
    )
    return Sample(
        *(at, 2000, below(500) / 10, below(800) / 10, 300 + below(90), 5 + below(30), 30 + below(40), 10 + below(20)),
        *(below(30) / 10, below(30) / 10, 200_000 + below(99_999), 200_000 + below(99_999)),
        local=[sent],
        remote=[received],
    )
