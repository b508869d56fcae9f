"""What the headers of a callback say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from schemas.callbacks import sign

if TYPE_CHECKING:
    from schemas.applications import Application


def request_headers(application: Application, body: bytes) -> dict[str, str]:
    """`SdkAppId`, and `Sign` where the application has a callback key."""
    headers = {"SdkAppId": str(application.sdk_app_id)}
    if application.callback_key:
        headers["Sign"] = sign(application.callback_key, body)
    return headers
