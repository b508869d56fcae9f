"""Who may send: applications sign with their key, users bring a UserSig."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from schemas.callbacks import sign_matches
from services.ingest.decoding import MAX_AGE_MS
from services.ingest.refusals import Refusal, unavailable
from services.runtime.usersig import Privilege, UserSigError, verify, verify_private_map_key

if TYPE_CHECKING:
    from schemas.applications import Application
    from schemas.words import RoomId
    from services.ingest.reports import PostedReport

_REMEMBERED = 65_536
_MAX_SDK_APP_ID = 4294967295


class Applications(Protocol):
    """What is known of the applications."""

    @property
    def ready(self) -> bool:
        """Whether an application that is not found does not exist."""

    def get(self, sdk_app_id: int) -> Application | None:
        """The application, None where it is unknown or deleted."""


class Gate:
    """Checks every request. UserSigs that were right once are remembered: each comes again every ten seconds."""

    def __init__(self, applications: Applications) -> None:
        self._applications = applications
        self._known: dict[str, tuple[int, str, str, int]] = {}

    def application(self, sdk_app_id: int) -> Application:
        """Raises `Refusal`: 503 before the table is complete, 403 for an application that is unknown or deleted."""
        application = self._applications.get(sdk_app_id)
        if application is not None:
            return application
        if not self._applications.ready:
            raise unavailable("the applications have not been read yet")
        raise Refusal(403, "UnknownApplication", f"there is no application {sdk_app_id}", "SdkAppId")

    def signed(self, sdk_app_id: str | None, sign: str | None, *bodies: bytes) -> Application:
        """The application that signed one of these bodies. Raises `Refusal`."""
        if sdk_app_id is None:
            raise Refusal(400, "MissingParameter", "the header SdkAppId is missing", "SdkAppId")
        text = sdk_app_id.strip()
        number = int(text) if text.isascii() and text.isdigit() and len(text) <= 10 else 0
        if not 1 <= number <= _MAX_SDK_APP_ID:
            raise Refusal(400, "InvalidParameter", "the header SdkAppId must be a decimal number", "SdkAppId")
        application = self.application(number)
        if not sign:
            raise Refusal(401, "sig not match", "the header Sign is missing", "Sign")
        if not any(sign_matches(application.secret_key, body, sign.strip()) for body in bodies):
            raise Refusal(401, "sig not match", "Sign is not the body's signature with the application's key", "Sign")
        return application

    def user(self, posted: PostedReport, arrival_ms: int) -> None:
        """Let a report's user pass. Raises `Refusal`.

        A UserSig may have expired since the report was first sent, within the time that late reports have.
        """
        report = posted.report
        application = self.application(report.sdk_app_id)
        sent_ms = report.sent_ms
        judged_ms = sent_ms if arrival_ms - MAX_AGE_MS <= sent_ms <= arrival_ms else arrival_ms
        now = judged_ms // 1000
        if not self._remembered(posted.user_sig, report.sdk_app_id, report.user_id, application.secret_key, now):
            self._verify(posted.user_sig, report.sdk_app_id, report.user_id, application.secret_key, now)
        if application.advanced_permission:
            _check_private_map_key(posted.private_map_key, application, report.user_id, report.room_id, now)

    def _remembered(self, user_sig: str, sdk_app_id: int, user_id: str, key: str, now: int) -> bool:
        known = self._known.get(user_sig)
        return known is not None and known[:3] == (sdk_app_id, user_id, key) and now <= known[3]

    def _verify(self, user_sig: str, sdk_app_id: int, user_id: str, key: str, now: int) -> None:
        try:
            ticket = verify(user_sig, sdk_app_id=sdk_app_id, key=key, user_id=user_id, now=now)
        except UserSigError as error:
            reason = error.reason if user_sig else "UserSig is missing"
            raise Refusal(401, error.code, reason, "UserSig") from error
        if len(self._known) >= _REMEMBERED:
            del self._known[next(iter(self._known))]
        self._known[user_sig] = (sdk_app_id, user_id, key, ticket.time + ticket.expire)


def _check_private_map_key(key: str, application: Application, user_id: str, room_id: RoomId, now: int) -> None:
    try:
        verify_private_map_key(
            key,
            sdk_app_id=application.sdk_app_id,
            key=application.secret_key,
            user_id=user_id,
            room=room_id,
            needed=Privilege.ENTER_ROOM,
            now=now,
        )
    except UserSigError as error:
        reason = error.reason if key else "PrivateMapKey is missing, which this application demands"
        raise Refusal(401, error.code, reason, "PrivateMapKey") from error
