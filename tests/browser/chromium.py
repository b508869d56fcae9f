"""Finding Chromium, and installing Debian's where that is possible: `python -m tests.browser.chromium`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FAKE_DEVICES = "--use-fake-device-for-media-stream"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-ui-for-media-stream",
    FAKE_DEVICES,
    # Host candidates by their addresses: there is no mDNS on a build machine.
    "--disable-features=WebRtcHideLocalIpsWithMdns",
]


def find() -> str | None:
    """The path of a Chromium; `ROOMPULSE_CHROMIUM` names one elsewhere."""
    named = os.environ.get("ROOMPULSE_CHROMIUM")
    if named:
        return named if Path(named).exists() else None
    return next((path for name in NAMES if (path := shutil.which(name))), None)


def install() -> str | None:
    """Debian's package, if this is Debian and we may; a Chromium's path, or nothing."""
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        return None
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["apt-get", "update"], ["apt-get", "install", "--yes", "--no-install-recommends", "chromium"]):
        if subprocess.run(command, env=environment, stdout=sys.stderr, check=False).returncode != 0:
            return None
    return find()


def require() -> str:
    """A Chromium for a test. Without one the test is skipped, and fails where `CI` is set."""
    path = find() or install()
    if path is not None:
        return path
    reason = "no Chromium: install Debian's package chromium, or name one in ROOMPULSE_CHROMIUM"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


if __name__ == "__main__":
    sys.exit(
        0 if find() or install() else "Chromium is not there and cannot be installed: browser tests will be skipped"
    )
