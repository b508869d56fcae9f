"""What processes use, and interpreters with what we are compared with."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil


def cpu_s(*processes: psutil.Process) -> float:
    """CPU seconds so far, those of children that ended not included."""
    times = [process.cpu_times() for process in processes]
    return sum(each.user + each.system for each in times)


def tree(pid: int) -> list[psutil.Process]:
    """A process and all that it started."""
    return [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]


def install(folder: Path, *packages: str) -> str:
    """An interpreter that has msgspec and these packages. Raises `CalledProcessError` where they cannot be had."""
    uv = str(Path(sys.executable).with_name("uv"))
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(folder)], check=True)
    python = str(folder / "bin" / "python")
    subprocess.run([uv, "pip", "install", "--quiet", "--python", python, "msgspec", *packages], check=True)
    return python
