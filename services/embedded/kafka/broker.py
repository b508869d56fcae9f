"""How the broker is run: its folder, its configuration, its command line."""

from __future__ import annotations

import os
import socket
import subprocess
import uuid
from base64 import urlsafe_b64encode
from typing import TYPE_CHECKING, NamedTuple

from services.embedded.kafka.jars import fetch_jars
from services.embedded.kafka.java import find_java, java_version
from services.runtime.service import CannotStart

if TYPE_CHECKING:
    from pathlib import Path

    from services.runtime.settings import Settings

JVM_OPTIONS = ("-Xmx256m", "-Xms64m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:MaxMetaspaceSize=160m")
"""Bounded memory, and a start in seconds: a development broker has no use for a second compiler."""
MESSAGE_MAX_BYTES = 8 * 1024 * 1024

_SERVER_PROPERTIES = """\
# Written at every start; change the settings of Roompulse instead.
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller_port}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://{host}:{port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=PLAINTEXT://{host}:{port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={log_dirs}

auto.create.topics.enable=false
message.max.bytes={message_max_bytes}
replica.fetch.max.bytes={message_max_bytes}
num.partitions=1
default.replication.factor=1
min.insync.replicas=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=8
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=8
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=1
group.initial.rebalance.delay.ms=0

# A broker that was killed is waited for this long before its successor may register.
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500

# Index files are allocated at their full size for every partition.
log.index.size.max.bytes=1048576
log.segment.bytes=67108864
num.network.threads=2
num.io.threads=4
num.recovery.threads.per.data.dir=2
log.cleaner.dedupe.buffer.size=16777216
log.cleaner.threads=1
controlled.shutdown.enable=true
"""

_LOG4J2 = """\
<?xml version="1.0" encoding="UTF-8"?>
<Configuration status="ERROR" shutdownHook="disable">
  <Appenders>
    <RollingFile name="File" fileName="{folder}/kafka.log" filePattern="{folder}/kafka.log.%i">
      <PatternLayout pattern="%d{{ISO8601}} %-5p %m (%c{{1}})%n"/>
      <Policies><SizeBasedTriggeringPolicy size="10 MB"/></Policies>
      <DefaultRolloverStrategy max="3"/>
    </RollingFile>
    <Console name="Fatal" target="SYSTEM_ERR">
      <PatternLayout pattern="kafka: %m%n"/>
      <ThresholdFilter level="FATAL"/>
    </Console>
  </Appenders>
  <Loggers>
    <Root level="WARN"><AppenderRef ref="File"/><AppenderRef ref="Fatal"/></Root>
    <Logger name="kafka.server.KafkaRaftServer" level="INFO"/>
    <Logger name="kafka.log.LogManager" level="INFO"/>
    <!-- It warns of every client that has gone away. -->
    <Logger name="org.apache.kafka.common.network.Selector" level="ERROR"/>
  </Loggers>
</Configuration>
"""


class BrokerCommand(NamedTuple):
    """What starts the broker."""

    argv: list[str]
    env: dict[str, str]


def prepare(settings: Settings) -> BrokerCommand:
    """Fetch the jars, write the configuration, format the storage where that has not been done.

    Blocks, for the length of a download the first time. Raises `CannotStart` with the reason.
    """
    folder = settings.data.absolute() / "kafka"
    java = find_java()
    jars = fetch_jars()
    _check_port(settings.host, settings.kafka_port)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "log4j2.xml").write_text(_LOG4J2.format(folder=folder), "utf-8")
    properties = folder / "server.properties"
    properties.write_text(
        _SERVER_PROPERTIES.format(
            host=settings.host,
            port=settings.kafka_port,
            controller_port=_free_port(),
            log_dirs=folder / "log",
            message_max_bytes=MESSAGE_MAX_BYTES,
        ),
        "utf-8",
    )
    java_command = [
        str(java),
        *JVM_OPTIONS,
        # Kafka 4.3 still unmaps its files in a way that newer runtimes warn of at every start.
        *(["--sun-misc-unsafe-memory-access=allow"] if java_version(java) >= 23 else []),
        f"-Dlog4j2.configurationFile={folder / 'log4j2.xml'}",
        "-cp",
        os.pathsep.join(map(str, jars)),
    ]
    if not (folder / "log" / "meta.properties").exists():
        _format(java_command, properties)
    return BrokerCommand([*java_command, "kafka.Kafka", str(properties)], dict(os.environ))


def _format(java_command: list[str], properties: Path) -> None:
    cluster_id = urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()
    arguments = ["kafka.tools.StorageTool", "format", "--ignore-formatted", "-t", cluster_id, "-c", str(properties)]
    done = subprocess.run([*java_command, *arguments], capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode != 0:
        last_line = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["no output"]
        raise CannotStart(f"Kafka's storage cannot be formatted: {last_line[0]}")


def _check_port(host: str, port: int) -> None:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise CannotStart(f"Kafka's port {host}:{port} cannot be used: {error.strerror}") from error


def _free_port() -> int:
    """A port for the controller, which nobody but the broker itself talks to."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
