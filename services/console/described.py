"""An application's keys and callbacks as its documents name them, for people and for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from schemas.applications import Application


def keys_and_callbacks(application: Application, *, with_keys: bool) -> dict[str, Any]:
    """Where callbacks go and what signs them; without keys it can be seen that there are some, not which."""
    callback = application.callback

    def shown(key: str) -> str:
        return key if with_keys or not key else "*****"

    return {
        "SDKSecretKey": shown(application.secret_key),
        "CallbackKey": shown(application.callback_key),
        "NextCallbackKey": shown(application.next_callback_key),
        "WebhookSecret": shown(application.webhook_secret),
        "NextWebhookSecret": shown(application.next_webhook_secret),
        "RoomCallbackUrl": callback.room_url,
        "MediaCallbackUrl": callback.media_url,
        "RecordingCallbackUrl": callback.recording_url,
        "RelayCallbackUrl": callback.relay_url,
        "GroupCallbackUrls": callback.group_urls,
        "CallbackSchedule": callback.schedule,
        "CallbackRate": callback.rate,
        "CallbackOrdered": callback.ordered,
    }
