"""Every metric of the dispatcher. Labels take few values; of endpoints, a bounded number have a name of their own."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

ATTEMPTS = Counter("roompulse_callback_attempts_total", "Attempts to deliver a callback", ["outcome", "error_class"])
ATTEMPT_SECONDS = Histogram(
    "roompulse_callback_attempt_seconds",
    "Time of an attempt, from its start to the last byte of the answer",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
)
DELIVERED_SECONDS = Histogram(
    "roompulse_callback_delivered_seconds",
    "Time from Kafka's acceptance of an event to the customer's 200",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3600),
)
EVENTS = Counter(
    "roompulse_callback_events_total",
    "Events read from Kafka: taken, repeated or unreadable; of those taken, without URL or of an unknown application",
    ["fate"],
)
IN_FLIGHT = Gauge("roompulse_callbacks_in_flight", "Attempts in the air")
PENDING = Gauge("roompulse_callbacks_pending", "Callbacks whose event is not committed yet")
HELD = Gauge("roompulse_callbacks_in_memory", "Callbacks in memory; what does not fit waits in the retry lane")
WAITING = Gauge("roompulse_callbacks_in_lane", "Callbacks in the retry lane")
LAG = Gauge("roompulse_callback_lag_events", "Events that Kafka has and that were not taken yet")
PARKED = Gauge("roompulse_callback_endpoints_parked", "Endpoints that are parked, or on trial after that")
ENDPOINT_ATTEMPTS = Counter(
    "roompulse_callback_endpoint_attempts_total",
    "Attempts by endpoint; those that failed by a fault of ours are not among them",
    ["sdk_app_id", "endpoint", "result"],
)
ENDPOINT_SECONDS = Histogram(
    "roompulse_callback_endpoint_seconds",
    "Time of an attempt by endpoint",
    ["sdk_app_id", "endpoint"],
    buckets=(0.01, 0.05, 0.25, 1, 5),
)
ENDPOINT_PARKED = Gauge(
    "roompulse_callback_endpoint_parked",
    "1 while an endpoint is parked; of those without a name of their own, how many are",
    ["sdk_app_id", "endpoint"],
)
