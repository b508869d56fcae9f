"""The headers of Standard Webhooks, as receivers check them that use the published packages."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any, Protocol

import pytest
from standardwebhooks import Webhook as StandardWebhook
from standardwebhooks import WebhookVerificationError as StandardError
from svix.webhooks import Webhook as SvixWebhook
from svix.webhooks import WebhookVerificationError as SvixError

from schemas.applications import Application
from schemas.callbacks import sign, webhook_sign
from services.console.store import new_webhook_secret
from services.dispatcher.signing import request_headers

BODY = '{"EventGroupId":1,"EventType":103,"EventInfo":{"UserId":"Zoë"}}'.encode()
ID = "0123456789abcdef0123456789abcdef"
REFUSED = (StandardError, SvixError)


class Verifier(Protocol):
    """What both packages have."""

    def verify(self, data: bytes, headers: dict[str, str]) -> Any: ...


PACKAGES: list[Any] = [StandardWebhook, SvixWebhook]


def application(**keys: Any) -> Application:
    fixed: dict[str, Any] = {"sdk_app_id": 1, "name": "demo", "status": "enabled", "version": 1, "created_ms": 0}
    return Application(**fixed, secret_key="", **keys)


def headers_of(**keys: str) -> dict[str, str]:
    return request_headers(application(**keys), BODY, ID, round(time.time() * 1000))


@pytest.mark.parametrize("package", PACKAGES)
def test_taken_by_the_packages(package: type[Any]) -> None:
    secret = new_webhook_secret()
    headers = headers_of(webhook_secret=secret)
    verifier: Verifier = package(secret)
    verifier.verify(BODY, headers)
    for name, other in [("webhook-id", "another"), ("webhook-timestamp", str(int(headers["webhook-timestamp"]) - 1))]:
        with pytest.raises(REFUSED):
            verifier.verify(BODY, {**headers, name: other})
    with pytest.raises(REFUSED):
        verifier.verify(BODY.replace(b"103", b"104"), headers)
    with pytest.raises(REFUSED):
        package(new_webhook_secret()).verify(BODY, headers)


@pytest.mark.parametrize("package", PACKAGES)
def test_two_secrets_alive(package: type[Any]) -> None:
    present, following = new_webhook_secret(), new_webhook_secret()
    headers = headers_of(webhook_secret=present, next_webhook_secret=following)
    for secret in (present, following):
        package(secret).verify(BODY, headers)
    with pytest.raises(REFUSED):
        package(new_webhook_secret()).verify(BODY, headers)


def test_the_same_signature_as_the_packages_make() -> None:
    secret = new_webhook_secret()
    moment = datetime.fromtimestamp(1_700_000_000, UTC)
    theirs = StandardWebhook(secret).sign(ID, moment, BODY.decode())
    assert webhook_sign(secret, ID, 1_700_000_000, BODY) == theirs


def test_two_keys_alive() -> None:
    headers = headers_of(callback_key="Key1", next_callback_key="Key2")
    assert headers == {"SdkAppId": "1", "Sign": sign("Key1", BODY), "Sign-Next": sign("Key2", BODY)}


def test_without_key_and_secret_nothing_is_signed() -> None:
    assert headers_of() == {"SdkAppId": "1"}
