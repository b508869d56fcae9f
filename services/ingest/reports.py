"""Reports of SDK clients: from the posted JSON to what goes into a batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from schemas.answers import Rejection
from schemas.reports import AcceptedReport, Client, ClientEvent, Envelope, Report, Sample
from services.ingest.decoding import MAX_AGE_MS, MAX_AHEAD_MS, decode_part, decode_whole, time_problem
from services.ingest.refusals import Refusal

if TYPE_CHECKING:
    from services.ingest.bodies import Limits

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
    rejected: list[Rejection] = []
    try:
        posted: Report | Envelope = _reports.decode(body)
    except (ValueError, RecursionError):
        # The quick way tells of one mistake alone; the slow one finds all, and what is good beside them.
        posted = decode_whole(body, _envelopes)
    if len(posted.samples) + len(posted.events) > limits.items:
        raise Refusal(413, "TooManyItems", f"more than {limits.items} samples and events (ingest_max_items)", "Samples")
    if isinstance(posted, Report):
        samples, events, client = _in_time(posted, arrival_ms, rejected)
    else:
        samples, events, client = _one_by_one(posted, arrival_ms, rejected)
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


def _in_time(
    report: Report, arrival_ms: int, rejected: list[Rejection]
) -> tuple[list[Sample], list[ClientEvent], Client | None]:
    newest, oldest = arrival_ms + MAX_AHEAD_MS, arrival_ms - MAX_AGE_MS
    samples, events = report.samples, report.events
    if any(not oldest <= sample.start_ms <= newest for sample in samples):
        samples = [
            sample
            for index, sample in enumerate(samples)
            if _timely(sample.start_ms, arrival_ms, index, f"Samples[{index}].StartMs", rejected)
        ]
    if any(not oldest <= event.at_ms <= newest for event in events):
        events = [
            event
            for index, event in enumerate(events)
            if _timely(event.at_ms, arrival_ms, index, f"Events[{index}].AtMs", rejected)
        ]
    return samples, events, _timely_client(report.client, arrival_ms, rejected)


def _one_by_one(
    envelope: Envelope, arrival_ms: int, rejected: list[Rejection]
) -> tuple[list[Sample], list[ClientEvent], Client | None]:
    samples = []
    for index, raw in enumerate(envelope.samples):
        prefix = f"Samples[{index}]"
        sample = decode_part(raw, _samples, index, prefix, rejected)
        if sample is not None and _timely(sample.start_ms, arrival_ms, index, f"{prefix}.StartMs", rejected):
            samples.append(sample)
    events = []
    for index, raw in enumerate(envelope.events):
        prefix = f"Events[{index}]"
        event = decode_part(raw, _events, index, prefix, rejected)
        if event is not None and _timely(event.at_ms, arrival_ms, index, f"{prefix}.AtMs", rejected):
            events.append(event)
    client = None
    if bytes(envelope.client) not in (b"", b"null"):
        client = _timely_client(decode_part(envelope.client, _clients, 0, "Client", rejected), arrival_ms, rejected)
    return samples, events, client


def _timely(at_ms: int, arrival_ms: int, index: int, field: str, rejected: list[Rejection]) -> bool:
    problem = time_problem(at_ms, arrival_ms)
    if problem is None:
        return True
    code, reason = problem
    rejected.append(Rejection(index=index, field=field, code=code, reason=reason))
    return False


def _timely_client(client: Client | None, arrival_ms: int, rejected: list[Rejection]) -> Client | None:
    """`JoinMs` may lie far back: a call that goes on for days still tells when it began."""
    if client is None:
        return None
    if client.leave_ms is not None and not _timely(client.leave_ms, arrival_ms, 0, "Client.LeaveMs", rejected):
        return None
    if client.join_ms is not None and client.join_ms > arrival_ms:
        return client if _timely(client.join_ms, arrival_ms, 0, "Client.JoinMs", rejected) else None
    return client
