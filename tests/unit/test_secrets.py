from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import pytest

from services.runtime.secrets import SecretBox, SecretKeyError
from services.runtime.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path


def test_a_secret_opens_only_where_it_was_sealed() -> None:
    box = SecretBox(b"k" * 32)
    sealed = box.seal("secret", "application 1 key")
    assert box.open(sealed, "application 1 key") == "secret"
    assert sealed != box.seal("secret", "application 1 key")
    for opener, context in ((box, "application 2 key"), (SecretBox(b"x" * 32), "application 1 key")):
        with pytest.raises(SecretKeyError):
            opener.open(sealed, context)
    for damaged in ("", "%%%", sealed[:-8], base64.b64encode(b"short").decode()):
        with pytest.raises(SecretKeyError):
            box.open(damaged, "application 1 key")


def test_the_data_folder_keeps_its_key(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path / "new")
    sealed = SecretBox.from_settings(settings).seal("secret", "here")
    assert SecretBox.from_settings(settings).open(sealed, "here") == "secret"


def test_the_environment_decides_before_the_file(tmp_path: Path) -> None:
    key = base64.b64encode(b"e" * 32).decode()
    sealed = SecretBox(b"e" * 32).seal("secret", "here")
    assert SecretBox.from_settings(Settings(data=tmp_path, secret_key=key)).open(sealed, "here") == "secret"
    assert not (tmp_path / "secret.key").exists()


@pytest.mark.parametrize("key", ["not base64!", base64.b64encode(b"short").decode()])
def test_a_malformed_key_is_refused(tmp_path: Path, key: str) -> None:
    with pytest.raises(SecretKeyError):
        SecretBox.from_settings(Settings(data=tmp_path, secret_key=key))
