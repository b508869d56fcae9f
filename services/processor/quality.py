"""Reports to facts: rows of the quality tables. Arithmetic alone."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from schemas.keys import room_key, user_shard
from schemas.touched import BUCKET_MS
from schemas.words import RoomIdType
from services.processor.tables import STREAM_NUMBERS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from schemas.reports import AcceptedReport, Client
    from services.processor.tables import Row

Episode = tuple[int, str, RoomIdType, str, str, str, int, int, int]
"""SdkAppId, room, its type, user, session, peer, stream, user shard, start in Unix ms."""

STUTTER_LIMIT_MS = (200, 600, 600, 600)
"""From which length on a stutter counts, by the number of its stream."""


class QualityFacts:
    """Rows of several tables."""

    def __init__(self) -> None:
        self.samples: list[Row] = []
        self.streams: list[Row] = []
        self.clients: list[Row] = []
        self.client_events: list[Row] = []
        self.episodes: dict[Episode, int] = {}
        """Length in milliseconds; the longest that was told."""

    def add(self, reports: Iterable[AcceptedReport]) -> None:
        """Add the facts of reports."""
        for report in reports:
            self._add_report(report)

    def _add_report(self, report: AcceptedReport) -> None:
        room_id, room_id_type = room_key(report.room_id)
        app, user, session, arrival = report.sdk_app_id, report.user_id, report.session_id, report.arrival_ms
        shard = user_shard(user)
        if report.client is not None:
            self.clients.append(
                (
                    *(app, room_id, room_id_type, user, session, report.seq, report.sent_ms),
                    *_client_columns(report.client),
                    *(report.region, report.isp, arrival),
                )
            )
        for event in report.events:
            self.client_events.append(
                (
                    *(app, room_id, room_id_type, user, session, event.at_ms, event.event_id, event.type),
                    *(event.param_one, event.param_two, event.peer_id, arrival),
                )
            )
        if not report.samples:
            return
        add_sample, add_stream, episodes = self.samples.append, self.streams.append, self.episodes
        for sample in report.samples:
            start, duration = sample.start_ms, sample.dur_ms
            add_sample(
                (
                    app,
                    room_id,
                    room_id_type,
                    user,
                    session,
                    shard,
                    start,
                    duration,
                    sample.app_cpu,
                    sample.sys_cpu,
                    sample.memory_mb,
                    sample.sdk_task_ms,
                    sample.rtt,
                    sample.gateway_rtt,
                    sample.up_loss,
                    sample.down_loss,
                    sample.sent_bytes,
                    sample.received_bytes,
                    arrival,
                )
            )
            for local in sample.local:
                add_stream(
                    (
                        app,
                        room_id,
                        room_id_type,
                        user,
                        session,
                        "",
                        STREAM_NUMBERS[local.type],
                        shard,
                        start,
                        duration,
                        local.bitrate,
                        local.loss,
                        local.width,
                        local.height,
                        local.cap_fps,
                        local.enc_fps,
                        local.send_fps,
                        None,
                        None,
                        None,
                        None,
                        None,
                        local.volume,
                        local.sample_rate,
                        None,
                        local.muted,
                        arrival,
                    )
                )
            for remote in sample.remote:
                stream = STREAM_NUMBERS[remote.type]
                add_stream(
                    (
                        app,
                        room_id,
                        room_id_type,
                        user,
                        session,
                        remote.user_id,
                        stream,
                        shard,
                        start,
                        duration,
                        remote.bitrate,
                        remote.loss,
                        remote.width,
                        remote.height,
                        None,
                        None,
                        None,
                        remote.rec_fps,
                        remote.dec_fps,
                        remote.render_fps,
                        remote.jitter_ms,
                        remote.delay_ms,
                        remote.volume,
                        None,
                        remote.play_ms,
                        remote.muted,
                        arrival,
                    )
                )
                for begun, length in remote.stutters:
                    if length:
                        episode = (app, room_id, room_id_type, user, session, remote.user_id, stream, shard, begun)
                        if length > episodes.get(episode, 0):
                            episodes[episode] = length


class EpisodeMemory:
    """Which rows of long episodes are in the table already.

    A frozen picture is reported every two seconds for as long as it lasts, and has a row for each ten seconds: without
    this memory its rows would grow with the square of its length. It may forget; then rows are written again.
    """

    def __init__(self, size: int = 100_000) -> None:
        self._size = size
        self._done: OrderedDict[Episode, int] = OrderedDict()
        """Up to when the rows of an episode can no longer change, in Unix ms."""

    def rows(self, facts: QualityFacts) -> list[Row]:
        """Rows of table `stutters`: those that are new or may have changed."""
        rows: list[Row] = []
        for episode, length in facts.episodes.items():
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

    def remember(self, facts: QualityFacts) -> None:
        """Note that the rows of the facts were inserted."""
        for episode, length in facts.episodes.items():
            end = episode[-1] + length
            done = end - end % BUCKET_MS
            # A short episode may yet reach the limit, which changes the rows it has.
            if length >= STUTTER_LIMIT_MS[episode[6]] and done > max(episode[-1], self._done.get(episode, 0)):
                self._done[episode] = done
                self._done.move_to_end(episode)
        while len(self._done) > self._size:
            self._done.popitem(last=False)


def _client_columns(client: Client) -> Row:
    return (
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
    )
