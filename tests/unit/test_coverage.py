"""docs/coverage.md names tests that exist, and every rule has one or a reason why not."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
PAGE = TESTS.parent / "docs" / "coverage.md"
_TEST = re.compile(r"`([\w/]+\.py)::(\w+)`")
SECTIONS = dict(
    (part.split("\n", 1) for part in PAGE.read_text("utf-8").split("\n## ")[1:]),
)


def rows(text: str) -> list[str]:
    """The rows of a table without its head."""
    return [line for line in text.splitlines() if line.startswith("| ")][1:]


def test_the_tests_that_are_named_exist() -> None:
    named = set(_TEST.findall(PAGE.read_text("utf-8")))
    missing = [
        f"{path}::{name}"
        for path, name in named
        if not re.search(rf"^(async )?def {name}\(", (TESTS / path).read_text("utf-8"), re.MULTILINE)
    ]
    assert missing == []
    assert len(named) > 80


def test_every_rule_has_a_test_or_a_reason() -> None:
    for title, text in SECTIONS.items():
        for row in rows(text):
            rule, why = row.strip("| ").split(" | ")
            assert rule
            assert why
            assert bool(_TEST.search(why)) is not title.endswith("open"), row
