"""How the broker is run: its folder, its ports, its command line."""

from __future__ import annotations

import fcntl
import os
import random
import shutil
import socket
import subprocess
import uuid
from base64 import urlsafe_b64encode
from typing import TYPE_CHECKING, Any, NamedTuple

from services.embedded.kafka import configuration
from services.embedded.kafka.jars import fetch_jars
from services.embedded.kafka.java import find_java
from services.runtime.service import CannotStart

if TYPE_CHECKING:
    from pathlib import Path

    from services.runtime.settings import Settings

JVM_OPTIONS = (
    "-Xms64m",
    "-Xmx256m",
    "-XX:MaxMetaspaceSize=160m",
    "-XX:MaxDirectMemorySize=128m",
    "-XX:+UseSerialGC",
    # The second compiler costs half a second of each start and 30 MB, and gives a development broker nothing.
    "-XX:TieredStopAtLevel=1",
    # Without its memory a broker would linger half alive; its supervisor starts a new one.
    "-XX:+ExitOnOutOfMemoryError",
    "-XX:-UsePerfData",
    "-Djava.awt.headless=true",
)
_CONTROLLER_PORTS = range(20_000, 32_000)
"""Below the ports that systems give to outgoing connections, one of which could take the port before the broker."""


class BrokerCommand(NamedTuple):
    """What starts the broker."""

    argv: list[str]
    env: dict[str, str]


def prepare(settings: Settings) -> BrokerCommand:
    """Fetch the jars, write the configuration, format the storage where that has not been done.

    The broker listens at the first bootstrap server of the settings. Blocks, for the length of a download the first
    time. Raises `CannotStart` with the reason.
    """
    folder = settings.data.absolute() / "kafka"
    if "," in str(folder):
        raise CannotStart(f"Kafka cannot keep data in {folder}: it takes a comma for the end of a folder's name")
    java = find_java()
    jars = fetch_jars()
    host, port = _bootstrap(settings)
    _check_port(host, port)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _check_not_running(folder)
        properties = _write_configuration(folder, host, port)
    except OSError as error:
        raise CannotStart(f"Kafka's data folder {folder} cannot be used: {error.strerror}") from error
    java_command = [
        str(java.program),
        *JVM_OPTIONS,
        # Kafka 4.3 still unmaps its files in a way that newer runtimes warn of at every start.
        *(["--sun-misc-unsafe-memory-access=allow"] if java.version >= 23 else []),
        *(["--enable-native-access=ALL-UNNAMED"] if java.version >= 24 else []),
        f"-Djava.io.tmpdir={folder / 'tmp'}",
        f"-XX:ErrorFile={folder / 'crash-%p.log'}",
        f"-Dlog4j2.configurationFile={(folder / 'log4j2.xml').as_uri()}",
        "-cp",
        os.pathsep.join(map(str, jars)),
    ]
    # Otherwise Java could not name files outside of ASCII.
    env = {**os.environ, "LC_ALL": "C.UTF-8"}
    if not (folder / "log" / "meta.properties").exists():
        _format(java_command, env, properties)
    return BrokerCommand([*java_command, "kafka.Kafka", str(properties)], env)


def _write_configuration(folder: Path, host: str, port: int) -> Path:
    # Libraries unpack machine code there and, when killed, leave it.
    shutil.rmtree(folder / "tmp", ignore_errors=True)
    (folder / "tmp").mkdir()
    (folder / "log4j2.xml").write_text(configuration.log4j2(folder), "utf-8")
    properties = folder / "server.properties"
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    properties.write_text(
        configuration.server_properties(
            address=address, controller_port=_controller_port(port), log_dir=folder / "log"
        ),
        "ascii",
    )
    return properties


def _format(java_command: list[str], env: dict[str, str], properties: Path) -> None:
    # One in 64 begins with a hyphen, which only this spelling keeps from being taken for an option.
    cluster_id = "--cluster-id=" + urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()
    arguments = ["kafka.tools.StorageTool", "format", "--ignore-formatted", cluster_id, "-c", str(properties)]
    done = subprocess.run([*java_command, *arguments], env=env, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode != 0:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise CannotStart(f"Kafka's storage cannot be formatted: {lines[-1] if lines else 'no output'}")


def _bootstrap(settings: Settings) -> tuple[str, int]:
    host, _, port = settings.kafka_bootstrap.split(",")[0].rpartition(":")
    try:
        return host.strip("[]"), int(port)
    except ValueError as error:
        raise CannotStart(f"ROOMPULSE_KAFKA_BOOTSTRAP is {settings.kafka_bootstrap}, not HOST:PORT") from error


def _check_port(host: str, port: int) -> None:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        _bind(family, address)
    except OSError as error:
        raise CannotStart(
            f"Kafka cannot listen on {host}:{port}: {error.strerror}. "
            "Stop what uses the port, or choose another with ROOMPULSE_KAFKA_BOOTSTRAP"
        ) from error


def _controller_port(taken: int) -> int:
    """A port for the controller, which nobody but the broker itself talks to."""
    for port in random.sample(_CONTROLLER_PORTS, 100):
        try:
            _bind(socket.AF_INET, ("127.0.0.1", port))
        except OSError:
            continue
        if port != taken:
            return port
    raise CannotStart(
        f"Kafka's controller finds no free port between {_CONTROLLER_PORTS.start} and {_CONTROLLER_PORTS.stop}"
    )


def _bind(family: int, address: tuple[Any, ...]) -> None:
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(address)


def _check_not_running(folder: Path) -> None:
    """The broker holds a lock on a file for as long as it lives."""
    lock_file = folder / "log" / ".lock"
    if not lock_file.exists():
        return
    with lock_file.open("r+b") as lock:
        try:
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise CannotStart(f"another Kafka runs on the data folder {folder}") from error
