"""Reports of SDK clients: from the posted JSON to what goes into a batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import msgspec
from msgspec import Raw, Struct

from schemas.answers import Rejection
from schemas.reports import AcceptedReport, Client, ClientEvent, Envelope, Report, Sample
from services.ingest.bodies import shape_problem
from services.ingest.decoding import (
    HOUR_MS,
    MAX_AGE_MS,
    MAX_AHEAD_MS,
    InvalidItem,
    check_time,
    decode_part,
    decode_whole,
    repaired,
)
from services.ingest.refusals import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.ingest.bodies import Limits

Part = TypeVar("Part", Sample, ClientEvent, Client)
_reports = msgspec.json.Decoder(Report)
_envelopes = msgspec.json.Decoder(Envelope)
_samples = msgspec.json.Decoder(Sample)
_events = msgspec.json.Decoder(ClientEvent)
_clients = msgspec.json.Decoder(Client)


class PostedReport(Struct, gc=False):
    """What a report asks for: its good parts, its credentials, and what was wrong with the rest."""

    report: AcceptedReport
    user_sig: str
    private_map_key: str
    rejected: list[Rejection]

    @property
    def accepted(self) -> int:
        """Samples, client events and `Client` parts that can be used."""
        report = self.report
        return len(report.samples) + len(report.events) + (report.client is not None)


def read_report(body: bytes, arrival_ms: int, limits: Limits) -> PostedReport:
    """Decode and check a report. Raises `Refusal` only for what concerns the report as a whole."""
    report = _quick(body, arrival_ms, limits)
    if report is not None:
        return _posted(report, arrival_ms, report.samples, report.events, report.client, [])
    body = repaired(body)
    envelope = decode_whole(body, _envelopes)
    _check_count(envelope, limits)
    return _one_by_one(envelope, body, arrival_ms, limits)


def _quick(body: bytes, arrival_ms: int, limits: Limits) -> Report | None:
    """A report without any mistake, as nearly all are; None sends it the slow way, which finds all mistakes."""
    if shape_problem(body, limits) is not None:
        return None
    try:
        report = _reports.decode(body)
    except (ValueError, RecursionError):
        return None
    _check_count(report, limits)
    newest, oldest = arrival_ms + MAX_AHEAD_MS, arrival_ms - MAX_AGE_MS
    for sample in report.samples:
        if not oldest <= sample.start_ms <= newest:
            return None
        for remote in sample.remote:
            for episode in remote.stutters:
                if _episode_problem(sample, *episode, arrival_ms) is not None:
                    return None
    for event in report.events:
        if not oldest <= event.at_ms <= newest:
            return None
    if report.client is not None:
        try:
            _check_client(report.client, arrival_ms)
        except InvalidItem:
            return None
    return report


def _one_by_one(envelope: Envelope, body: bytes, arrival_ms: int, limits: Limits) -> PostedReport:
    rejected: list[Rejection] = []
    suspicious = shape_problem(body, limits)

    def read(raw: Raw, decoder: msgspec.json.Decoder[Part], index: int, prefix: str, check: Check[Part]) -> Part | None:
        try:
            problem = shape_problem(raw, limits) if suspicious else None
            if problem is not None:
                raise InvalidItem(prefix, *problem)
            part = decode_part(raw, decoder, prefix)
            check(part, arrival_ms, prefix)
        except InvalidItem as error:
            rejected.append(Rejection(index=index, field=error.field, code=error.code, reason=error.reason))
            return None
        return part

    samples = [
        sample
        for index, raw in enumerate(envelope.samples)
        if (sample := read(raw, _samples, index, f"Samples[{index}]", _check_sample)) is not None
    ]
    events = [
        event
        for index, raw in enumerate(envelope.events)
        if (event := read(raw, _events, index, f"Events[{index}]", _check_event)) is not None
    ]
    client = None
    if bytes(envelope.client) not in (b"", b"null"):
        client = read(envelope.client, _clients, 0, "Client", _check_client)
    if suspicious and not rejected:
        code, reason = suspicious
        raise Refusal(413 if code == "TextTooLong" else 400, code, reason)
    return _posted(envelope, arrival_ms, samples, events, client, rejected)


def _posted(
    posted: Report | Envelope,
    arrival_ms: int,
    samples: list[Sample],
    events: list[ClientEvent],
    client: Client | None,
    rejected: list[Rejection],
) -> PostedReport:
    return PostedReport(
        report=AcceptedReport(
            sdk_app_id=posted.sdk_app_id,
            user_id=posted.user_id,
            room_id=posted.room_id,
            session_id=posted.session_id,
            seq=posted.seq,
            sent_ms=posted.sent_ms,
            arrival_ms=arrival_ms,
            client=client,
            samples=samples,
            events=events,
        ),
        user_sig=posted.user_sig,
        private_map_key=posted.private_map_key,
        rejected=rejected,
    )


def _check_count(posted: Report | Envelope, limits: Limits) -> None:
    if len(posted.samples) + len(posted.events) > limits.items:
        field = "Samples" if len(posted.samples) > limits.items else "Events"
        reason = f"more than {limits.items} samples and events (ingest_max_items)"
        raise Refusal(413, "TooManyItems", reason, field)


def _check_sample(sample: Sample, arrival_ms: int, prefix: str) -> None:
    check_time(sample.start_ms, arrival_ms, f"{prefix}.StartMs")
    for place, remote in enumerate(sample.remote):
        for number, episode in enumerate(remote.stutters):
            problem = _episode_problem(sample, *episode, arrival_ms)
            if problem is not None:
                raise InvalidItem(f"{prefix}.Remote[{place}].Stutters[{number}]", *problem)


def _episode_problem(sample: Sample, start_ms: int, length_ms: int, arrival_ms: int) -> tuple[str, str] | None:
    """Code and reason where an episode cannot have been alive in its sample: its rows would lie at any time at all."""
    if start_ms > sample.start_ms + sample.dur_ms:
        return "InvalidParameter", "the episode begins after its sample"
    if start_ms < sample.start_ms - MAX_AGE_MS:
        return "TooOld", f"the episode began more than {MAX_AGE_MS // HOUR_MS} hours before its sample"
    if start_ms + length_ms > arrival_ms + MAX_AHEAD_MS:
        return "ClockSkew", f"the episode ends more than {MAX_AHEAD_MS // 1000} s ahead of server time"
    return None


def _check_event(event: ClientEvent, arrival_ms: int, prefix: str) -> None:
    check_time(event.at_ms, arrival_ms, f"{prefix}.AtMs")


def _check_client(client: Client, arrival_ms: int, prefix: str = "Client") -> None:
    if client.leave_ms is not None:
        check_time(client.leave_ms, arrival_ms, f"{prefix}.LeaveMs")
    # A call that goes on for days still tells when it began.
    if client.join_ms is not None and client.join_ms > arrival_ms:
        check_time(client.join_ms, arrival_ms, f"{prefix}.JoinMs")


if TYPE_CHECKING:
    Check = Callable[[Part, int, str], None]
