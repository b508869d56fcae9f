"""Node for tests: the machine's or the one of PyPI, with the packages of `tests/contract/node`."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from services.console.web.build import find_node

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = Path(__file__).parent / "node"
_STAMP = FOLDER / "node_modules" / ".installed-from"


def node() -> str:
    """The path of a node whose `require` finds the packages from `FOLDER` on. The second time needs no network."""
    npm = find_node()
    path = npm[0] if len(npm) == 2 else shutil.which("node")
    assert path is not None
    with _alone():
        wanted = sha256(b"".join((FOLDER / name).read_bytes() for name in ("package.json", "package-lock.json")))
        if not _STAMP.exists() or _STAMP.read_text() != wanted.hexdigest():
            _install(npm, path)
            _STAMP.write_text(wanted.hexdigest())
    return path


def run(script: str | Path, *arguments: str, given: str = "") -> str:
    """What a script prints."""
    finished = subprocess.run(
        [node(), str(script), *arguments],
        cwd=FOLDER,
        input=given,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def _install(npm: list[str], path: str) -> None:
    environment = {**os.environ, "PATH": os.pathsep.join([str(Path(path).parent), os.environ.get("PATH", "")])}
    finished = subprocess.run(
        [*npm, "ci", "--no-audit", "--no-fund", "--loglevel=error"],
        cwd=FOLDER,
        env=environment,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert finished.returncode == 0, f"npm ci in {FOLDER}: {finished.stderr or finished.stdout}"


@contextmanager
def _alone() -> Iterator[None]:
    with (FOLDER / "package.json").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
