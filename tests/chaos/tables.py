"""What two runs must have in common: every row of facts, calls and rollups, as text, sorted."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TABLES = (
    "samples",
    "streams",
    "stutters",
    "episodes",
    "clients",
    "client_events",
    "events",
    "task_intervals",
    "calls",
    "stays",
    "session_spans",
    "presence",
    "user_10s",
    "room_10s",
    "app_10s",
)
VIEWS = ("episodes", "calls", "stays", "session_spans", "room_10s")
OURS = (
    "ArrivalTime",  # when ingest had it
    "InsertedTime",  # when a row was inserted
    "ComputedTime",  # when a derived row was computed
    "KafkaOffset",  # the place in a partition that rooms share, in the order in which their requests came
    "Precedence",  # the same, the other way round
    "Version",  # of rows that no report made, when they were computed
)
"""Columns that hold our own arrival times. All others are equal."""
WHERE = {
    # Who was in a room without a report, until the report came; whether that was seen depends on the moment.
    "user_10s": "WHERE Present OR SessionId != ''",
    # What was taken back depends on what was there before, and in which order the facts came.
    "presence": "WHERE NOT Removed",
    "app_10s": "WHERE OnlineUsers > 0 OR VideoStutterMs + AudioStutterMs > 0",
}


def export(query: Callable[[str], str], database: str, folder: Path) -> dict[str, int]:
    """Write the rows of every table into a file of the folder; the result is how many there are."""
    folder.mkdir(parents=True, exist_ok=True)
    columns = query(
        f"SELECT table, name FROM system.columns WHERE database = '{database}' ORDER BY table, position"
    ).splitlines()
    counts = {}
    for table in TABLES:
        names = [name for found, name in (line.split("\t") for line in columns) if found == table and name not in OURS]
        chosen = ", ".join(names)
        final = "" if table in VIEWS else "FINAL"
        rows = query(f"SELECT {chosen} FROM {database}.{table} {final} {WHERE.get(table, '')} ORDER BY ALL FORMAT TSV")
        (folder / table).write_text(rows)
        counts[table] = rows.count("\n")
    return counts


def inserted(query: Callable[[str], str]) -> str:
    """How many rows were inserted since the server started, into whatever table."""
    return query("SELECT value FROM system.events WHERE event = 'InsertedRows'")


def differences(ours: Path, theirs: Path) -> list[str]:
    """Tables that are not equal, row for row, each with the first few rows that are in one folder alone."""
    found = []
    for table in TABLES:
        left, right = (ours / table).read_text(), (theirs / table).read_text()
        if left != right:
            here, there = left.split("\n"), right.split("\n")
            surplus, missing = set(here) - set(there), set(there) - set(here)
            lines = [f"{table}: {len(here) - 1} rows, not {len(there) - 1}"]
            lines += [f"  {len(surplus)} that should not be there", *(f"    {row}" for row in sorted(surplus)[:5])]
            lines += [f"  {len(missing)} that are missing", *(f"    {row}" for row in sorted(missing)[:5])]
            found.append("\n".join(lines))
    return found
