"""The broker's jars: pinned in `jars.lock`, kept in a cache of the user's, checked at every start."""

from __future__ import annotations

import hashlib
import os
from importlib import resources
from pathlib import Path
from typing import NamedTuple

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

KAFKA_VERSION = "4.3.1"
LOCK_FILE = "jars.lock"


def _user_cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "roompulse" / "jars"


class JarSettings(BaseSettings):
    """Where jars come from and where they are kept, from the environment (`ROOMPULSE_…`)."""

    model_config = SettingsConfigDict(env_prefix="ROOMPULSE_", frozen=True, extra="ignore", env_ignore_empty=True)

    jars: Path = Field(default_factory=_user_cache)
    """Folder for the jars, in the layout of a Maven repository. May be shared, and read-only once it is filled."""
    maven_repository: str = ""
    """URL of a Maven repository to fetch jars from; empty: Maven Central."""


class Jar(NamedTuple):
    """One pinned jar."""

    coordinate: str
    """`group:artifact:version`."""
    size: int
    """Bytes."""
    sha256: str
    """In hexadecimal."""

    @property
    def relative_path(self) -> Path:
        """Where it lies in a Maven repository."""
        group, artifact, version = self.coordinate.split(":")
        return Path(*group.split("."), artifact, version, f"{artifact}-{version}.jar")

    def is_at(self, path: Path) -> bool:
        """Whether this file has exactly the pinned content."""
        return path.is_file() and path.stat().st_size == self.size and sha256_of(path) == self.sha256


def locked_jars() -> list[Jar]:
    """The jars of the lock file."""
    lines = resources.files(__package__).joinpath(LOCK_FILE).read_text("utf-8").splitlines()
    rows = [line.split() for line in lines if line and not line.startswith("#")]
    return [Jar(coordinate, int(size), sha256) for sha256, size, coordinate in rows]


def fetch_jars(settings: JarSettings | None = None) -> list[Path]:
    """The paths of all jars, each with the pinned content; what is missing is downloaded, with progress shown.

    Raises `CannotStart` where a jar cannot be had or differs from its pin.
    """
    settings = settings or JarSettings()
    cache = settings.jars.absolute()
    jars = locked_jars()
    if not all(jar.is_at(cache / jar.relative_path) for jar in jars):
        # Late, since only a first start needs an HTTP client, a Maven library and progress bars.
        from services.embedded.kafka.download import fill_cache

        fill_cache(cache, jars, settings.maven_repository)
    return [cache / jar.relative_path for jar in jars]


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
