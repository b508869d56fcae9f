from __future__ import annotations

from typing import Any

import msgspec
import pytest

from schemas.applications import Application
from schemas.callbacks import sign
from services.ingest import authentication
from services.ingest.authentication import Gate
from services.ingest.bodies import Limits
from services.ingest.refusals import Refusal
from services.ingest.reports import PostedReport, read_report
from services.runtime import usersig
from services.runtime.settings import Settings

NOW_S = 1_700_000_000
NOW = NOW_S * 1000
HOUR_S = 3600
APP = Application(
    sdk_app_id=1400000001, name="a", status="enabled", version=1, created_ms=0, secret_key="0123456789abcdef" * 4
)


class Known:
    """Applications that the test sets."""

    def __init__(self, *applications: Application, ready: bool = True) -> None:
        self.applications = {application.sdk_app_id: application for application in applications}
        self.ready = ready

    def get(self, sdk_app_id: int) -> Application | None:
        return self.applications.get(sdk_app_id)


def posted(sig: str, *, sent_ms: int = NOW, **fields: Any) -> PostedReport:
    envelope = {"SdkAppId": APP.sdk_app_id, "UserId": "alice", "UserSig": sig, "RoomId": 5, "SessionId": "s", "Seq": 1}
    return read_report(msgspec.json.encode({**envelope, "SentMs": sent_ms, **fields}), NOW, Limits.of(Settings()))


def user_sig(*, expires_s: int = NOW_S + HOUR_S, key: str = APP.secret_key) -> str:
    return usersig.generate(APP.sdk_app_id, key, "alice", now=expires_s - 90 * 86400, expire=90 * 86400)


def status_of(gate: Gate, report: PostedReport) -> tuple[int, str]:
    try:
        gate.user(report, NOW)
    except Refusal as refusal:
        return refusal.status, refusal.code
    return 200, ""


def test_unknown_is_403_only_when_the_table_is_complete() -> None:
    with pytest.raises(Refusal) as refusal:
        Gate(Known(ready=False)).application(5)
    assert (refusal.value.status, refusal.value.retry_after_s) == (503, 1)
    with pytest.raises(Refusal) as refusal:
        Gate(Known()).application(5)
    assert refusal.value.status == 403
    assert Gate(Known(APP, ready=False)).application(APP.sdk_app_id) is APP


def test_a_signature_of_any_of_the_bodies_will_do() -> None:
    gate, signature = Gate(Known(APP)), sign(APP.secret_key, b"body")
    assert gate.signed(" 1400000001 ", signature, b"packed", b"body") is APP
    with pytest.raises(Refusal) as refusal:
        gate.signed("1400000001", signature, b"packed", b"other")
    assert (refusal.value.status, refusal.value.code) == (401, "sig not match")


@pytest.mark.parametrize("number", ["", "0", "+5", "1_0", "٣", "4294967296", "9" * 5000, "-1", "1.0"])
def test_numbers_of_no_application(number: str) -> None:
    with pytest.raises(Refusal) as refusal:
        Gate(Known(APP)).signed(number, "x", b"")
    assert (refusal.value.status, refusal.value.field) == (400, "SdkAppId")


@pytest.mark.parametrize(
    ("sent_s", "expires_s", "status"),
    [
        (NOW_S - 20 * HOUR_S, NOW_S - 19 * HOUR_S, 200),
        (NOW_S - 20 * HOUR_S, NOW_S - 21 * HOUR_S, 401),
        (NOW_S - 25 * HOUR_S, NOW_S - 1, 401),
        (NOW_S + 60, NOW_S + 1, 200),
        (NOW_S + 60, NOW_S - 1, 401),
    ],
)
def test_expiry_is_judged_when_the_report_was_sent(sent_s: int, expires_s: int, status: int) -> None:
    gate, report = Gate(Known(APP)), posted(user_sig(expires_s=expires_s), sent_ms=sent_s * 1000)
    assert [status_of(gate, report)[0] for _ in range(2)] == [status, status]


def test_what_is_remembered_does_not_outlive_its_time_its_user_or_its_key() -> None:
    known = Known(APP)
    gate, sig = Gate(known), user_sig(expires_s=NOW_S - HOUR_S)
    assert status_of(gate, posted(sig, sent_ms=NOW - 2 * HOUR_S * 1000)) == (200, "")
    assert status_of(gate, posted(sig)) == (401, "expired")
    lasting = user_sig()
    assert status_of(gate, posted(lasting)) == (200, "")
    assert status_of(gate, posted(lasting, UserId="bob")) == (401, "identifier not match")
    known.applications[APP.sdk_app_id] = msgspec.structs.replace(APP, secret_key="f" * 64)
    assert status_of(gate, posted(lasting)) == (401, "sig not match")
    known.applications.clear()
    assert status_of(gate, posted(lasting)) == (403, "UnknownApplication")


def test_what_was_wrong_is_not_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(authentication, "_REMEMBERED", 2)
    gate = Gate(Known(APP))
    for _ in range(2):
        assert status_of(gate, posted(user_sig(key="0" * 64))) == (401, "sig not match")
    assert len(gate._known) == 0
    for days in range(5):
        assert status_of(gate, posted(user_sig(expires_s=NOW_S + 86400 * (days + 1))))[0] == 200
    assert len(gate._known) == 2


def test_a_private_map_key_counts_only_where_it_is_demanded() -> None:
    report = posted(user_sig(), PrivateMapKey="nonsense")
    assert status_of(Gate(Known(APP)), report) == (200, "")
    strict = msgspec.structs.replace(APP, advanced_permission=True)
    assert status_of(Gate(Known(strict)), report)[0] == 401
