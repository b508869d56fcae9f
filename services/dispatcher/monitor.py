"""What operators see of single endpoints: metrics, a line in the log and a message when one is parked or opened."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

import structlog

from services.dispatcher import metrics

if TYPE_CHECKING:
    from collections.abc import Callable

    from prometheus_client import Counter, Gauge, Histogram

    from services.dispatcher.circuit import Circuit
    from services.dispatcher.scheduler import EndpointKey
    from services.dispatcher.sender import Answer
    from services.runtime.clock import Clock

log = structlog.get_logger(__name__)

MAX_NAMED = 200
"""Endpoints that have metrics of their own, the first ones; all further ones share the name `other`."""


class _Meters(NamedTuple):
    delivered: Counter
    failed: Counter
    seconds: Histogram
    parked: Gauge


class Monitor:
    """Counts what endpoints do and tells when one is parked or opened again."""

    def __init__(self, clock: Clock, *, instance: str, notify: Callable[[dict[str, Any]], None]) -> None:
        """`notify` is called with each message for the operator; `instance` names this dispatcher in it."""
        self._clock = clock
        self._instance = instance
        self._notify = notify
        self._meters: dict[EndpointKey, _Meters] = {}
        # In an earlier life there may have been parked ones; this one knows of none.
        metrics.ENDPOINT_PARKED.clear()
        self._others = _meters("", "other")

    def attempted(self, key: EndpointKey, answer: Answer) -> None:
        """An attempt that counts has ended."""
        meters = self._of(key)
        (meters.delivered if answer.succeeded else meters.failed).inc()
        meters.seconds.observe(answer.duration_ms / 1000)

    def changed(self, key: EndpointKey, circuit: Circuit) -> None:
        """An endpoint was parked, or is not any more."""
        meters = self._of(key)
        sdk_app_id, url = key[0], shown(key[1])
        if circuit.parked_ms:
            meters.parked.inc()
            last = circuit.last
            log.warning(
                "endpoint parked",
                sdk_app_id=sdk_app_id,
                url=url,
                failures=circuit.failures,
                error_class=last.error_class,
                status=last.status,
                error=last.error,
            )
            self._tell(
                key,
                "endpoint parked",
                Failures=circuit.failures,
                FailingSince=_time(circuit.since_ms),
                ErrorClass=last.error_class,
                Status=last.status,
            )
        elif circuit.gone:
            meters.parked.dec()
            log.info("a parked endpoint is not used any more", sdk_app_id=sdk_app_id, url=url)
            self._tell(key, "endpoint gone")
        else:
            meters.parked.dec()
            log.info("endpoint open again", sdk_app_id=sdk_app_id, url=url)
            self._tell(key, "endpoint open again")

    def disabled(self, key: EndpointKey) -> None:
        """An endpoint said that it is gone."""
        log.warning("endpoint disabled", sdk_app_id=key[0], url=shown(key[1]))
        self._tell(key, "endpoint disabled")

    def _tell(self, key: EndpointKey, event: str, **more: Any) -> None:
        """Let the operator know."""
        about = {"SdkAppId": key[0], "Url": shown(key[1]), "Dispatcher": self._instance, "Event": event}
        self._notify({**about, **more, "Time": _time(self._clock())})

    def _of(self, key: EndpointKey) -> _Meters:
        meters = self._meters.get(key)
        if meters is None:
            if len(self._meters) >= MAX_NAMED:
                return self._others
            meters = self._meters[key] = _meters(str(key[0]), shown(key[1]))
        return meters


def shown(url: str) -> str:
    """A URL without what may be secret in it: user, password and query."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _meters(sdk_app_id: str, endpoint: str) -> _Meters:
    return _Meters(
        metrics.ENDPOINT_ATTEMPTS.labels(sdk_app_id, endpoint, "delivered"),
        metrics.ENDPOINT_ATTEMPTS.labels(sdk_app_id, endpoint, "failed"),
        metrics.ENDPOINT_SECONDS.labels(sdk_app_id, endpoint),
        metrics.ENDPOINT_PARKED.labels(sdk_app_id, endpoint),
    )


def _time(moment_ms: int) -> str:
    return datetime.fromtimestamp(moment_ms / 1000, UTC).isoformat(timespec="milliseconds")
