"""Every metric of ingest. Labels take few values: no applications, rooms or users are among them."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

REQUESTS = Counter("roompulse_ingest_requests_total", "Requests by path and status", ["path", "status"])
REQUEST_SECONDS = Histogram(
    "roompulse_ingest_request_seconds",
    "Time from the head of a request to its answer, with the time that its body and Kafka took",
    ["path"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
ACCEPTED = Counter("roompulse_ingest_items_accepted_total", "Items that Kafka has", ["kind"])
REJECTED = Counter("roompulse_ingest_items_rejected_total", "Items that were rejected", ["kind", "code"])
RECORDS = Counter("roompulse_ingest_records_total", "Records that Kafka acknowledged", ["topic"])
RECORD_BYTES = Counter("roompulse_ingest_record_bytes_total", "Their bytes before compression", ["topic"])
FAILED_RECORDS = Counter("roompulse_ingest_failed_records_total", "Records that Kafka did not take", ["topic"])
BATCH_REPORTS = Histogram(
    "roompulse_ingest_batch_reports",
    "Reports of one record",
    buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500, 1000),
)
WAITING_BYTES = Gauge("roompulse_ingest_waiting_bytes", "Bytes that wait for Kafka")
PRODUCERS = Counter("roompulse_ingest_producers_total", "Kafka producers that were made; more than one: one broke")
