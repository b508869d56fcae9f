"""From items to the bytes of requests: encoded, packed, signed."""

from __future__ import annotations

import gzip
from functools import lru_cache

import msgspec
import zstandard
from msgspec import Struct

from schemas.callbacks import sign
from services.runtime import usersig
from services.simulator.traffic.items import ClientReport, Events, Item
from services.simulator.traffic.reporting import with_credentials

USER_SIGS_KEPT = 20_000


class Request(Struct, frozen=True, kw_only=True):
    """One HTTP request, the same bytes however often it is sent."""

    path: str
    headers: dict[str, str]
    body: bytes
    item: Item


class Wire:
    """Encodes for one application."""

    def __init__(self, sdk_app_id: int, secret_key: str) -> None:
        self._sdk_app_id = sdk_app_id
        self._secret_key = secret_key
        self._encoder = msgspec.json.Encoder()
        self._user_sig = lru_cache(USER_SIGS_KEPT)(self._generate)

    def request(self, item: Item) -> Request:
        """The request of an item."""
        content = item.content
        if isinstance(content, ClientReport):
            return self._report(item, content)
        items = content.events if isinstance(content, Events) else content.intervals
        path = "/v1/events" if isinstance(content, Events) else "/v1/tasks"
        body = self._encoder.encode(items[0] if len(items) == 1 else items)
        headers = {
            "Content-Type": "application/json",
            "SdkAppId": str(self._sdk_app_id),
            "Sign": sign(self._secret_key, body),
        }
        return Request(path=path, headers=headers, body=body, item=item)

    def _report(self, item: Item, content: ClientReport) -> Request:
        user_sig = self._user_sig(content.report.user_id, content.signed_s)
        body = self._encoder.encode(with_credentials(content.report, self._sdk_app_id, user_sig))
        headers = {"Content-Type": "text/plain" if content.plain_text else "application/json"}
        if content.encoding != "identity":
            headers["Content-Encoding"] = content.encoding
            body = (
                gzip.compress(body, compresslevel=1, mtime=0)
                if content.encoding == "gzip"
                else zstandard.compress(body, 1)
            )
        return Request(path="/v1/reports", headers=headers, body=body, item=item)

    def _generate(self, user_id: str, signed_s: int) -> str:
        return usersig.generate(self._sdk_app_id, self._secret_key, user_id, now=signed_s)
