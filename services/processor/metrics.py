"""Every metric of the processor."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

RECORDS = Counter("roompulse_processor_records_total", "Kafka records taken", ["topic"])
UNREADABLE = Counter("roompulse_processor_unreadable_total", "Kafka records that could not be decoded", ["topic"])
UNFIT = Counter("roompulse_processor_unfit_total", "Rows that no column could hold", ["table"])
FAILED_TURNS = Counter(
    "roompulse_processor_failed_turns_total", "Turns of an agent that nobody expected to fail", ["topic"]
)
SAMPLES = Counter("roompulse_processor_samples_total", "Samples turned into facts")
SESSIONS = Gauge("roompulse_processor_sessions", "Sessions whose recent past is in memory")
RELOADED = Counter(
    "roompulse_processor_reloaded_total", "Sessions whose rows were computed from stored facts: late or out of order"
)
ROWS = Counter("roompulse_processor_rows_total", "Rows inserted", ["table"])
TOUCHED = Gauge("roompulse_processor_touched", "Rows of rollups that the last recompute covered", ["scope"])
STORE_SECONDS = Histogram("roompulse_processor_store_seconds", "Time of one statement of ClickHouse", ["statement"])
STORE_FAILURES = Counter(
    "roompulse_processor_store_failures_total", "Statements that ClickHouse did not do", ["statement"]
)
JOB_SECONDS = Histogram("roompulse_processor_job_seconds", "Time of one run of a periodic job", ["job"])
FAILED_JOBS = Counter(
    "roompulse_processor_failed_jobs_total", "Runs of a periodic job that nobody expected to fail", ["job"]
)
