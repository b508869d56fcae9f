"""Filling the cache of jars from a Maven repository.

A jar enters the cache by a rename after its content was compared with its pin, so that neither an interruption nor a
second process leaves half a jar there.
"""

from __future__ import annotations

import fcntl
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import requests
from jgo.maven import MavenContext, PythonResolver
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from services.embedded.kafka.jars import KAFKA_VERSION, Jar, sha256_of
from services.runtime.service import CannotStart

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_AT_ONCE = 6
_ATTEMPTS = 3
_TIMEOUT_S = 30
_PLAIN_LINE_EVERY_S = 5.0


def fill_cache(cache: Path, jars: list[Jar], repository: str = "") -> None:
    """Download what the cache lacks; one process at a time.

    `repository` is a Maven repository's URL, empty for Maven Central. Raises `CannotStart` in one line, with the name
    of the jar that cannot be had or is not the pinned one.
    """
    console = Console(stderr=True, soft_wrap=True, highlight=False, emoji=False)
    with _exclusive(cache, console):
        wanted = [jar for jar in jars if not jar.is_at(cache / jar.relative_path)]
        if not wanted:
            return
        for jar in wanted:
            if (cache / jar.relative_path).exists():
                console.print(f"{jar.coordinate} in {cache} is not the pinned jar, fetching it anew", markup=False)
        scratch = cache / ".partial"
        shutil.rmtree(scratch, ignore_errors=True)
        try:
            with _progress(console, cache, wanted) as advance:
                _download_all(_Download(cache, scratch, repository, advance), wanted)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def _download_all(download: _Download, jars: list[Jar]) -> None:
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        # The largest first, so that none of them is left over for the end.
        running = [pool.submit(download, jar) for jar in sorted(jars, key=lambda jar: -jar.size)]
        try:
            for one in running:
                one.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


class _Download:
    """Fetches single jars, from several threads at once."""

    def __init__(self, cache: Path, scratch: Path, repository: str, advance: Callable[[int], None]) -> None:
        self._cache = cache
        self._scratch = scratch
        self._advance = advance
        self._context = MavenContext(
            # Pure Python: neither Java nor Maven is asked for anything.
            resolver=PythonResolver(progress_callback=self._on_progress),
            repo_cache=scratch,
            local_repos=[],
            remote_repos={"chosen": repository.rstrip("/")} if repository else None,
            timeout=_TIMEOUT_S,
        )

    def __call__(self, jar: Jar) -> None:
        partial = self._scratch / jar.relative_path
        try:
            self._fetch(jar, partial)
            if not jar.is_at(partial):
                raise CannotStart(
                    f"{jar.coordinate} from the Maven repository is not the pinned jar: "
                    f"its SHA-256 is {sha256_of(partial)}, not {jar.sha256}; it was thrown away"
                )
            destination = self._cache / jar.relative_path
            destination.parent.mkdir(parents=True, exist_ok=True)
            partial.replace(destination)
        except OSError as error:
            raise CannotStart(f"{jar.coordinate} cannot be written to {self._cache}: {error.strerror}") from error

    def _fetch(self, jar: Jar, partial: Path) -> None:
        group, artifact, version = jar.coordinate.split(":")
        for attempt in range(_ATTEMPTS):
            partial.unlink(missing_ok=True)
            try:
                self._context.project(group, artifact).at_version(version).artifact().resolve()
                return
            except requests.RequestException as error:
                reason = _in_short(error)
            except RuntimeError:
                reason = "the Maven repository does not have it"
            if attempt + 1 < _ATTEMPTS:
                time.sleep(0.5 * 2**attempt)
        raise CannotStart(
            f"Apache Kafka {KAFKA_VERSION} is not complete in {self._cache} and {jar.coordinate} cannot be fetched: "
            f"{reason}. The first start needs the network, later ones do not"
        )

    @contextmanager
    def _on_progress(self, _name: str, _total: int) -> Iterator[Callable[[int], None]]:
        arrived = 0

        def advance(count: int) -> None:
            nonlocal arrived
            arrived += count
            self._advance(count)

        try:
            yield advance
        except BaseException:
            self._advance(-arrived)
            raise


def _in_short(error: requests.RequestException) -> str:
    url = str(error.request.url) if error.request is not None else ""
    host = urlsplit(url).hostname or "the Maven repository"
    if isinstance(error, requests.exceptions.ProxyError):
        return f"the proxy on the way to {host} does not answer"
    if isinstance(error, requests.exceptions.SSLError):
        return f"the certificate of {host} is not accepted"
    if isinstance(error, requests.Timeout):
        return f"{host} does not answer within {_TIMEOUT_S} s"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return f"the transfer from {host} broke off"
    return f"no connection to {host}"


@contextmanager
def _progress(console: Console, cache: Path, jars: list[Jar]) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal, else a line every few seconds. Yields what is told of bytes that have arrived."""
    total = sum(jar.size for jar in jars)
    title = f"Apache Kafka {KAFKA_VERSION}"
    if console.is_terminal:
        columns = TextColumn(title), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn()
        with Progress(*columns, console=console) as bar:
            task = bar.add_task(title, total=total)
            yield lambda count: bar.advance(task, count)
        return
    started = last_line = time.monotonic()
    done = 0
    console.print(f"fetching {title}: {len(jars)} jars, {total / 1e6:.0f} MB, to {cache}", markup=False)

    def advance(count: int) -> None:
        nonlocal done, last_line
        done += count
        if time.monotonic() - last_line > _PLAIN_LINE_EVERY_S:
            last_line = time.monotonic()
            console.print(f"  {done / 1e6:.0f} of {total / 1e6:.0f} MB")

    yield advance
    console.print(f"fetched {title} in {time.monotonic() - started:.0f} s")


@contextmanager
def _exclusive(cache: Path, console: Console) -> Iterator[None]:
    """Only one process at a time fills a cache; the lock goes with the process, however it ends."""
    try:
        cache.mkdir(parents=True, exist_ok=True)
        lock = (cache / ".lock").open("w")
    except OSError as error:
        raise CannotStart(f"the folder {cache} for Apache Kafka's jars cannot be used: {error.strerror}") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            console.print(f"waiting for another process that fetches Apache Kafka {KAFKA_VERSION}")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
