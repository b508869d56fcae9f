"""What the engine reads when it starts: `config.xml` and `users.xml`, made from the settings."""

from __future__ import annotations

import hashlib
import os
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from pathlib import Path

    from services.runtime.settings import Settings

Node: TypeAlias = "str | int | dict[str, Node] | list[Node]"

ANALYST = "analyst"
_MIB = 1 << 20


def administrator(settings: Settings) -> tuple[str, str]:
    """Name and password of the user that may do everything: those of the ClickHouse URL, else `default` without one."""
    url = urlsplit(settings.clickhouse_url)
    return unquote(url.username or "default"), unquote(url.password or "")


def write_configuration(settings: Settings, folder: Path) -> None:
    """Write both files into `folder`, which is the engine's working folder and its data folder."""
    _write(folder / "config.xml", _server(settings, folder))
    _write(folder / "users.xml", _users(settings))


def _server(settings: Settings, folder: Path) -> Node:
    return {
        "http_port": settings.clickhouse_port,
        "listen_host": settings.host,
        "users_config": "users.xml",
        "display_name": "roompulse",
        "log-level": "warning",
        "logger": {"log": str(folder / "clickhouse.log"), "size": "10M", "count": 1},
        "max_server_memory_usage": settings.clickhouse_memory_bytes,
        "mark_cache_size": 64 * _MIB,
        "primary_index_cache_size": 64 * _MIB,
        "compiled_expression_cache_size": 32 * _MIB,
        "max_concurrent_queries": 200,
        "background_pool_size": 2,
        "background_merges_mutations_concurrency_ratio": 2,
        "background_schedule_pool_size": 8,
        "background_common_pool_size": 2,
        "background_move_pool_size": 1,
        "background_fetches_pool_size": 1,
        "background_distributed_schedule_pool_size": 1,
        "background_message_broker_schedule_pool_size": 1,
        "background_buffer_flush_schedule_pool_size": 1,
        # The defaults are for a pool of 32 and keep a small one from ever mutating or merging whole partitions.
        "merge_tree": {
            "number_of_free_entries_in_pool_to_execute_mutation": 1,
            "number_of_free_entries_in_pool_to_lower_max_size_of_merge": 1,
            "number_of_free_entries_in_pool_to_execute_optimize_entire_partition": 1,
        },
        "http_handlers": {
            "rule": [
                _rule("/healthz", {"type": "static", "content_type": "text/plain", "response_content": "Ok.\n"}),
                _rule("/readyz", {"type": "predefined_query_handler", "query": "SELECT 'Ok.' FORMAT TSV"}),
                _rule("/metrics", {"type": "prometheus", "metrics": "true", "events": "true"}),
            ],
            "defaults": "",
        },
    }


def _rule(path: str, handler: Node) -> Node:
    return {"url": path, "methods": "GET,HEAD", "handler": handler}


def _users(settings: Settings) -> Node:
    name, password = administrator(settings)
    return {
        "profiles": {
            "default": {
                "cancel_http_readonly_queries_on_client_close": 1,
                # The engine starts with the habits of a command-line tool; these are a server's.
                "implicit_select": 0,
                "allow_introspection_functions": 0,
                "storage_file_read_method": "pread",
            },
            "analyst": {"profile": "default", "readonly": 2},
        },
        "users": {
            name: {
                **_secret(password),
                "networks": {"ip": "::/0"},
                "profile": "default",
                "quota": "default",
                "access_management": 1,
                "named_collection_control": 1,
            },
            ANALYST: {
                **_secret(settings.clickhouse_analyst_password),
                "networks": {"ip": "::/0"},
                "profile": "analyst",
                "quota": "default",
            },
        },
        "quotas": {"default": ""},
    }


def _secret(password: str) -> dict[str, Node]:
    if not password:
        return {"no_password": ""}
    return {"password_sha256_hex": hashlib.sha256(password.encode()).hexdigest()}


def _write(path: Path, node: Node) -> None:
    root = ET.Element("clickhouse")
    _fill(root, node)
    temporary = path.with_suffix(".new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        ET.ElementTree(root).write(file, encoding="utf-8", xml_declaration=True)
    temporary.replace(path)


def _fill(element: ET.Element, node: Node) -> None:
    if isinstance(node, dict):
        for key, value in node.items():
            for item in value if isinstance(value, list) else [value]:
                _fill(ET.SubElement(element, key), item)
    else:
        element.text = str(node)
