"""`python -m schemas.jsonschema` writes JSON Schema and examples of everything public into docs/schemas."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from schemas import examples
from schemas.answers import Acceptance, ErrorAnswer, ReportAcceptance, TimeAnswer
from schemas.applications import ApplicationRecord
from schemas.deliveries import DeliveryAttempt
from schemas.eventschema import callback_schema, event_schema
from schemas.reports import Report
from schemas.structschema import Schema, components
from schemas.tasks import TaskInterval

FOLDER = Path(__file__).parents[1] / "docs" / "schemas"
WIDTH = 110
DIALECT = "https://json-schema.org/draft/2020-12/schema"


class Document(Struct, frozen=True):
    """One file: a schema with its examples."""

    name: str
    where: str
    schema: Callable[[], Schema]
    examples: Callable[[], Sequence[Any]]

    def text(self) -> str:
        """The file."""
        schema = {
            "$schema": DIALECT,
            "$id": f"urn:roompulse:schema:{self.name}",
            **self.schema(),
            "examples": msgspec.to_builtins(self.examples()),
        }
        if "$defs" in schema:
            schema["$defs"] = schema.pop("$defs")  # what is explained last stands last
        return _pretty(schema) + "\n"


def documents() -> list[Document]:
    """Everything that somebody else writes or reads."""
    return [
        Document("report", "Body of `POST /v1/reports`", lambda: _of(Report), examples.reports),
        Document(
            "event", "Body of `POST /v1/events`, or one item of the list that it is", event_schema, examples.events
        ),
        Document(
            "task-interval",
            "Body of `POST /v1/tasks`, or one item of the list that it is",
            lambda: _of(TaskInterval),
            examples.tasks,
        ),
        Document("accepted", "Status 200 of events and tasks", lambda: _of(Acceptance), examples.acceptances),
        Document(
            "accepted-report", "Status 200 of reports", lambda: _of(ReportAcceptance), examples.report_acceptances
        ),
        Document("error", "Any other status", lambda: _of(ErrorAnswer), examples.errors),
        Document("time", "Answer of `GET /v1/time`", lambda: _of(TimeAnswer), examples.times),
        Document("callback", "Body of a callback to a customer's URL", callback_schema, _callbacks),
        Document(
            "application-record",
            "Value in Kafka's topic `applications`",
            lambda: _of(ApplicationRecord),
            examples.application_records,
        ),
        Document(
            "delivery-attempt",
            "Value in Kafka's topic `deliveries`",
            lambda: _of(DeliveryAttempt),
            examples.delivery_attempts,
        ),
    ]


def files() -> dict[str, str]:
    """The whole folder: names and texts."""
    return {f"{document.name}.json": document.text() for document in documents()} | {"README.md": _readme()}


def write() -> None:
    """Bring the folder up to date."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    wanted = files()
    for path in FOLDER.iterdir():
        if path.name not in wanted:
            path.unlink()
    for name, text in wanted.items():
        (FOLDER / name).write_text(text, "utf-8")


def _pretty(value: Any, indent: int = 0) -> str:
    """JSON that is read by people: what fits into one line stands in one."""
    short = json.dumps(value, ensure_ascii=False)
    if not isinstance(value, dict | list) or len(short) + indent <= WIDTH:
        return short
    pad = " " * (indent + 2)
    if isinstance(value, dict):
        parts = [f"{pad}{json.dumps(name)}: {_pretty(part, indent + 2)}" for name, part in value.items()]
    else:
        parts = [pad + _pretty(part, indent + 2) for part in value]
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    return f"{opening}\n" + ",\n".join(parts) + f"\n{' ' * indent}{closing}"


def _of(struct: type[Struct]) -> Schema:
    defs = components(struct)
    root = defs.pop(struct.__name__)
    return {**root, "$defs": defs} if defs else root


def _callbacks() -> list[Any]:
    return [msgspec.json.decode(body) for body in examples.callbacks()]


def _readme() -> str:
    rows = [f"| [{document.name}.json]({document.name}.json) | {document.where} |" for document in documents()]
    return "\n".join(
        [
            "# JSON Schema",
            "",
            "Everything that crosses the border of Roompulse, in JSON Schema 2020-12, with examples in each file.",
            "Written by `make docs` from the types in `schemas/`, which are what decides.",
            "",
            "| file | what |",
            "|---|---|",
            *rows,
            "",
            "Fields that are not named are welcome everywhere. In events and callbacks they are passed on, elsewhere",
            "they are not looked at. New ones may come at any time: never refuse what you do not know.",
            "",
            "Not everything can be said in a schema. Beyond it,",
            "",
            "- whole numbers are written without point and exponent: `8801`, not `8801.0`;",
            "- the type of an event begins with the number of its group;",
            "- an event has at most 32 levels of objects and lists;",
            "- times of reports, events and tasks lie between 24 hours ago and 5 minutes ahead;",
            "- a task interval lasts at most 60 seconds, and all tasks but `web-record` have a room.",
            "",
        ]
    )


if __name__ == "__main__":
    write()
