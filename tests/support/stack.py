"""All of Roompulse as processes on free ports, each of which a test may kill and start again."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import urllib.request
from typing import TYPE_CHECKING, Self

import psutil

from services.runtime.settings import Settings
from tests.support.clickhouse import ClickHouseServer, free_port
from tests.support.kafka import KafkaBroker

if TYPE_CHECKING:
    from pathlib import Path

SERVICES = ("ingest", "processor", "dispatcher", "console")


class ServiceProcess:
    """One `roompulse SERVICE` process."""

    def __init__(self, name: str, settings: Settings, environment: dict[str, str]) -> None:
        self.name = name
        self.log = settings.data / "logs" / f"{name}.log"
        ports = {
            "ingest": settings.ingest_port,
            "processor": settings.processor_port,
            "dispatcher": settings.dispatcher_port,
            "console": settings.console_port,
        }
        self.url = f"http://{settings.host}:{ports[name]}"
        self._environment = environment
        self.process: subprocess.Popen[bytes] | None = None

    def launch(self) -> None:
        """Start it without waiting."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "services", self.name],
                env={**os.environ, **self._environment},
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def wait_ready(self, timeout: float = 60.0) -> None:
        """Return when its `/readyz` says so."""
        deadline = time.monotonic() + timeout
        while not self.ready():
            assert self.process is not None
            if self.process.poll() is not None:
                raise RuntimeError(f"{self.name} ended with {self.process.returncode}:\n{self.last_lines()}")
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.name} not ready within {timeout} s:\n{self.last_lines()}")
            time.sleep(0.1)

    def ready(self) -> bool:
        """Whether its `/readyz` answers 200."""
        try:
            with urllib.request.urlopen(f"{self.url}/readyz", timeout=2) as response:
                return bool(response.status == 200)
        except OSError:
            return False

    def kill9(self) -> None:
        """End it without warning."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.process = None

    def stop(self, timeout: float = 15.0) -> int:
        """SIGTERM; its exit status. A process that does not end in time fails the test."""
        if self.process is None:
            return 0
        self.process.terminate()
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        finally:
            self.process = None

    def last_lines(self, count: int = 20) -> str:
        """The end of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-count:])


class Stack:
    """Kafka, ClickHouse and the services on one data folder.

    `kafka` and `clickhouse` may be servers that run already and are left running.
    """

    def __init__(
        self,
        data: Path,
        *,
        kafka: KafkaBroker | None = None,
        clickhouse: ClickHouseServer | None = None,
        database: str = "roompulse",
        **overrides: str,
    ) -> None:
        self._owns_kafka = kafka is None
        self._owns_clickhouse = clickhouse is None
        self.kafka = kafka or KafkaBroker(data, free_port())
        self.clickhouse = clickhouse or ClickHouseServer(data)
        self.environment = {
            "ROOMPULSE_DATA": str(data),
            "ROOMPULSE_HOST": "127.0.0.1",
            "ROOMPULSE_KAFKA_BOOTSTRAP": self.kafka.bootstrap,
            "ROOMPULSE_CLICKHOUSE_URL": self.clickhouse.url,
            "ROOMPULSE_CLICKHOUSE_DATABASE": database,
            "ROOMPULSE_CONSOLE_PORT": str(free_port()),
            "ROOMPULSE_INGEST_PORT": str(free_port()),
            "ROOMPULSE_PROCESSOR_PORT": str(free_port()),
            "ROOMPULSE_DISPATCHER_PORT": str(free_port()),
            "ROOMPULSE_DEMO_RECEIVER_PORT": str(free_port()),
            "ROOMPULSE_CALLBACK_ALLOW": "127.0.0.0/8",
            **overrides,
        }
        self.settings = settings_of(self.environment)
        self.services = {name: ServiceProcess(name, self.settings, self.environment) for name in SERVICES}

    def start(self, *names: str) -> Self:
        """Start the servers of its own and the named services (all without names), and wait until they are ready."""
        if self._owns_kafka:
            self.kafka.start()
        if self._owns_clickhouse:
            self.clickhouse.start()
        chosen = [self.services[name] for name in names or SERVICES]
        for service in chosen:
            service.launch()
        for service in chosen:
            service.wait_ready()
        return self

    def stop(self) -> None:
        """Stop everything of its own."""
        for service in self.services.values():
            service.stop()
        if self._owns_clickhouse:
            self.clickhouse.stop()
        if self._owns_kafka:
            self.kafka.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class Up:
    """`roompulse up --no-demo` on a data folder, whose parts a test may freeze and kill.

    Whatever is killed the supervisor starts again, `kill9_everything` excepted: then `start` does.
    """

    SERVERS = ("kafka", "clickhouse")

    def __init__(self, data: Path, **overrides: str) -> None:
        self.environment = {
            "ROOMPULSE_DATA": str(data),
            "ROOMPULSE_KAFKA_BOOTSTRAP": f"127.0.0.1:{free_port()}",
            "ROOMPULSE_CLICKHOUSE_URL": f"http://127.0.0.1:{free_port()}",
            **{f"ROOMPULSE_{name.upper()}_PORT": str(free_port()) for name in SERVICES},
            "ROOMPULSE_CALLBACK_ALLOW": "127.0.0.0/8",
            **overrides,
        }
        self.settings = settings_of(self.environment)
        self.output = data.parent / f"{data.name}.out"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, timeout: float = 120.0) -> Self:
        """Start it and wait until it says that it is up."""
        said = self.output.stat().st_size if self.output.exists() else 0
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "services", "up", "--no-demo"],
                env={**os.environ, **self.environment},
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        deadline = time.monotonic() + timeout
        while b"Roompulse is up." not in self.output.read_bytes()[said:]:
            if self.process.poll() is not None:
                raise RuntimeError(f"up ended with {self.process.returncode}:\n{self.output.read_text()}")
            if time.monotonic() > deadline:
                raise TimeoutError(f"not up within {timeout} s:\n{self.output.read_text()}")
            time.sleep(0.05)
        return self

    def parts(self) -> dict[str, psutil.Process]:
        """The running servers and services by name."""
        assert self.process is not None
        found = {}
        for child in psutil.Process(self.process.pid).children():
            with contextlib.suppress(psutil.NoSuchProcess):
                words = child.cmdline()
                if "kafka.Kafka" in words:
                    found["kafka"] = child
                elif words:
                    found[words[-1].rpartition(".")[2]] = child
        return found

    def ready(self, name: str) -> bool:
        """Whether a service or ClickHouse answers 200 to `/readyz`."""
        ports = {
            "ingest": self.settings.ingest_port,
            "processor": self.settings.processor_port,
            "dispatcher": self.settings.dispatcher_port,
            "console": self.settings.console_port,
            "clickhouse": self.settings.clickhouse_port,
        }
        try:
            with urllib.request.urlopen(f"http://{self.settings.host}:{ports[name]}/readyz", timeout=2) as response:
                return bool(response.status == 200)
        except OSError:
            return False

    def kill9_everything(self) -> None:
        """End the supervisor and all parts at one moment: none sees another one die."""
        assert self.process is not None
        processes = [psutil.Process(self.process.pid), *self.parts().values()]
        for process in processes:
            process.suspend()
        for process in processes:
            process.kill()
        self.process.wait()
        psutil.wait_procs(processes[1:], timeout=30)
        self.process = None

    def stop(self, timeout: float = 20.0) -> int:
        """SIGTERM; its exit status."""
        if self.process is None:
            return 0
        self.process.terminate()
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill9_everything()
            raise
        finally:
            self.process = None

    def __enter__(self) -> Self:
        return self if self.process else self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


def settings_of(environment: dict[str, str]) -> Settings:
    """The settings that a process with this environment reads."""
    names = {f"ROOMPULSE_{name.upper()}": name for name in Settings.model_fields}
    return Settings.model_validate({names[key]: value for key, value in environment.items() if key in names})
