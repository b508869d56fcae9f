"""What the headers of a callback say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from schemas.callbacks import sign, webhook_sign

if TYPE_CHECKING:
    from schemas.applications import Application

GAP = "Roompulse-Gap"
"""Says `1` where an earlier callback of a room whose order is kept is still to come."""


def request_headers(application: Application, body: bytes, webhook_id: str, now_ms: int) -> dict[str, str]:
    """`SdkAppId`, the vendor's `Sign` where there is a key, the headers of Standard Webhooks where there is a secret.

    While a next key or secret is set, its signature goes beside that of the present one.
    """
    headers = {"SdkAppId": str(application.sdk_app_id)}
    if application.callback_key:
        headers["Sign"] = sign(application.callback_key, body)
        if application.next_callback_key:
            headers["Sign-Next"] = sign(application.next_callback_key, body)
    if application.webhook_secret:
        timestamp = now_ms // 1000
        alive = filter(None, (application.webhook_secret, application.next_webhook_secret))
        headers["webhook-id"] = webhook_id
        headers["webhook-timestamp"] = str(timestamp)
        headers["webhook-signature"] = " ".join(webhook_sign(secret, webhook_id, timestamp, body) for secret in alive)
    return headers
