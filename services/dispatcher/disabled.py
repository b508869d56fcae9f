"""Endpoints that said that they are gone for good: nothing goes there until their application is set anew."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import structlog

from schemas.retries import DisabledEndpoint
from schemas.topics import DISABLED_ENDPOINTS
from services.runtime.following import TopicFollower
from services.runtime.journal import Entry

if TYPE_CHECKING:
    from collections.abc import Callable

    from schemas.applications import Application
    from services.dispatcher.scheduler import EndpointKey
    from services.runtime.settings import Settings

log = structlog.get_logger(__name__)
_decoder = msgspec.json.Decoder(DisabledEndpoint)


class DisabledEndpoints(TopicFollower):
    """What all dispatchers found out.

    An endpoint is disabled as its application was then: whatever the operator changes of the application enables it.
    """

    def __init__(self, settings: Settings, *, on_disabled: Callable[[EndpointKey], None]) -> None:
        super().__init__(settings, DISABLED_ENDPOINTS, self._apply_record)
        self._on_disabled = on_disabled
        self._versions: dict[EndpointKey, int] = {}

    def covers(self, application: Application, url: str) -> bool:
        """Whether nothing may go to a URL of an application."""
        return bool(self._versions) and self._versions.get((application.sdk_app_id, url), 0) >= application.version

    def entry(self, application: Application, url: str, now_ms: int) -> Entry:
        """The record that lets all dispatchers know."""
        record = DisabledEndpoint(
            sdk_app_id=application.sdk_app_id, url=url, version=application.version, disabled_ms=now_ms
        )
        key = f"{application.sdk_app_id} {url}".encode()
        return Entry(DISABLED_ENDPOINTS.name, key, msgspec.json.encode(record))

    def note(self, key: EndpointKey, version: int) -> bool:
        """An endpoint is disabled; whether that is new."""
        if self._versions.get(key, 0) >= version:
            return False
        self._versions[key] = version
        self._on_disabled(key)
        return True

    def _apply_record(self, value: bytes) -> None:
        try:
            record = _decoder.decode(value)
        except msgspec.DecodeError as error:
            log.error("record of a disabled endpoint cannot be read", error=str(error))
            return
        self.note((record.sdk_app_id, record.url), record.version)
