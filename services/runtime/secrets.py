"""Sealing of application secrets, so that neither a topic nor a database holds them in the clear."""

from __future__ import annotations

import base64
import binascii
import contextlib
import os
import secrets
import tempfile
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

if TYPE_CHECKING:
    from pathlib import Path

    from services.runtime.settings import Settings

_NONCE_BYTES = 12
_KEY_BYTES = 32


class SecretKeyError(Exception):
    """The key that opens application secrets is missing, malformed or another one than they were sealed with."""


class SecretBox:
    """AES-GCM with a fresh nonce each time. The context (an application and a field) is bound in: a sealed value
    that is moved to another place does not open."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    @classmethod
    def from_settings(cls, settings: Settings) -> SecretBox:
        """Take the key of `ROOMPULSE_SECRET_KEY`, else that of the data folder, which is made when it is missing."""
        if settings.secret_key:
            return cls(_decode(settings.secret_key, "ROOMPULSE_SECRET_KEY"))
        path = settings.data / "secret.key"
        if not path.exists():
            _make_key_file(path)
        return cls(_decode(path.read_text().strip(), str(path)))

    def seal(self, secret: str, context: str) -> str:
        """The secret as base64 of nonce and ciphertext."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return base64.b64encode(nonce + self._cipher.encrypt(nonce, secret.encode(), context.encode())).decode()

    def open(self, sealed: str, context: str) -> str:
        """The secret again. Raises `SecretKeyError` where the key or the context is another."""
        try:
            packed = base64.b64decode(sealed, validate=True)
            return self._cipher.decrypt(packed[:_NONCE_BYTES], packed[_NONCE_BYTES:], context.encode()).decode()
        except (binascii.Error, InvalidTag, ValueError) as error:
            raise SecretKeyError(f"{context} was sealed with another ROOMPULSE_SECRET_KEY") from error


def _make_key_file(path: Path) -> None:
    """Several processes may come here at once: the file appears under its name complete, or is another's."""
    path.parent.mkdir(parents=True, exist_ok=True)
    key = base64.b64encode(secrets.token_bytes(_KEY_BYTES)).decode()
    with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix="secret.", delete=True) as file:  # mode 0600
        file.write(key + "\n")
        file.flush()
        os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(file.name, path)


def _decode(text: str, where: str) -> bytes:
    try:
        key = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise SecretKeyError(f"{where} is not base64") from error
    if len(key) != _KEY_BYTES:
        raise SecretKeyError(f"{where} holds {len(key)} bytes, not {_KEY_BYTES}")
    return key
