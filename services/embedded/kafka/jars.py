"""The broker's jars: pinned in `jars.lock`, fetched once into a cache of the user's, checked at every start."""

from __future__ import annotations

import fcntl
import hashlib
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from jgo.maven import MavenContext
from rich.console import Console
from rich.progress import Progress

from services.runtime.service import CannotStart

if TYPE_CHECKING:
    from collections.abc import Iterator

KAFKA_VERSION = "4.3.1"
ROOTS = ("org.apache.kafka:kafka_2.13:4.3.1", "org.apache.logging.log4j:log4j-slf4j-impl:2.25.4")
"""What is resolved to make the lock. Each by itself: together, the logging library's own version list would pull the
broker's dependencies back to older ones."""
_DOWNLOADS_AT_ONCE = 6


class Jar(NamedTuple):
    """One pinned jar."""

    coordinate: str
    """`group:artifact:version`."""
    sha256: str


def locked_jars() -> list[Jar]:
    """The jars of `jars.lock`."""
    lines = resources.files(__package__).joinpath("jars.lock").read_text("utf-8").splitlines()
    rows = [line.split() for line in lines if line and not line.startswith("#")]
    return [Jar(coordinate, sha256) for sha256, coordinate in rows]


def cache_folder() -> Path:
    """Where jars are kept: `ROOMPULSE_JARS`, else the user's cache folder."""
    chosen = os.environ.get("ROOMPULSE_JARS")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "roompulse" / "jars"


def fetch_jars(cache: Path | None = None) -> list[Path]:
    """The paths of all jars, each with the pinned content; missing ones are downloaded, with progress shown.

    Raises `CannotStart` where a jar cannot be had or differs from its pin.
    """
    cache = cache or cache_folder()
    jars = locked_jars()
    with _exclusive(cache):
        missing = [jar for jar in jars if not _is_right(path_of(cache, jar), jar)]
        if missing:
            _download(cache, missing)
    return [path_of(cache, jar) for jar in jars]


def path_of(cache: Path, jar: Jar) -> Path:
    """Where a jar lies in the cache, in the layout of a Maven repository."""
    group, artifact, version = jar.coordinate.split(":")
    return cache.joinpath(*group.split("."), artifact, version, f"{artifact}-{version}.jar")


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _is_right(path: Path, jar: Jar) -> bool:
    return path.is_file() and sha256_of(path) == jar.sha256


def _download(cache: Path, jars: list[Jar]) -> None:
    context = MavenContext(repo_cache=cache, local_repos=[], timeout=30)
    console = Console(file=sys.stderr)
    if not console.is_terminal:
        console.print(f"downloading Apache Kafka {KAFKA_VERSION}: {len(jars)} jars")
    with (
        Progress(console=console, disable=not console.is_terminal) as progress,
        ThreadPoolExecutor(_DOWNLOADS_AT_ONCE) as pool,
    ):
        task = progress.add_task(f"Apache Kafka {KAFKA_VERSION}", total=len(jars))

        def download(jar: Jar) -> None:
            _download_one(context, cache, jar)
            progress.advance(task)

        for result in [pool.submit(download, jar) for jar in jars]:
            result.result()


def _download_one(context: MavenContext, cache: Path, jar: Jar) -> None:
    path = path_of(cache, jar)
    # What lies there is half a download, or not what was pinned.
    path.unlink(missing_ok=True)
    group, artifact, version = jar.coordinate.split(":")
    try:
        got = context.project(group, artifact).at_version(version).artifact().resolve()
    except Exception as error:  # the library raises whatever its HTTP client does
        raise CannotStart(
            f"Apache Kafka is not in the cache {cache} and {jar.coordinate} cannot be downloaded: {error}"
        ) from error
    if got is None or not path.is_file():
        raise CannotStart(f"Apache Kafka is not in the cache {cache} and {jar.coordinate} cannot be downloaded")
    if not _is_right(path, jar):
        found = sha256_of(path)
        path.unlink()
        raise CannotStart(f"{jar.coordinate} is not the pinned jar: its SHA-256 is {found}, not {jar.sha256}")


@contextmanager
def _exclusive(cache: Path) -> Iterator[None]:
    """Only one process at a time downloads into a cache."""
    try:
        cache.mkdir(parents=True, exist_ok=True)
        lock = (cache / ".lock").open("w")
    except OSError as error:
        raise CannotStart(f"the cache folder {cache} cannot be used: {error.strerror}") from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
