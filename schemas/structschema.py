"""JSON Schema of structs, with the words that stand under their fields."""

from __future__ import annotations

import ast
import inspect
import itertools
import textwrap
from functools import cache
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Iterator

Schema = dict[str, Any]


def components(*structs: type[Struct]) -> dict[str, Schema]:
    """Schemas of structs and of all that they are made of, by name, for `$defs`."""
    _, found = msgspec.json.schema_components(structs, ref_template="#/$defs/{name}")
    known = {struct.__name__: struct for struct in _structs_of_this_package(Struct)}
    return {name: _described(_tidied(schema), known[name]) for name, schema in found.items()}


def _structs_of_this_package(base: type[Struct]) -> Iterator[type[Struct]]:
    for struct in base.__subclasses__():
        if struct.__module__.startswith("schemas."):
            yield struct
        yield from _structs_of_this_package(struct)


def _tidied(schema: Any) -> Any:
    """Without what says nothing: a default of null is an absent field, and unions with null are written shortly."""
    if isinstance(schema, list):
        return [_tidied(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    tidied = {
        name: _tidied(value)
        for name, value in schema.items()
        if (name, value) not in (("default", None), ("required", []))
    }
    match tidied.get("anyOf"):
        case [dict(only), {"type": "null"}] if isinstance(only.get("type"), str):
            del tidied["anyOf"]
            return {**tidied, **only, "type": [only["type"], "null"]}
        case [{"enum": values}, {"type": "null"}]:
            del tidied["anyOf"]
            return {**tidied, "enum": [*values, None]}
    return tidied


def _described(schema: Schema, struct: type[Struct]) -> Schema:
    docs = _field_docs(struct)
    for field in msgspec.structs.fields(struct):
        if field.name in docs:
            schema["properties"][field.encode_name]["description"] = docs[field.name]
    schema["description"] = " ".join(inspect.cleandoc(struct.__doc__ or "").split())
    return schema


@cache
def _field_docs(struct: type[Struct]) -> dict[str, str]:
    """The text under each field, which Python itself does not keep; a heir's own comes first."""
    found: dict[str, str] = {}
    for base in reversed([base for base in struct.__mro__ if base.__module__.startswith("schemas.")]):
        tree = ast.parse(textwrap.dedent(inspect.getsource(base)))
        body = next(node for node in tree.body if isinstance(node, ast.ClassDef)).body
        for field, text in itertools.pairwise(body):
            if (
                isinstance(field, ast.AnnAssign)
                and isinstance(field.target, ast.Name)
                and isinstance(text, ast.Expr)
                and isinstance(text.value, ast.Constant)
            ):
                found[field.target.id] = " ".join(str(text.value.value).split())
    return found
