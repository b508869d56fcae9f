"""The engine in this process: one thread that runs ClickHouse until it is told to stop."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import threading
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from services.embedded.clickhouse.configuration import write_configuration

if TYPE_CHECKING:
    from types import ModuleType

    from services.runtime.settings import Settings


class EngineMissing(Exception):
    """The package `chdb` is not installed, or it has no ClickHouse engine for this machine."""


class EngineFailed(Exception):
    """The engine ended although nobody had asked it to; the message is its own."""


class Engine:
    """ClickHouse's engine with its HTTP server, in a thread of its own.

    The engine runs the statements it is given and ends after the last one. The first opens the HTTP port, the second
    reads from a pipe whose other end is held here: closing that end is what stops it. A reading thread cannot be
    interrupted, so no `KILL QUERY` of a client reaches that statement. Only one engine may run in a process. It takes
    the process over: the working folder becomes its folder, descriptor 2 (not `sys.stderr`, where that is another) its
    file `stderr.log`, and descriptor 0 has nothing to read.
    """

    def __init__(self, settings: Settings, folder: Path) -> None:
        self._module = _load()
        self._settings = settings
        self._folder = folder
        self._thread = threading.Thread(target=self._run, name="clickhouse")
        self._reader, self._writer = os.pipe()
        self._stopping = False
        self._failure = ""
        self._errors = folder / "stderr.log"

    def start(self) -> None:
        """Start it; that the port answers is the caller's to find out."""
        _ensure_default_database(self._folder / "metadata")
        write_configuration(self._settings, self._folder)
        os.chdir(self._folder)
        # It would take what waits on standard input for a table to be read.
        _redirect(0, os.open(os.devnull, os.O_RDONLY))
        _redirect(2, os.open(self._errors, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600))
        self._thread.start()

    def wait(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds for the end; whether it has ended. Raises `EngineFailed` for an unasked end."""
        self._thread.join(timeout)
        if self._thread.is_alive():
            return False
        if not self._stopping:
            raise EngineFailed(self._last_words())
        return True

    def stop(self) -> None:
        """Ask it to end: it stops listening, waits some seconds for the clients it serves, and closes its tables."""
        if not self._stopping:
            self._stopping = True
            os.close(self._writer)

    def _last_words(self) -> str:
        said = [self._failure, *self._errors.read_text(errors="replace").splitlines()]
        for line in said:
            if "Exception" in line:
                return line.partition(", Stack trace")[0]
        return f"ClickHouse ended by itself, see {self._folder / 'clickhouse.log'}"

    def _run(self) -> None:
        hold = f"INSERT INTO FUNCTION null('line String') FROM INFILE '/dev/fd/{self._reader}' FORMAT LineAsString"
        statements = f"SYSTEM START LISTEN HTTP; {hold}"
        try:
            result: Any = self._module.query(statements, "TabSeparated", path=str(self._folder))
            self._failure = result.error_message()
        except Exception as failure:
            self._failure = str(failure)


def _ensure_default_database(metadata: Path) -> None:
    # The engine's own default database is of a kind for command lines, which has neither UUIDs nor refreshable views.
    # This one must be there before the first session is; and without the folder nothing dropped is ever removed.
    metadata.mkdir(exist_ok=True)
    description = metadata / "default.sql"
    if not description.exists():
        temporary = metadata / "default.new"
        temporary.write_text(f"ATTACH DATABASE _ UUID '{uuid.uuid4()}'\nENGINE = Atomic\n")
        temporary.replace(description)


def _redirect(descriptor: int, target: int) -> None:
    os.dup2(target, descriptor)
    os.close(target)


def _load() -> ModuleType:
    """The compiled part of `chdb` alone: the package itself starts and stops an engine when it is imported."""
    package = importlib.util.find_spec("chdb")
    for folder in (package and package.submodule_search_locations) or ():
        for suffix in importlib.machinery.EXTENSION_SUFFIXES:
            path = Path(folder) / f"_chdb{suffix}"
            if path.exists():
                spec = importlib.util.spec_from_file_location("_chdb", path)
                if spec is not None and spec.loader is not None:
                    module = importlib.util.module_from_spec(spec)
                    spec.loader.exec_module(module)
                    return module
    raise EngineMissing("the package chdb is not installed, or has no ClickHouse engine for this machine")
