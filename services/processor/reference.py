"""The page of tables, docs/tables.md: what is below its mark is read from a database, the rest written by hand."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from services.runtime.clickhouse import connect, migrations

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from services.runtime.settings import Settings

PAGE = Path(__file__).parents[2] / "docs" / "tables.md"
_MARK = "## All tables and views\n"
_CREATED = re.compile(r"^CREATE (?:TABLE|VIEW) IF NOT EXISTS \{database\}\.(\w+)", re.MULTILINE)
_INNER = "schema_migrations"

_EXAMPLES = {"Int16": "0", "UInt32": "1", "DateTime64(3, 'UTC')": "'2026-01-31 10:00:00'"}
"""A value for each type of parameter: the catalogue has no columns of a view that is called like a function."""

_TABLES = """
SELECT name, engine, comment, sorting_key, partition_key,
    arrayMap(parameter -> [parameter.1, parameter.2], parameterized_view_parameters)
FROM system.tables
WHERE database = currentDatabase() AND engine != 'MaterializedView' AND name NOT LIKE '.inner%'
"""
_COLUMNS = """
SELECT table, name, type, comment FROM system.columns WHERE database = currentDatabase() ORDER BY table, position
"""


class Column(NamedTuple):
    """A column of a table or a view."""

    name: str
    type: str
    comment: str


class Table(NamedTuple):
    """A table or a view, with what the database says of it."""

    name: str
    engine: str
    comment: str
    key: str
    partitions: str
    parameters: list[list[str]]
    """Name and type of each, of a view that is called like a function."""
    columns: list[Column]


async def read_tables(settings: Settings) -> dict[str, Table]:
    """Every table and view that people may read, by name."""
    client = await connect(settings)
    try:
        found = {
            name: Table(name, engine, comment, key, partitions, parameters, columns=[])
            for name, engine, comment, key, partitions, parameters in (await client.query(_TABLES)).result_rows
            if name != _INNER
        }
        for of, *column in (await client.query(_COLUMNS)).result_rows:
            if of in found:
                found[of].columns.append(Column(*column))
        for table in found.values():
            if table.parameters:
                arguments = ", ".join(f"{name} = {_EXAMPLES[kind]}" for name, kind in table.parameters)
                described = await client.query(f"DESCRIBE TABLE {table.name}({arguments})")
                table.columns.extend(Column(name, kind, "") for name, kind, *_ in described.result_rows)
        return found
    finally:
        await client.close()


async def page(settings: Settings) -> str:
    """The page with the tables of a database that is at the newest version."""
    text = PAGE.read_text("utf-8")
    tables = "\n".join(_lines(await read_tables(settings)))
    return f"{text[: text.index(_MARK)]}{_MARK}\n{tables}\n"


def sections() -> Iterator[tuple[str, list[str]]]:
    """A title, and the names of tables and views in the order in which they are made."""
    for name, sql in migrations():
        yield name.split("_", 1)[1].replace("_", " ").capitalize(), _CREATED.findall(sql)


def _lines(tables: dict[str, Table]) -> Iterator[str]:
    yield "Written by `make docs` from the comments in the database. Tables have a key; views have none."
    for title, names in sections():
        if not names:
            continue
        yield from ("", f"### {title}")
        for name in names:
            yield from _about(tables[name])


def _about(table: Table) -> Iterator[str]:
    yield from ("", f"#### `{table.name}`", "", f"{_cell(table.comment)}.", "")
    if table.engine == "View":
        parameters = ", ".join(f"{name} {kind}" for name, kind in table.parameters)
        yield f"View with parameters: `{table.name}({parameters})`." if parameters else "View."
    else:
        parts = f", parts by `{table.partitions}`" if table.partitions else ""
        yield f"Key: `{table.key}`{parts}."
    yield ""
    yield from _columns(table.columns)


def _columns(columns: Sequence[Column]) -> Iterable[str]:
    if not any(column.comment for column in columns):
        return ["| column | type |", "|---|---|", *(f"| `{one.name}` | `{one.type}` |" for one in columns)]
    rows = (f"| `{one.name}` | `{one.type}` | {_cell(one.comment)} |" for one in columns)
    return ["| column | type | meaning |", "|---|---|---|", *rows]


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
