"""The files that configure the broker: `server.properties` and `log4j2.xml`."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from pathlib import Path

MESSAGE_MAX_BYTES = 8 * 1024 * 1024

_SERVER_PROPERTIES = """\
# Written at every start. What can be chosen is a setting of Roompulse.
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller_port}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://{address},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=PLAINTEXT://{address}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={log_dir}

auto.create.topics.enable=false
num.partitions=1
default.replication.factor=1
min.insync.replicas=1
message.max.bytes={message_max_bytes}
replica.fetch.max.bytes={message_max_bytes}
# Requests that wait for a thread may take so much of the heap; further ones wait in their sockets.
socket.request.max.bytes=67108864
queued.max.request.bytes=67108864

# One node has one copy, and few partitions are enough for its own topics.
offsets.topic.replication.factor=1
offsets.topic.num.partitions=8
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=8
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=1
group.initial.rebalance.delay.ms=0
# A year: whoever pauses for weeks goes on where the services stopped, not at an end of the log.
offsets.retention.minutes=525600

# After a kill, the controller waits so long for the old process before it lets the new one in.
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=1000
# An idle log needs fewer signs of life than one a half second: this halves the idle CPU time.
metadata.max.idle.interval.ms=5000

# Index files are allocated at their full size, for every partition.
log.index.size.max.bytes=1048576
log.segment.bytes=67108864
log.cleaner.threads=1
log.cleaner.dedupe.buffer.size=16777216
num.network.threads=2
num.io.threads=4
"""

_NOISE = (
    "Performing controller activation",
    "Attempting to close NetworkClient that has already been closed",
    "Unable to read the broker epoch",
    "Starting log (cleanup|flusher)",
    "(Completed load of|Loading logs from|Created log for|Log for partition)",
)
"""What is said at every start and stop, or once for every partition, and means nothing."""

_LOG4J2 = """\
<?xml version="1.0" encoding="UTF-8"?>
<Configuration status="ERROR" shutdownHook="disable">
  <Appenders>
    <RollingFile name="File" fileName="{folder}/kafka.log" filePattern="{pattern_folder}/kafka.log.%i">
      <RegexFilter regex="(?s).*({noise}).*" onMatch="DENY" onMismatch="NEUTRAL"/>
      <PatternLayout pattern="%d{{yyyy-MM-dd'T'HH:mm:ss.SSS'Z'}}{{UTC}} %-5p %c{{1}}: %m%n%throwable{{30}}"/>
      <SizeBasedTriggeringPolicy size="10 MB"/>
      <DefaultRolloverStrategy max="3"/>
    </RollingFile>
    <Console name="Fatal" target="SYSTEM_ERR">
      <PatternLayout pattern="kafka: %replace{{%m: %rEx{{1}}}}{{\\s+}}{{ }}(more in {pattern_folder}/kafka.log)%n"
                     alwaysWriteExceptions="false"/>
    </Console>
  </Appenders>
  <Loggers>
    <Root level="WARN"><AppenderRef ref="File"/></Root>
    <!-- The two places where the broker tells why it ends. -->
    <Logger name="kafka.Kafka$" level="ERROR"><AppenderRef ref="Fatal"/></Logger>
    <Logger name="org.apache.kafka.server.fault.ProcessTerminatingFaultHandler" level="ERROR">
      <AppenderRef ref="Fatal"/>
    </Logger>
    <Logger name="kafka.server.KafkaRaftServer" level="INFO"/>
    <Logger name="kafka.log.LogManager" level="INFO"/>
    <!-- It warns of every client that has gone away. -->
    <Logger name="org.apache.kafka.common.network.Selector" level="ERROR"/>
  </Loggers>
</Configuration>
"""


def server_properties(*, address: str, controller_port: int, log_dir: Path) -> str:
    """The content of `server.properties`; `address` is the `host:port` that clients connect to."""
    return _SERVER_PROPERTIES.format(
        address=address,
        controller_port=controller_port,
        log_dir=_in_properties(str(log_dir)),
        message_max_bytes=MESSAGE_MAX_BYTES,
    )


def log4j2(folder: Path) -> str:
    """The content of `log4j2.xml`: one file with rotation in this folder, and what ends the broker on stderr."""
    # The library takes ${…} for variables, and %… in the pattern of older files' names for counters.
    text = escape(str(folder), {'"': "&quot;"}).replace("$", "$$")
    return _LOG4J2.format(folder=text, pattern_folder=text.replace("%", "%%"), noise="|".join(_NOISE))


def _in_properties(value: str) -> str:
    """Spelled so that Java, which reads such files as Latin-1 with escapes, gets this text."""
    units = memoryview(value.encode("utf-16-le")).cast("H")
    return "".join(chr(unit) if 0x20 < unit < 0x7F and unit != 0x5C else f"\\u{unit:04x}" for unit in units)
