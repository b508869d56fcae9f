"""The way to ClickHouse: one asynchronous client, and the migrations that make the tables."""

from __future__ import annotations

import re
from importlib import resources
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import clickhouse_connect
import structlog

if TYPE_CHECKING:
    from clickhouse_connect.driver.asyncclient import AsyncClient

    from services.runtime.settings import Settings

log = structlog.get_logger(__name__)

_SETTINGS = {
    # With FINAL, what a condition on the key leaves out is then left out before rows are merged, and not after.
    "optimize_move_to_prewhere_if_final": 1,
}


async def connect(settings: Settings, *, database: str | None = None, **options: Any) -> AsyncClient:
    """A client of `Settings.clickhouse_url`, without a session so that its queries may run side by side."""
    url = urlsplit(settings.clickhouse_url)
    return await clickhouse_connect.get_async_client(
        host=url.hostname or "127.0.0.1",
        port=url.port or (8443 if url.scheme == "https" else 8123),
        secure=url.scheme == "https",
        username=unquote(url.username or "default"),
        password=unquote(url.password or ""),
        database=settings.clickhouse_database if database is None else database,
        autogenerate_session_id=False,
        settings=_SETTINGS,
        **options,
    )


def migrations() -> list[tuple[str, str]]:
    """Every migration as (name, SQL), in order. Names start with their number."""
    folder = resources.files("schemas.clickhouse")
    files = sorted((file for file in folder.iterdir() if file.name.endswith(".sql")), key=lambda file: file.name)
    return [(file.name.removesuffix(".sql"), file.read_text("utf-8")) for file in files]


def statements(sql: str) -> list[str]:
    """The statements of a migration: they end with a semicolon at the end of a line."""
    without_comments = re.sub(r"^\s*--.*$", "", sql, flags=re.MULTILINE)
    return [part.strip() for part in re.split(r";\s*$", without_comments, flags=re.MULTILINE) if part.strip()]


async def migrate(settings: Settings) -> list[str]:
    """Bring the database to the newest version and return the names of the migrations that were applied.

    Forward only. Every statement may run twice (`IF NOT EXISTS`), since two services may start at once and since a
    crash can fall between a statement and the note that it was done.
    """
    client = await connect(settings, database="")
    try:
        database = settings.clickhouse_database
        await client.command(f"CREATE DATABASE IF NOT EXISTS `{database}`")
        await client.command(
            f"CREATE TABLE IF NOT EXISTS `{database}`.schema_migrations "
            "(Name String COMMENT 'File of the migration', AppliedAt DateTime64(3, 'UTC') DEFAULT now64(3)) "
            "ENGINE = ReplacingMergeTree ORDER BY Name COMMENT 'Migrations that were applied'"
        )
        rows = (await client.query(f"SELECT Name FROM `{database}`.schema_migrations")).result_rows  # noqa: S608
        done = {row[0] for row in rows}
        applied = []
        for name, sql in migrations():
            if name in done:
                continue
            for statement in statements(sql):
                await client.command(statement.replace("{database}", f"`{database}`"))
            await client.insert("schema_migrations", [[name]], column_names=["Name"], database=database)
            log.info("migration applied", migration=name)
            applied.append(name)
        return applied
    finally:
        await client.close()
