"""`roompulse up` as a user meets it: one command, moving numbers, a clean stop, and everything there the next time."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from tests.support.clickhouse import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PORTS = (
    "ROOMPULSE_CONSOLE_PORT",
    "ROOMPULSE_INGEST_PORT",
    "ROOMPULSE_PROCESSOR_PORT",
    "ROOMPULSE_DISPATCHER_PORT",
    "ROOMPULSE_DEMO_RECEIVER_PORT",
)


class Up:
    """One `roompulse up`."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.ports = {name: free_port() for name in PORTS}
        self.clickhouse = f"http://127.0.0.1:{free_port()}"
        self.environment = {
            **os.environ,
            **{name: str(port) for name, port in self.ports.items()},
            "ROOMPULSE_KAFKA_BOOTSTRAP": f"127.0.0.1:{free_port()}",
            "ROOMPULSE_CLICKHOUSE_URL": self.clickhouse,
        }
        self.output = data.parent / f"{data.name}.out"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *arguments: str) -> None:
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "services", "up", "--data", str(self.data), *arguments],
                env=self.environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.until(lambda: "Roompulse is up." in self.output.read_text(), "a banner", 120)

    def until(self, condition: Any, what: str, within_s: float = 90) -> Any:
        deadline = time.monotonic() + within_s
        while True:
            try:
                if found := condition():
                    return found
            except OSError:
                pass
            assert self.process is not None
            assert self.process.poll() is None, f"up ended with {self.process.returncode}:\n{self.output.read_text()}"
            assert time.monotonic() < deadline, f"no {what} within {within_s} s:\n{self.output.read_text()}"
            time.sleep(0.2)

    def rows(self, sql: str) -> list[dict[str, Any]]:
        request = urllib.request.Request(f"{self.clickhouse}/", f"{sql} FORMAT JSON".encode())
        with urllib.request.urlopen(request, timeout=30) as response:
            rows: list[dict[str, Any]] = json.load(response)["data"]
            return rows

    def get(self, setting: str, path: str) -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.ports[setting]}{path}", timeout=30) as response:
            return json.load(response)

    def children(self) -> list[psutil.Process]:
        assert self.process is not None
        return psutil.Process(self.process.pid).children(recursive=True)

    def end(self, number: int) -> float:
        """Seconds until it had ended, with every child."""
        assert self.process is not None
        children = self.children()
        started = time.monotonic()
        self.process.send_signal(number)
        self.process.wait(60)
        _, alive = psutil.wait_procs(children, timeout=20)
        assert not alive
        return time.monotonic() - started


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    up = Up(tmp_path / "data")
    yield up
    if up.process is not None and up.process.poll() is None:
        up.process.terminate()
        up.process.wait(60)


def newest(up: Up) -> dict[str, Any]:
    rows = up.rows(
        "SELECT toUnixTimestamp(BucketTime) AS Bucket, OnlineUsers, OnlineRooms FROM roompulse.app_10s FINAL "
        "WHERE SdkAppId = 1400000001 ORDER BY BucketTime DESC LIMIT 1"
    )
    return rows[0] if rows else {}


def test_numbers_move_callbacks_verify_and_a_second_start_continues(up: Up) -> None:
    up.start()
    first = up.until(lambda: newest(up), "a first bucket")
    assert first["OnlineUsers"] > 0
    up.until(lambda: newest(up)["Bucket"] > first["Bucket"], "a newer bucket")
    counters = up.until(
        lambda: (seen := up.get("ROOMPULSE_DEMO_RECEIVER_PORT", "/"))["Verified"] >= 10 and seen, "verified callbacks"
    )
    assert counters["Failed"] == 0
    up.until(
        lambda: up.rows("SELECT count() AS n FROM roompulse.deliveries FINAL WHERE Outcome = 'delivered'")[0]["n"],
        "delivery rows",
    )
    assert up.end(signal.SIGINT) < 10
    assert up.process is not None
    assert up.process.returncode == 0

    up.start()
    kept = up.rows(f"SELECT count() AS n FROM roompulse.app_10s FINAL WHERE BucketTime = {first['Bucket']}")
    assert int(kept[0]["n"]) == 1
    last = newest(up)
    up.until(lambda: newest(up)["Bucket"] > last["Bucket"], "a bucket after the second start")


def test_a_killed_service_comes_back_and_a_killed_supervisor_leaves_nothing(up: Up) -> None:
    up.start("--no-demo")

    def ingest() -> psutil.Process | None:
        for child in up.children():
            # Who was killed is a zombie until the supervisor has looked.
            with contextlib.suppress(psutil.Error):
                if child.cmdline()[-1:] == ["ingest"]:
                    return child
        return None

    killed = ingest()
    assert killed is not None
    killed.kill()
    up.until(lambda: (found := ingest()) is not None and found.pid != killed.pid, "another ingest")
    up.until(lambda: up.get("ROOMPULSE_INGEST_PORT", "/readyz")["Ready"], "a ready ingest")
    up.end(signal.SIGKILL)
    up.start("--no-demo")


def test_what_hinders_a_start_is_one_line(up: Up) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", up.ports["ROOMPULSE_INGEST_PORT"]))
        other.listen()
        done = run_up(up)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert f"port {up.ports['ROOMPULSE_INGEST_PORT']} is in use" in done.stderr

    up.start("--no-demo")
    second = run_up(up)
    assert second.returncode == 1
    assert second.stderr.count("\n") == 1
    assert "another `roompulse up`" in second.stderr


def run_up(up: Up) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "services", "up", "--data", str(up.data)],
        env=up.environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
