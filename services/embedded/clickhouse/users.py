"""The users of the embedded ClickHouse: who they are, what they may do, what they may set."""

from __future__ import annotations

import hashlib
import re
import secrets
from ipaddress import ip_address
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from services.runtime.settings import Settings

Node: TypeAlias = "str | int | dict[str, Node] | list[Node]"

ANALYST = "analyst"
READINESS = "readiness"
"""Asks on behalf of `/readyz`; has no rights, and a password that nobody knows."""
ANALYST_SECONDS = 600
ANALYST_THREADS = 64
# How a result is written and what a query may cost; whatever else there is to set stays as it is for the analyst.
ANALYST_SETTINGS = """
    add_http_cors_header aggregate_functions_null_for_empty any_join_distinct_right_table_keys
    cancel_http_readonly_queries_on_client_close cast_keep_nullable count_distinct_implementation
    date_time_input_format date_time_output_format empty_result_for_aggregation_by_empty_set enable_analyzer
    enable_http_compression except_default_mode extremes final format_csv_delimiter
    format_csv_null_representation format_tsv_null_representation group_by_overflow_mode group_by_use_nulls
    http_headers_progress_interval_ms http_response_buffer_size http_wait_end_of_query
    http_write_exception_in_output_format http_zlib_compression_level implicit_select intersect_default_mode
    join_algorithm join_use_nulls joined_subquery_requires_alias limit log_comment log_queries
    low_cardinality_allow_in_native_format max_block_size max_bytes_before_external_group_by
    max_bytes_before_external_sort max_bytes_to_read max_columns_to_read max_result_bytes max_result_rows
    max_rows_to_group_by max_rows_to_read max_threads network_compression_method offset
    optimize_aggregation_in_order optimize_read_in_order output_format_arrow_compression_method
    output_format_arrow_fixed_string_as_fixed_byte_array output_format_arrow_low_cardinality_as_dictionary
    output_format_arrow_string_as_string output_format_arrow_unsupported_types_as_binary
    output_format_binary_encode_types_in_binary_format output_format_binary_write_json_as_string
    output_format_decimal_trailing_zeros output_format_json_array_of_rows
    output_format_json_escape_forward_slashes output_format_json_map_as_array_of_tuples
    output_format_json_named_tuples_as_objects output_format_json_quote_64bit_floats
    output_format_json_quote_64bit_integers output_format_json_quote_decimals output_format_json_quote_denormals
    output_format_native_encode_types_in_binary_format output_format_native_write_json_as_string
    output_format_parquet_compression_method output_format_parquet_string_as_string output_format_pretty_color
    output_format_pretty_max_rows output_format_pretty_max_value_width output_format_write_statistics
    prefer_column_name_to_alias query_cache_ttl read_overflow_mode result_overflow_mode
    send_progress_in_http_headers session_timezone timeout_overflow_mode totals_mode transform_null_in
    union_default_mode use_query_cache
""".split()  # noqa: SIM905

_NO_FILES = ["REVOKE ALL ON _local.*", "REVOKE READ, WRITE ON FILE", "REVOKE TABLE ENGINE ON File"]
_ADMINISTRATOR_GRANTS = ["GRANT ALL ON *.* WITH GRANT OPTION", *_NO_FILES]
# Read-only mode refuses what changes data with the error that clients know, READONLY, but only what is granted at all.
_ANALYST_GRANTS = [
    "GRANT ALL ON *.*",
    "REVOKE READ, WRITE ON *",
    "REVOKE SYSTEM, KILL QUERY, INTROSPECTION, CLUSTER, displaySecretsInShowAndSelect ON *.*",
    *_NO_FILES,
]


# It opens the port, and waits in a statement that reads nothing into nothing.
_ENGINE_GRANTS = ["GRANT SYSTEM LISTEN ON *.*", "GRANT CREATE TEMPORARY TABLE ON *.*"]


class UnusableUser(Exception):
    """The ClickHouse URL names a user that the embedded server cannot have; the message tells why."""


def administrator(settings: Settings) -> tuple[str, str]:
    """Name and password of the user that may do everything: those of the ClickHouse URL, else `default` without one.

    Raises `UnusableUser`. The engine itself enters as `default` without a password, so that user cannot have one. Where
    the administrator is another, nobody but the engine is `default`.
    """
    url = urlsplit(settings.clickhouse_url)
    name, password = unquote(url.username or "default"), unquote(url.password or "")
    if name == "default" and password:
        raise UnusableUser("the embedded ClickHouse's user default has no password: name another user in its URL")
    if name in (ANALYST, READINESS) or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_-]*", name):
        raise UnusableUser(f"the embedded ClickHouse's administrator cannot be called {name!r}")
    return name, password


def lets_strangers_in(settings: Settings) -> bool:
    """Whether other machines may connect and some user that can read needs no password."""
    try:
        here = ip_address(settings.host).is_loopback
    except ValueError:
        here = settings.host == "localhost"
    return not here and not (administrator(settings)[1] and settings.clickhouse_analyst_password)


def users(settings: Settings) -> Node:
    """The content of `users.xml`."""
    name, password = administrator(settings)
    analyst_memory = settings.clickhouse_memory_bytes // 2
    return {
        "profiles": {
            "default": {
                "cancel_http_readonly_queries_on_client_close": 1,
                # The engine starts with the habits of a command-line tool; these are a server's.
                "implicit_select": 0,
                "allow_introspection_functions": 0,
                "storage_file_read_method": "pread",
                # It reads objects of this process and brings it down when there are none.
                "allow_python_table_function": 0,
                "constraints": {"allow_python_table_function": {"readonly": ""}},
            },
            "analyst": {
                "profile": "default",
                "readonly": 1,
                "max_memory_usage": analyst_memory,
                "max_execution_time": ANALYST_SECONDS,
                "constraints": {
                    **{setting: {"changeable_in_readonly": ""} for setting in ANALYST_SETTINGS},
                    "max_memory_usage": {"changeable_in_readonly": "", "min": 1, "max": analyst_memory},
                    "max_execution_time": {"changeable_in_readonly": "", "min": 1, "max": ANALYST_SECONDS},
                    "max_threads": {"changeable_in_readonly": "", "max": ANALYST_THREADS},
                },
            },
            # The one session is the engine's own, which lasts as long as the port is open.
            "engine": {
                "profile": "default",
                "max_sessions_for_user": 1,
                "constraints": {"max_sessions_for_user": {"readonly": ""}},
            },
        },
        "users": {
            "default": _user("", _ENGINE_GRANTS, profile="engine", network="127.0.0.1"),
            READINESS: _user(secrets.token_hex(), ["GRANT NONE ON *.*"], profile="analyst"),
            ANALYST: _user(settings.clickhouse_analyst_password, _ANALYST_GRANTS, profile="analyst"),
            name: _user(password, _ADMINISTRATOR_GRANTS),
        },
        "quotas": {"default": ""},
    }


def _user(password: str, grants: list[str], profile: str = "default", network: str = "::/0") -> Node:
    secret = {"password_sha256_hex": hashlib.sha256(password.encode()).hexdigest()} if password else {"no_password": ""}
    return {
        **secret,
        "networks": {"ip": network},
        "profile": profile,
        "quota": "default",
        "default_database": "default",
        "grants": {"query": [*grants]},
    }
