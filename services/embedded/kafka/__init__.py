"""Apache Kafka on this machine: one KRaft node, run from jars that are pinned by their SHA-256."""

from services.embedded.kafka.broker import BrokerCommand, prepare
from services.embedded.kafka.readiness import wait_ready

__all__ = ["BrokerCommand", "prepare", "wait_ready"]
