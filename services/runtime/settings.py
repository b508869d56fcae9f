"""Settings, read once from the environment (`ROOMPULSE_…`) and typed."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

SHORTEST_DAYS = 3
"""Kafka keeps reports for so long: what it brings after an interruption must not meet facts that are gone."""


def _long_enough(days: int) -> int:
    if days != 0 and days < SHORTEST_DAYS:
        raise ValueError(f"0 for ever, or at least {SHORTEST_DAYS}")
    return days


Days = Annotated[int, AfterValidator(_long_enough)]
"""How long something is kept; 0 is for ever."""


class Settings(BaseSettings):
    """One field per environment variable; the variable is the field's name in capitals after `ROOMPULSE_`."""

    model_config = SettingsConfigDict(env_prefix="ROOMPULSE_", frozen=True, extra="ignore")

    data: Path = Path("data")
    """Data folder of the embedded servers, the control-plane database and the secret key."""
    host: str = "127.0.0.1"
    """Address the HTTP services listen on."""
    console_port: int = 8080
    ingest_port: int = 8081
    processor_port: int = 8082
    """Health, readiness and metrics of the processor."""
    dispatcher_port: int = 8083
    """Health, readiness and metrics of the dispatcher."""
    demo_receiver_port: int = 8090
    """The demo customer's server that `roompulse up` starts."""

    kafka_bootstrap: str = "127.0.0.1:9092"
    kafka_partitions: int = Field(default=8, ge=1)
    """Partitions of topics that do not exist yet; existing topics keep theirs."""
    kafka_replication: int = Field(default=1, ge=1)

    clickhouse_url: str = "http://127.0.0.1:8123"
    """May carry user and password: `http://user:password@host:port`."""
    clickhouse_database: str = "roompulse"
    clickhouse_analyst_password: str = ""
    """Password of the embedded ClickHouse's user `analyst`, who may only read; empty: none is asked for."""
    clickhouse_memory_bytes: int = Field(default=2 << 30, ge=256 << 20)
    """What the embedded ClickHouse may use at most for queries, inserts, merges and caches together."""

    database_url: str = ""
    """Control-plane database as an SQLAlchemy URL; empty: SQLite in the data folder."""
    secret_key: str = ""
    """32 bytes in base64 that open application secrets; empty: a file in the data folder."""

    strict_callback_urls: bool = False
    """Admit only the vendor's characters in callback URLs; they leave out `:` and `&`."""

    ingest_max_body_bytes: int = Field(default=1 << 20, ge=1024)
    """Bytes of a request's body at most, as it comes over the wire."""
    ingest_max_expanded_bytes: int = Field(default=4 << 20, ge=1024)
    """The same after gzip or zstd are undone."""
    ingest_max_record_bytes: int = Field(default=768 * 1024, ge=1024)
    """Bytes of one event, task interval or report at most; less than `message.max.bytes` of the brokers."""
    ingest_max_items: int = Field(default=1000, ge=1)
    """Events or task intervals of a request, samples and client events of a report."""
    ingest_max_depth: int = Field(default=64, ge=8, le=500)
    """How deep objects and lists of a body may be nested."""
    ingest_max_string_bytes: int = Field(default=65536, ge=256)
    """Bytes of one text in a body at most; most fields have shorter limits of their own."""
    ingest_body_timeout_s: float = Field(default=20, gt=0)
    """Seconds within which the whole body of a request must have come."""
    ingest_linger_ms: int = Field(default=25, ge=0)
    """How long reports wait at most for others that go into the same record; less where few come."""
    ingest_batch_reports: int = Field(default=500, ge=1)
    """A record is sent at once when it carries so many reports."""
    ingest_batch_bytes: int = Field(default=256 * 1024, ge=1024)
    """A record is sent at once when it is so large."""
    ingest_waiting_bytes: int = Field(default=64 << 20, ge=1 << 20)
    """Bytes that may wait for Kafka; what comes beyond is answered with 503."""
    ingest_ack_timeout_s: float = Field(default=5, gt=0)
    """A request that Kafka has not acknowledged after so many seconds is answered with 503."""

    region_database: Path | None = None
    """Database in MaxMind's format that tells regions by address (City, Country); none: regions are unknown."""
    isp_database: Path | None = None
    """The same for internet providers (ISP, ASN, Enterprise)."""
    trusted_proxies: str = ""
    """Networks of proxies before ingest whose `X-Forwarded-For` is believed, e.g. `10.0.0.0/8,fd00::/8`."""

    exception_silence_s: float = Field(default=10, gt=0, le=10)
    """Unmuted and at volume 0 for so long is the exception *no audio*."""
    exception_fps: float = Field(default=10, ge=0)
    """Fewer frames a second, in two samples, are the exception *abnormal frame rate*."""
    exception_screen_fps: float = Field(default=5, ge=0)
    """The same for shared screens."""
    exception_fps_swing: float = Field(default=5, ge=0)
    """A rate that swings by more within ten seconds is the same exception."""
    exception_cpu: float = Field(default=85, ge=0, le=100)
    """More system CPU in per cent, in two samples, is the exception *high CPU*."""
    exception_task_ms: int = Field(default=60, ge=0)
    """The same by the milliseconds of an SDK task, for devices that cannot tell their CPU."""
    exception_loss: float = Field(default=10, ge=0, le=100)
    """Packet loss in per cent from which on it is taken for the cause of an exception."""
    exception_delay_ms: int = Field(default=400, ge=0)
    """The same for round trip and end-to-end delay, in milliseconds."""
    exception_jitter_ms: int = Field(default=100, ge=0)
    """Milliseconds of jitter beyond which, in two samples, it is an abnormal event."""
    exception_bitrate_swing: float = Field(default=30, ge=0, le=100)
    """The same for a bitrate that swings by more of its highest within ten seconds, in per cent."""

    retention_details_free_days: Days = 3
    """Days for which facts, ten seconds and minutes of applications of the free edition are kept; 0: for ever."""
    retention_details_standard_days: Days = 7
    """The same of the standard edition."""
    retention_details_premium_days: Days = 14
    """The same of the premium edition."""
    retention_summary_free_days: Days = 30
    """Days for which calls, stays, hours and days of applications of the free edition are kept; 0: for ever."""
    retention_summary_standard_days: Days = 30
    """The same of the standard edition."""
    retention_summary_premium_days: Days = 60
    """The same of the premium edition."""
    retention_usage_days: Days = 0
    """Days for which usage and the task intervals it is made from are kept; 0: for ever."""
    retention_deliveries_days: Days = 30
    """Days for which attempts to deliver callbacks are kept; 0: for ever."""

    callback_allow: str = ""
    """Networks that callbacks may go to although they are not public, e.g. `127.0.0.0/8,::1/128`."""
    callback_proxy: str = ""
    """HTTP proxy that all callbacks go through, e.g. `http://user:password@10.0.0.5:3128`; empty: none."""
    callback_timeout_s: float = Field(default=5, gt=0)
    """Seconds from the start of an attempt to the last byte of its answer."""
    callback_retry_interval_s: float = Field(default=10, ge=0)
    """Seconds between a failure and the next attempt, the first retry excepted, which comes at once."""
    callback_retry_window_s: float = Field(default=60, ge=0)
    """Seconds after the first attempt in which further attempts begin."""
    callback_durable_base_s: float = Field(default=5, ge=0.001)
    """Durable schedule: seconds from the first failure to the next attempt at most, doubled after each further one."""
    callback_durable_cap_s: float = Field(default=3600, ge=0.001)
    """Durable schedule: seconds between a failure and the next attempt at most, `Retry-After` included."""
    callback_durable_window_s: float = Field(default=72 * 3600, ge=0)
    """Durable schedule: seconds after the first attempt in which further attempts begin."""
    callback_order_wait_s: float = Field(default=60, ge=0)
    """Where an application's rooms keep their order: seconds from a first attempt on that others wait for it."""
    callback_in_flight: int = Field(default=1000, ge=1)
    """Attempts that one dispatcher has in the air at the same time."""
    callback_in_flight_per_endpoint: int = Field(default=64, ge=1)
    """The same for one URL of one application."""
    callback_park_failures: int = Field(default=10, ge=1)
    """So many failures in a row park an endpoint: it gets one attempt at a time, with pauses."""
    callback_park_after_s: float = Field(default=10, ge=0)
    """They must have come over so many seconds at least."""
    callback_probe_first_s: float = Field(default=1, ge=0.01)
    """Seconds to the first attempt at a parked endpoint, doubled after each failure."""
    callback_probe_longest_s: float = Field(default=10, ge=0.01)
    """Seconds between attempts at a parked endpoint at most."""
    callback_notify_url: str = ""
    """Where the operator is told, by a POST of JSON, that an endpoint is parked or open again; empty: nowhere."""

    log_format: str = "text"
    """`text` for people, `json` for machines."""
    log_level: str = "info"

    @cached_property
    def control_database_url(self) -> str:
        """The control-plane database that is in force."""
        return self.database_url or f"sqlite:///{self.data.absolute() / 'control.sqlite'}"

    @property
    def kafka_port(self) -> int:
        """Port of the embedded broker: that of the first bootstrap server."""
        return int(self.kafka_bootstrap.split(",")[0].rpartition(":")[2])

    @property
    def clickhouse_port(self) -> int:
        """Port of the embedded ClickHouse."""
        return urlsplit(self.clickhouse_url).port or 8123
