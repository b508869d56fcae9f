"""What the engine reads when it starts: `config.xml` and `users.xml`, made from the settings."""

from __future__ import annotations

import os
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING

from services.embedded.clickhouse.users import READINESS, users

if TYPE_CHECKING:
    from pathlib import Path

    from services.embedded.clickhouse.users import Node
    from services.runtime.settings import Settings

_MIB = 1 << 20
_NO_FILE_FUNCTION = "CREATE FUNCTION file AS path -> CAST(throwIf(1, 'Files of the machine cannot be read'), 'String')"


def write_configuration(settings: Settings, folder: Path) -> None:
    """Write both files into `folder`, which is the engine's working folder and its data folder."""
    _write(folder / "config.xml", _xml(_server(settings, folder)))
    _write(folder / "users.xml", _xml(users(settings)))
    # The engine's own function of that name gives the content of any file to any user, whatever is granted. A function
    # that is defined here is found before it, and cannot be dropped.
    (folder / "user_defined").mkdir(exist_ok=True)
    _write(folder / "user_defined" / "function_file.sql", _NO_FILE_FUNCTION.encode())


def _server(settings: Settings, folder: Path) -> Node:
    return {
        "http_port": settings.clickhouse_port,
        "listen_host": settings.host,
        "users_config": "users.xml",
        "display_name": "roompulse",
        "default_database": "_local",
        "log-level": "warning",
        "logger": {"log": str(folder / "clickhouse.log"), "size": "10M", "count": 1, "async": 0},
        "max_server_memory_usage": settings.clickhouse_memory_bytes,
        # In a container the group's memory is that of all its processes.
        "memory_worker_use_cgroup": 0,
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
                # A browser names the page a request comes from; pages of anybody's could otherwise send us statements.
                {
                    "headers": {"Origin": "regex:.+"},
                    "handler": {
                        "type": "static",
                        "status": 403,
                        "content_type": "text/plain",
                        "response_content": "Requests of web pages are refused.\n",
                    },
                },
                _rule("/healthz", {"type": "static", "content_type": "text/plain", "response_content": "Ok.\n"}),
                _rule(
                    "/readyz",
                    {
                        "type": "predefined_query_handler",
                        "query": "SELECT 'Ok.' FORMAT TSV",
                        "user": READINESS,
                    },
                ),
                _rule("/metrics", {"type": "prometheus", "metrics": "true", "events": "true"}),
            ],
            "defaults": "",
        },
    }


def _rule(path: str, handler: Node) -> Node:
    return {"url": path, "methods": "GET,HEAD", "handler": handler}


def _write(path: Path, content: bytes) -> None:
    temporary = path.with_suffix(".new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    temporary.replace(path)


def _xml(node: Node) -> bytes:
    root = ET.Element("clickhouse")
    _fill(root, node)
    content: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return content


def _fill(element: ET.Element, node: Node) -> None:
    if isinstance(node, dict):
        for key, value in node.items():
            for item in value if isinstance(value, list) else [value]:
                _fill(ET.SubElement(element, key), item)
    else:
        element.text = str(node)
