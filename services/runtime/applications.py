"""The application table: what every service knows of the applications, kept in step with a compacted topic."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import structlog

from schemas.applications import Application, ApplicationRecord
from schemas.topics import APPLICATIONS
from services.runtime.following import TopicFollower
from services.runtime.secrets import SecretBox, SecretKeyError

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.runtime.settings import Settings

log = structlog.get_logger(__name__)
_decoder = msgspec.json.Decoder(ApplicationRecord)


def seal_application(application: Application, box: SecretBox) -> ApplicationRecord:
    """The record that carries an application over Kafka, or keeps it in a database."""
    prefix = f"application {application.sdk_app_id}"

    def seal(text: str, what: str) -> str:
        return box.seal(text, f"{prefix} {what}") if text else ""

    return ApplicationRecord(
        sdk_app_id=application.sdk_app_id,
        name=application.name,
        status=application.status,
        version=application.version,
        created_ms=application.created_ms,
        sealed_secret_key=box.seal(application.secret_key, f"{prefix} secret key"),
        sealed_callback_key=seal(application.callback_key, "callback key"),
        sealed_next_callback_key=seal(application.next_callback_key, "next callback key"),
        sealed_webhook_secret=seal(application.webhook_secret, "webhook secret"),
        sealed_next_webhook_secret=seal(application.next_webhook_secret, "next webhook secret"),
        callback=application.callback,
        advanced_permission=application.advanced_permission,
        description=application.description,
        monitoring_edition=application.monitoring_edition,
        utc_offset_minutes=application.utc_offset_minutes,
    )


def open_application(record: ApplicationRecord, box: SecretBox) -> Application:
    """The application of a record. Raises `SecretKeyError` where the key is another than it was sealed with."""
    prefix = f"application {record.sdk_app_id}"

    def opened(sealed: str, what: str) -> str:
        return box.open(sealed, f"{prefix} {what}") if sealed else ""

    return Application(
        sdk_app_id=record.sdk_app_id,
        name=record.name,
        status=record.status,
        version=record.version,
        created_ms=record.created_ms,
        secret_key=box.open(record.sealed_secret_key, f"{prefix} secret key"),
        callback_key=opened(record.sealed_callback_key, "callback key"),
        next_callback_key=opened(record.sealed_next_callback_key, "next callback key"),
        webhook_secret=opened(record.sealed_webhook_secret, "webhook secret"),
        next_webhook_secret=opened(record.sealed_next_webhook_secret, "next webhook secret"),
        callback=record.callback,
        advanced_permission=record.advanced_permission,
        description=record.description,
        monitoring_edition=record.monitoring_edition,
        utc_offset_minutes=record.utc_offset_minutes,
    )


class ApplicationTable(TopicFollower):
    """Applications by SdkAppId. Until it is `ready`, one that is not found may simply not have been read yet."""

    def __init__(self, settings: Settings, *, on_change: Callable[[Application], None] | None = None) -> None:
        super().__init__(settings, APPLICATIONS, self._apply_record, on_ready=self._tell_ready)
        self._box = SecretBox.from_settings(settings)
        self._applications: dict[int, Application] = {}
        self._on_change = on_change

    def get(self, sdk_app_id: int) -> Application | None:
        """The application, None where it is unknown or deleted."""
        application = self._applications.get(sdk_app_id)
        return application if application is not None and application.status != "deleted" else None

    def all(self) -> list[Application]:
        """Every application that is not deleted, oldest first."""
        alive = [application for application in self._applications.values() if application.status != "deleted"]
        return sorted(alive, key=lambda application: (application.created_ms, application.sdk_app_id))

    def _tell_ready(self) -> None:
        log.info("application table ready", applications=len(self._applications))

    def _apply_record(self, value: bytes) -> None:
        try:
            application = open_application(_decoder.decode(value), self._box)
        except (msgspec.DecodeError, SecretKeyError) as error:
            # One unreadable record must not keep every other application from being served.
            log.error("application record cannot be read", error=str(error))
            return
        known = self._applications.get(application.sdk_app_id)
        if known is not None and known.version > application.version:
            return
        self._applications[application.sdk_app_id] = application
        if self._on_change is not None and application != known:
            self._on_change(application)
