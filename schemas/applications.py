"""Applications, as the compacted topic `applications` carries them to every service."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from schemas.words import SdkAppId, UnixMs

ApplicationStatus = Literal["enabled", "disabled", "deleted"]
CallbackSchedule = Literal["vendor", "durable"]
"""When failed callbacks are tried again: for a minute, as receivers of the vendor know it, or for days."""
CallbackRate = Annotated[float, Meta(ge=0, le=10_000)]
CallbackUrl = Annotated[str, Meta(max_length=2083)]
MonitoringEdition = Literal["free", "standard", "premium"]
"""How long an application's monitoring is kept, and what of it may be asked for."""
UtcOffsetMinutes = Annotated[int, Meta(ge=-720, le=840, multiple_of=15)]
"""How far ahead of UTC an application's days are, by which its usage is rounded."""


class CallbackConfig(Struct, rename="pascal", omit_defaults=True, frozen=True):
    """Where callbacks go, in the clear; the key travels apart, encrypted."""

    room_url: CallbackUrl = ""
    media_url: CallbackUrl = ""
    recording_url: CallbackUrl = ""
    relay_url: CallbackUrl = ""
    group_urls: dict[str, CallbackUrl] = {}
    """Further groups, the group's number in decimal to its URL."""
    schedule: CallbackSchedule = "vendor"
    rate: CallbackRate = 0
    """Callbacks a second at each URL at most, 0 for any number."""
    ordered: bool = False
    """Whether a room's callbacks wait for one another."""

    def url_of(self, event_group_id: int) -> str:
        """The URL of an event group, empty where none is set."""
        match event_group_id:
            case 1:
                return self.room_url
            case 2:
                return self.media_url
            case 3 | 8:
                return self.recording_url
            case 4:
                return self.relay_url
            case _:
                return self.group_urls.get(str(event_group_id), "")


class ApplicationRecord(Struct, rename="pascal", omit_defaults=True):
    """The value of one record of topic `applications`, its key the SdkAppId in decimal.

    Sealed fields are AES-GCM boxes in base64. A deletion is a record with that status, never a tombstone.
    """

    sdk_app_id: SdkAppId
    name: str
    status: ApplicationStatus
    version: Annotated[int, Meta(ge=1)]
    """Counts the changes of this application; of two records the higher version is right."""
    created_ms: UnixMs
    sealed_secret_key: str
    sealed_callback_key: str = ""
    sealed_next_callback_key: str = ""
    sealed_webhook_secret: str = ""
    sealed_next_webhook_secret: str = ""
    callback: CallbackConfig = CallbackConfig()
    advanced_permission: bool = False
    description: str = ""
    monitoring_edition: MonitoringEdition = "premium"
    utc_offset_minutes: UtcOffsetMinutes = 0


class Application(Struct, rename="pascal", frozen=True, kw_only=True):
    """An application with its secrets opened, as services use it in memory."""

    sdk_app_id: SdkAppId
    name: str
    status: ApplicationStatus
    version: int
    created_ms: int
    secret_key: str
    """64 lower-case hexadecimal digits, used as text."""
    callback_key: str = ""
    next_callback_key: str = ""
    """Signs beside `callback_key` until it is promoted."""
    webhook_secret: str = ""
    """`whsec_` and base64, for the headers of Standard Webhooks."""
    next_webhook_secret: str = ""
    callback: CallbackConfig = CallbackConfig()
    advanced_permission: bool = False
    description: str = ""
    monitoring_edition: MonitoringEdition = "premium"
    utc_offset_minutes: int = 0
