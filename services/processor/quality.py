"""Reports to facts: the quality tables. Arithmetic alone."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from schemas.keys import room_key, user_shard
from schemas.reports import Client
from schemas.touched import BUCKET_MS
from schemas.words import RoomIdType
from services.processor.tables import SAMPLES, STREAM_NUMBERS, STREAMS, TIME, to_arrow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from schemas.reports import AcceptedReport, ClientEvent, RemoteStream, Sample
    from services.processor.tables import Row

Episode = tuple[int, str, RoomIdType, str, str, str, int, int, int]
"""SdkAppId, room, its type, user, session, peer, stream, user shard, start in Unix ms."""

STUTTER_LIMIT_MS = (200, 600, 600, 600)
"""From which length on a stutter counts, by the number of its stream."""

_MEASURED = (
    *("StartTime", "DurMs", "AppCpu", "SysCpu", "MemoryMb", "SdkTaskMs", "Rtt", "GatewayRtt", "UpLoss", "DownLoss"),
    *("SentBytes", "ReceivedBytes"),
)
_OF_STREAM = ("Stream", "Bitrate", "Loss", "Width", "Height", "Volume", "Muted")
_SENT = (*_OF_STREAM, "CapFps", "EncFps", "SendFps", "SampleRate")
_RECEIVED = (*_OF_STREAM, "PeerId", "RecFps", "DecFps", "RenderFps", "JitterMs", "DelayMs", "PlayMs")
"""Columns in the order in which they are collected."""


QUALITY_TABLES = ("samples", "streams", "clients", "client_events")


class QualityFacts:
    """What reports say, as tables in Arrow. Raises one of `UNFIT` where a value does not fit its column.

    Column by column, in one pass: a tuple for each row would cost more than reading the record did.
    """

    def __init__(self, reports: Sequence[AcceptedReport]) -> None:
        self.episodes: dict[Episode, int] = {}
        """Length in milliseconds; the longest that was told."""
        samples = [sample for report in reports for sample in report.samples]
        measured = _collect_samples(samples)
        of_report = _repeated([len(report.samples) for report in reports])
        shared = {name: column.take(of_report) for name, column in _report_columns(reports).items()}
        of_sent = _repeated([len(sample.local) for sample in samples])
        of_received = _repeated([len(sample.remote) for sample in samples])
        whole = {**shared, "StartTime": measured["StartTime"], "DurMs": measured["DurMs"]}
        sent = {name: column.take(of_sent) for name, column in whole.items()} | _collect_sent(samples)
        columns, stuttering = _collect_received(samples)
        received = {name: column.take(of_received) for name, column in whole.items()} | columns
        self.tables: dict[str, pa.Table] = {
            "samples": _table(SAMPLES, shared | measured),
            "streams": pa.concat_tables([_table(STREAMS, sent), _table(STREAMS, received)]),
            "clients": to_arrow("clients", [_client_row(report) for report in reports if report.client is not None]),
            "client_events": to_arrow(
                "client_events", [_event_row(report, event) for report in reports for event in report.events]
            ),
        }
        for row, stream in stuttering:
            self._add_episodes(reports[of_report[of_received[row].as_py()].as_py()], stream)

    @property
    def samples(self) -> int:
        """How many there are."""
        rows: int = self.tables["samples"].num_rows
        return rows

    def _add_episodes(self, report: AcceptedReport, stream: RemoteStream) -> None:
        where = (
            *(report.sdk_app_id, *room_key(report.room_id), report.user_id, report.session_id),
            *(stream.user_id, STREAM_NUMBERS[stream.type], user_shard(report.user_id)),
        )
        for begun, length in stream.stutters:
            if length > self.episodes.get((*where, begun), 0):
                self.episodes[*where, begun] = length


def _report_columns(reports: Sequence[AcceptedReport]) -> dict[str, pa.Array]:
    """The columns that all rows of a report share."""
    rooms = [room_key(report.room_id) for report in reports]
    return {
        "SdkAppId": pa.array([report.sdk_app_id for report in reports], pa.uint32()),
        "RoomId": pa.array([room_id for room_id, _ in rooms], pa.string()),
        "RoomIdType": pa.array([room_id_type for _, room_id_type in rooms], pa.uint8()),
        "UserId": pa.array([report.user_id for report in reports], pa.string()),
        "SessionId": pa.array([report.session_id for report in reports], pa.string()),
        "UserShard": pa.array([user_shard(report.user_id) for report in reports], pa.uint8()),
        "ArrivalTime": _times([report.arrival_ms for report in reports]),
    }


def _collect_samples(samples: Sequence[Sample]) -> dict[str, pa.Array]:
    columns: list[list[Any]] = [[] for _ in _MEASURED]
    start, duration, app_cpu, sys_cpu, memory, task, rtt, gateway, up, down, sent, received = _appends(columns)
    for sample in samples:
        start(sample.start_ms)
        duration(sample.dur_ms)
        app_cpu(sample.app_cpu)
        sys_cpu(sample.sys_cpu)
        memory(sample.memory_mb)
        task(sample.sdk_task_ms)
        rtt(sample.rtt)
        gateway(sample.gateway_rtt)
        up(sample.up_loss)
        down(sample.down_loss)
        sent(sample.sent_bytes)
        received(sample.received_bytes)
    return _arrays(SAMPLES, _MEASURED, columns)


def _collect_sent(samples: Sequence[Sample]) -> dict[str, pa.Array]:
    columns: list[list[Any]] = [[] for _ in _SENT]
    kind, bitrate, loss, width, height, volume, muted, captured, encoded, sent, rate = _appends(columns)
    for sample in samples:
        for stream in sample.local:
            kind(STREAM_NUMBERS[stream.type])
            bitrate(stream.bitrate)
            loss(stream.loss)
            width(stream.width)
            height(stream.height)
            volume(stream.volume)
            muted(stream.muted)
            captured(stream.cap_fps)
            encoded(stream.enc_fps)
            sent(stream.send_fps)
            rate(stream.sample_rate)
    return {**_arrays(STREAMS, _SENT, columns), "PeerId": pa.repeat("", len(columns[0]))}


def _collect_received(samples: Sequence[Sample]) -> tuple[dict[str, pa.Array], list[tuple[int, RemoteStream]]]:
    """The columns, and the streams that stuttered with the number of their row."""
    stuttering: list[tuple[int, RemoteStream]] = []
    columns: list[list[Any]] = [[] for _ in _RECEIVED]
    kind, bitrate, loss, width, height, volume, muted, peer, received, decoded, rendered, *rest = _appends(columns)
    jitter, delay, playing = rest
    for sample in samples:
        for stream in sample.remote:
            kind(STREAM_NUMBERS[stream.type])
            bitrate(stream.bitrate)
            loss(stream.loss)
            width(stream.width)
            height(stream.height)
            volume(stream.volume)
            muted(stream.muted)
            peer(stream.user_id)
            received(stream.rec_fps)
            decoded(stream.dec_fps)
            rendered(stream.render_fps)
            jitter(stream.jitter_ms)
            delay(stream.delay_ms)
            playing(stream.play_ms)
            if stream.stutters:
                stuttering.append((len(columns[0]) - 1, stream))
    return _arrays(STREAMS, _RECEIVED, columns), stuttering


def _appends(columns: Iterable[list[Any]]) -> list[Callable[[Any], None]]:
    return [column.append for column in columns]


def _arrays(schema: pa.Schema, names: Iterable[str], columns: Iterable[list[Any]]) -> dict[str, pa.Array]:
    return {
        name: _times(column) if name == "StartTime" else pa.array(column, schema.field(name).type)
        for name, column in zip(names, columns, strict=True)
    }


def _times(times_ms: Sequence[int]) -> pa.Array:
    """Unix milliseconds; by way of integers, which costs half."""
    return pa.array(times_ms, pa.int64()).cast(TIME)


def _repeated(counts: Sequence[int]) -> pa.Array:
    """0 as often as the first count says, 1 as often as the second, and so on."""
    return pa.array(np.repeat(np.arange(len(counts)), counts))


def _table(schema: pa.Schema, columns: dict[str, pa.Array]) -> pa.Table:
    """A table of these columns; those that are absent are unknown."""
    rows = len(columns["SdkAppId"])
    return pa.Table.from_arrays(
        [columns[field.name] if field.name in columns else pa.nulls(rows, field.type) for field in schema],
        schema=schema,
    )


def longest(told: Iterable[Mapping[Episode, int]]) -> dict[Episode, int]:
    """Of each episode the longest length."""
    episodes: dict[Episode, int] = {}
    for some in told:
        for episode, length in some.items():
            if length > episodes.get(episode, 0):
                episodes[episode] = length
    return episodes


class EpisodeMemory:
    """Which rows of long episodes are in the table already.

    A frozen picture is reported every two seconds for as long as it lasts, and has a row for each ten seconds: without
    this memory its rows would grow with the square of its length. It may forget; then rows are written again.
    """

    def __init__(self, size: int = 100_000) -> None:
        self._size = size
        self._done: OrderedDict[Episode, int] = OrderedDict()
        """Up to when the rows of an episode can no longer change, in Unix ms."""

    def rows(self, episodes: Mapping[Episode, int]) -> list[Row]:
        """Rows of table `stutters`: those that are new or may have changed."""
        rows: list[Row] = []
        for episode, length in episodes.items():
            app, room_id, room_id_type, user, session, peer, stream, shard, begun = episode
            end = begun + length
            first = max(begun, self._done.get(episode, 0))
            buckets = range(first - first % BUCKET_MS, end, BUCKET_MS)
            limit = STUTTER_LIMIT_MS[stream]
            for bucket in buckets:
                # No more than the bucket can know of, so that the row does not depend on when it was written last;
                # no less than the limit, so that what was over it still is.
                known = min(length, max(limit, bucket + BUCKET_MS - begun))
                rows.append(
                    (app, room_id, room_id_type, user, session, peer, stream, shard, begun, bucket // 1000, known)
                )
        return rows

    def remember(self, episodes: Mapping[Episode, int]) -> None:
        """Note that the rows of these were inserted."""
        for episode, length in episodes.items():
            end = episode[-1] + length
            done = end - end % BUCKET_MS
            # A short episode may yet reach the limit, which changes the rows it has.
            if length >= STUTTER_LIMIT_MS[episode[6]] and done > max(episode[-1], self._done.get(episode, 0)):
                self._done[episode] = done
                self._done.move_to_end(episode)
        while len(self._done) > self._size:
            self._done.popitem(last=False)


def _client_row(report: AcceptedReport) -> Row:
    client = report.client or Client()
    return (
        report.sdk_app_id,
        *room_key(report.room_id),
        report.user_id,
        report.session_id,
        report.seq,
        report.sent_ms,
        client.role,
        client.terminal_type,
        client.user_type,
        client.sdk_type,
        client.sdk_version,
        client.device_model,
        client.os,
        client.network_type,
        client.join_ms,
        client.join_cost_ms,
        client.join_result,
        client.leave_ms,
        client.leave_reason,
        report.region,
        report.isp,
        report.arrival_ms,
    )


def _event_row(report: AcceptedReport, event: ClientEvent) -> Row:
    return (
        report.sdk_app_id,
        *room_key(report.room_id),
        report.user_id,
        report.session_id,
        event.at_ms,
        event.event_id,
        event.type,
        event.param_one,
        event.param_two,
        event.peer_id,
        report.arrival_ms,
    )
