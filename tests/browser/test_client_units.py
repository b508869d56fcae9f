"""The web client's own unit tests, which need Node and no browser."""

from __future__ import annotations

import subprocess
from pathlib import Path

CLIENT = Path(__file__).parents[2] / "clients/web"


def test_units() -> None:
    finished = subprocess.run(
        ["make", "--no-print-directory", "-C", str(CLIENT), "test"],
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    # A run that found no tests is no success.
    (passed,) = (line for line in finished.stdout.splitlines() if line.startswith("# pass "))
    assert int(passed.removeprefix("# pass ")) > 50
