"""Samples and client events into reports: one every ten seconds, the last one when the user goes."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import msgspec

from schemas.reports import Client, ClientEvent, Report, Sample
from schemas.words import RoomId, UserType
from services.simulator.traffic.clientevents import client_events
from services.simulator.traffic.hearing import FIRST_REPORT_AFTER_MS, REPORT_EVERY_MS, hearing_of
from services.simulator.traffic.items import ClientReport
from services.simulator.traffic.measuring import samples_of
from services.simulator.traffic.seeds import identifier

if TYPE_CHECKING:
    from collections.abc import Iterator

    from services.simulator.traffic.hearing import Hearing
    from services.simulator.traffic.plan import Call, Stay

FAILED_ENTRY = -3308
"""`JoinResult` of an entry that timed out."""
SDK_APP_ID_UNKNOWN = 1
"""Stands in reports until the wire puts the application in."""


def reports_of(call: Call, stay: Stay) -> Iterator[ClientReport]:
    """The reports of one stay, in the order in which they are sent; `SentMs` is when."""
    if stay.failed_entry_ms is not None:
        yield _failed_entry(call, stay, stay.failed_entry_ms)
    hearing = hearing_of(call, stay)
    session = _Session(call, stay, hearing)
    sent_ms = stay.join_ms + FIRST_REPORT_AFTER_MS
    pending: deque[Sample] = deque()
    for sample in samples_of(call, stay, hearing):
        end_ms = sample.start_ms + sample.dur_ms
        while end_ms > sent_ms:
            yield session.report(sent_ms, pending)
            sent_ms += REPORT_EVERY_MS
        pending.append(sample)
    if stay.says_goodbye:
        yield session.report(stay.end_ms, pending, goodbye=True)
        return
    if sent_ms <= stay.end_ms:
        yield session.report(sent_ms, pending)
    if stay.tail_ms is not None and pending:
        yield session.report(stay.tail_ms, pending)


class _Session:
    def __init__(self, call: Call, stay: Stay, hearing: Hearing) -> None:
        self._room_id: RoomId = call.room.room_id
        self._stay = stay
        self._signed_s = call.start_ms // 1000 - 60
        self._events = deque(client_events(call, stay, hearing))
        self._seq = 0
        self._client: Client | None = None

    def report(self, sent_ms: int, samples: deque[Sample], *, goodbye: bool = False) -> ClientReport:
        """A report of everything that is pending. Empties `samples`."""
        self._seq += 1
        events: list[ClientEvent] = []
        while self._events and (self._events[0].at_ms <= sent_ms or goodbye):
            events.append(self._events.popleft())
        client = self._client_at(sent_ms, goodbye=goodbye)
        stay = self._stay
        report = Report(
            sdk_app_id=SDK_APP_ID_UNKNOWN,
            user_id=stay.user_id,
            room_id=self._room_id,
            session_id=stay.session_id,
            seq=self._seq,
            sent_ms=sent_ms,
            client=client if client != self._client else None,
            samples=list(samples),
            events=events,
        )
        samples.clear()
        self._client = client
        return _addressed(stay, report, self._signed_s)

    def _client_at(self, at_ms: int, *, goodbye: bool) -> Client:
        stay = self._stay
        client = _client(stay)
        client.join_result = 0
        client.join_ms = stay.join_ms
        client.join_cost_ms = stay.join_cost_ms
        for changed_ms, role in stay.role_changes:
            if changed_ms <= at_ms:
                client.role = int(role)
        if stay.network_switch is not None and stay.network_switch[0] <= at_ms:
            client.network_type = stay.network_switch[1]
        if goodbye:
            client.leave_ms = stay.end_ms
            client.leave_reason = int(stay.exit_reason)
        return client


def _client(stay: Stay) -> Client:
    profile = stay.profile
    return Client(
        role=int(stay.role),
        terminal_type=profile.terminal_type,
        user_type=profile.user_type,
        sdk_type=profile.sdk_type,
        sdk_version=profile.sdk_version,
        device_model=profile.device_model,
        os=profile.os,
        network_type=profile.network_type,
    )


def _failed_entry(call: Call, stay: Stay, at_ms: int) -> ClientReport:
    """A session that never began: nothing but who tried, and that it failed."""
    client = _client(stay)
    client.join_result = FAILED_ENTRY
    client.join_cost_ms = 5000
    report = Report(
        sdk_app_id=SDK_APP_ID_UNKNOWN,
        user_id=stay.user_id,
        room_id=call.room.room_id,
        session_id=identifier(stay.session_id, "failed entry"),
        seq=1,
        sent_ms=at_ms,
        client=client,
        events=[ClientEvent(at_ms=at_ms - 40, event_id=5003, param_one=0)],
    )
    return _addressed(stay, report, call.start_ms // 1000 - 60)


def _addressed(stay: Stay, report: Report, signed_s: int) -> ClientReport:
    return ClientReport(
        report, stay.profile.encoding, plain_text=stay.profile.user_type == UserType.WEBRTC, signed_s=signed_s
    )


def with_credentials(report: Report, sdk_app_id: int, user_sig: str) -> Report:
    """The report as it is posted."""
    return msgspec.structs.replace(report, sdk_app_id=sdk_app_id, user_sig=user_sig)
