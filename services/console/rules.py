"""What an application's name, callback key and callback URLs may be, and a user's id."""

from __future__ import annotations

import base64
import binascii
import re
from urllib.parse import urlsplit

from schemas.callbacks import WEBHOOK_PREFIX

MAX_URL = 2083
GROUPS_WITH_OWN_FIELD = {1: "room", 2: "media", 3: "recording", 4: "relay", 8: "recording"}
"""Event groups whose URL has a field of its own; the others' are set by their number."""
_NAME = re.compile(r"[^\W]{1,15}")
_CALLBACK_KEY = re.compile(r"[A-Za-z0-9]{1,32}")
_STRICT_URL = re.compile(r"https?://[A-Za-z0-9\-_?%=#./+]+")
_URL = re.compile(r"https?://[\x21-\x7e]+")
_USER_ID = re.compile(r"[A-Za-z0-9_-]{1,32}")


class RuleBroken(ValueError):
    """A value that may not be; the message says which rule it breaks."""


def check_name(name: str) -> str:
    """Letters, digits and underscores, at most 15 characters."""
    if not _NAME.fullmatch(name):
        raise RuleBroken(f"name {name!r}: letters, digits and underscores, 1 to 15 characters")
    return name


def check_utc_offset(minutes: int) -> int:
    """A quarter of an hour's multiple, from UTC-12 to UTC+14."""
    if not -720 <= minutes <= 840 or minutes % 15:
        raise RuleBroken(f"offset {minutes} from UTC: minutes from -720 to 840, a multiple of 15")
    return minutes


def check_callback_key(key: str) -> str:
    """Empty for none, else letters and digits, at most 32 characters.

    The vendor asks for at least one of each but has published vectors with digits alone, so that is not enforced.
    """
    if key and not _CALLBACK_KEY.fullmatch(key):
        raise RuleBroken("callback key: letters and digits, at most 32 characters")
    return key


def check_webhook_secret(secret: str) -> str:
    """Empty for none, else `whsec_` and the base64 of 24 to 64 bytes, as Standard Webhooks has it."""
    if not secret:
        return secret
    try:
        key = base64.b64decode(secret.removeprefix(WEBHOOK_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not secret.startswith(WEBHOOK_PREFIX) or not 24 <= len(key) <= 64:
        raise RuleBroken("webhook secret: whsec_ and the base64 of 24 to 64 bytes")
    return secret


def check_callback_url(url: str, *, strict: bool = False) -> str:
    """Empty for none, else http or https with a host, at most 2083 characters.

    `strict` admits only the vendor's characters, which leave out `:` and `&`.
    """
    if not url:
        return url
    if len(url) > MAX_URL:
        raise RuleBroken(f"callback URL: {len(url)} characters, at most {MAX_URL}")
    if not (_STRICT_URL if strict else _URL).fullmatch(url):
        raise RuleBroken(f"callback URL {url!r}: http:// or https:// and no characters outside the allowed ones")
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise RuleBroken(f"callback URL {url!r}: {error}") from error
    if not host:
        raise RuleBroken(f"callback URL {url!r}: no host")
    if parts.username is not None or parts.password is not None:
        raise RuleBroken(f"callback URL {url!r}: no user name or password in it")
    return url


def check_user_id(user_id: str) -> str:
    """Letters, digits, `_` and `-`, at most 32 characters."""
    if not _USER_ID.fullmatch(user_id):
        raise RuleBroken(f"user id {user_id!r}: letters, digits, _ and -, 1 to 32 characters")
    return user_id
