"""Structured logs: readable lines in a terminal, one JSON object a line for machines."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

import orjson
import structlog

if TYPE_CHECKING:
    from structlog.typing import Processor

    from services.runtime.settings import Settings


SAME_LINE_EVERY_S = 10.0


class Seldom(logging.Filter):
    """Lets one line of a kind through every ten seconds: aiokafka tells a hundred times a second that Kafka is away."""

    def __init__(self, library: str) -> None:
        super().__init__()
        self._library = library
        self._last: dict[tuple[str, str], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is to be written."""
        if not record.name.startswith(self._library):
            return True
        kind = (record.name, str(record.msg))
        if record.created < self._last.get(kind, 0) + SAME_LINE_EVERY_S:
            return False
        self._last[kind] = record.created
        return True


def configure_logging(settings: Settings, service: str) -> None:
    """Send our own and the libraries' logs to standard error, each line marked with the service's name."""
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    if settings.log_format == "json":
        rendering: list[Processor] = [
            structlog.processors.dict_tracebacks,
            structlog.processors.JSONRenderer(serializer=_to_json),
        ]
    else:
        rendering = [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(Seldom("aiokafka"))
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendering],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # aiokafka tells every reconnection attempt; what matters of it reaches readiness and metrics.
    # Faust and its base `mode` tell every start and stop of their parts.
    for library in ("aiokafka", "faust", "mode"):
        logging.getLogger(library).setLevel(max(level, logging.WARNING))
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(service=service)


def _to_json(value: object, **_: object) -> str:
    return orjson.dumps(value, default=str).decode()
