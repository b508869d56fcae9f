"""Every metric of the console."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

REQUESTS = Counter("roompulse_console_requests_total", "Requests by route and status", ["route", "status"])
VIEWERS = Gauge("roompulse_console_viewers", "Open streams of live numbers")
FEEDS = Gauge("roompulse_console_feeds", "Applications that are polled because somebody looks at them")
QUERY_SECONDS = Histogram(
    "roompulse_console_query_seconds",
    "Time of ClickHouse queries that worked",
    ["query"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
QUERY_FAILURES = Counter("roompulse_console_query_failures_total", "ClickHouse queries that failed", ["query"])
