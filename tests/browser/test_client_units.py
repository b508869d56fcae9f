"""The web client's own unit tests and its documentation, which need Node and no browser."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from services.console.web.build import find_node
from tests.browser.conftest import CLIENT, ROOT, make

DOCUMENTATION = ROOT / "docs/web-client.md"


def test_units() -> None:
    finished = make("test")
    assert finished.returncode == 0, finished.stdout + finished.stderr
    # A run that found no tests is no success.
    (passed,) = (line for line in finished.stdout.splitlines() if line.startswith("# pass "))
    assert int(passed.removeprefix("# pass ")) > 50


def test_the_example_of_the_documentation_compiles(web_client: Path) -> None:
    """Against the package as it is built, which resolves by its own name within its folder."""
    assert web_client == CLIENT / "dist"
    (example,) = re.findall(r"```ts\n(.*?)```", DOCUMENTATION.read_text(), re.DOTALL)
    file = CLIENT / "build/example.ts"
    file.parent.mkdir(exist_ok=True)
    file.write_text(example)
    npm = find_node()
    finished = subprocess.run(
        [*npm, "exec", "--offline", "--", "tsc", "-p", "tsconfig.example.json"],
        cwd=CLIENT,
        env={**os.environ, "PATH": os.pathsep.join([str(Path(npm[0]).parent), os.environ["PATH"]])},
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
