"""Planting a fault into a module, and giving back the right one afterwards."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT = Path(__file__).parents[2]


@contextmanager
def planted(chain: Sequence[str], module: str, right: str, wrong: str) -> Iterator[None]:
    """The modules of a chain with a fault in one of them; everybody else keeps the right ones.

    `chain`: what is loaded anew, in the order in which one imports the other. A module that is not in it has no fault.
    """
    modules = {name: import_module(name) for name in chain}
    try:
        for name in chain:
            path = ROOT / f"{name.replace('.', '/')}.py"
            source = path.read_text("utf-8")
            if name == module:
                assert source.count(right) == 1, "the place of the fault has moved"
                source = source.replace(right, wrong)
            anew = ModuleType(name)
            _put(name, anew)
            exec(compile(source, path, "exec"), anew.__dict__)
        yield
    finally:
        for name, known in modules.items():
            _put(name, known)


def _put(name: str, module: ModuleType) -> None:
    """Where `import` looks for it, and where `from package import module` does."""
    sys.modules[name] = module
    package, _, last = name.rpartition(".")
    setattr(sys.modules[package], last, module)
