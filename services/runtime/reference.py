"""`python -m services.runtime.reference` writes the table of settings into docs/operations.md."""

from __future__ import annotations

import ast
import inspect
import itertools
from pathlib import Path

from services.runtime import settings

PAGE = Path(__file__).parents[2] / "docs" / "operations.md"
_MARK = "## Settings\n"


def settings_table() -> str:
    """A Markdown table of every setting: its variable, its default, its meaning."""
    about = _docstrings()
    rows = ["| variable | default | meaning |", "|---|---|---|"]
    for name, field in settings.Settings.model_fields.items():
        default = "" if field.default in ("", None) else f"`{field.default}`"
        rows.append(f"| `ROOMPULSE_{name.upper()}` | {default} | {about.get(name, '')} |")
    return "\n".join(rows)


def page() -> str:
    """The page with the table of today's settings."""
    text = PAGE.read_text("utf-8")
    return f"{text[: text.index(_MARK)]}{_MARK}\n{settings_table()}\n"


def _docstrings() -> dict[str, str]:
    """The text under each field, which Python itself does not keep."""
    tree = ast.parse(inspect.getsource(settings))
    body = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Settings").body
    found = {}
    for field, text in itertools.pairwise(body):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(text, ast.Expr)
            and isinstance(text.value, ast.Constant)
        ):
            found[field.target.id] = " ".join(str(text.value.value).split())
    return found


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
