"""`roompulse up`: the embedded servers, every service and a demo, as one thing to start and stop."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import socket
import sys
from functools import partial
from typing import TYPE_CHECKING, TextIO

import aiohttp
import click
import structlog

from services.console.publisher import publish_applications
from services.console.store import ApplicationStore, DatabaseUnusable, UnknownApplication
from services.embedded import kafka
from services.embedded.children import Child
from services.runtime.clickhouse import migrate
from services.runtime.logging import configure_logging
from services.runtime.secrets import SecretBox, SecretKeyError
from services.runtime.service import CannotStart
from services.runtime.topics import TopicMismatch, ensure_topics

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from schemas.applications import Application
    from services.runtime.settings import Settings

log = structlog.get_logger(__name__)

DEMO_SDK_APP_ID = 1400000001
DEMO_CALLBACK_KEY = "Demo0Callback0Key"
SERVICES = ("ingest", "processor", "dispatcher", "console")
READY_WITHIN_S = 120.0
STOP_SERVICES_WITHIN_S = 4.0
STOP_SERVERS_WITHIN_S = 3.5


def up_forever(settings: Settings, *, demo: bool) -> int:
    """Run until SIGINT or SIGTERM. Returns the exit status; what hinders the start is one line."""
    configure_logging(settings, "up")
    try:
        return asyncio.run(_Supervisor(settings, demo=demo).run())
    except (CannotStart, DatabaseUnusable, SecretKeyError, TopicMismatch) as error:
        click.echo(f"roompulse up: {error}", err=True)
        return 1


class _Supervisor:
    def __init__(self, settings: Settings, *, demo: bool) -> None:
        self._settings = settings.model_copy(update={"data": settings.data.absolute()})
        self._demo = demo
        self._servers: list[Child] = []
        self._services: list[Child] = []
        self._stopping = asyncio.Event()

    async def run(self) -> int:
        settings = self._settings
        lock = _lock_data_folder(settings.data)
        try:
            self._check_ports()
            loop = asyncio.get_running_loop()
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.add_signal_handler(number, self._stopping.set)
            SecretBox.from_settings(settings)
            # Off the event loop: the first start may have to download the broker.
            broker = await asyncio.to_thread(kafka.prepare, settings)
            try:
                if await self._unless_stopped(self._start(broker)):
                    await self._stopping.wait()
            finally:
                click.echo("stopping …")
                await self._stop()
        finally:
            lock.close()
        return 0

    async def _start(self, broker: kafka.BrokerCommand) -> None:
        settings = self._settings
        click.echo("starting Kafka and ClickHouse …")
        self._servers = [
            self._child("kafka", broker.argv, broker.env),
            self._child("clickhouse", [sys.executable, "-m", "services.embedded.clickhouse"]),
        ]
        for server in self._servers:
            await server.start()
        await asyncio.gather(
            self._ready("kafka", lambda: kafka.wait_ready(settings.kafka_bootstrap, READY_WITHIN_S)),
            self._ready("clickhouse", lambda: self._answers(f"{settings.clickhouse_url}/ping")),
        )
        await ensure_topics(settings)
        await migrate(settings)
        if self._demo:
            await publish_applications(settings, [self._demo_application()])
        click.echo("starting the services …")
        names = [*SERVICES, "receiver"] if self._demo else [*SERVICES]
        self._services = [self._child(name, [*_command(), name]) for name in names]
        for service in self._services:
            await service.start()
        base = f"http://{settings.host}"
        ports = {
            "ingest": settings.ingest_port,
            "processor": settings.processor_port,
            "dispatcher": settings.dispatcher_port,
            "console": settings.console_port,
        }
        await asyncio.gather(
            *(self._ready(name, partial(self._answers, f"{base}:{port}/readyz")) for name, port in ports.items())
        )
        if self._demo:
            await self._start_simulator()
        click.echo(self._banner())

    async def _start_simulator(self) -> None:
        argv = [*_command(), "simulate", "--sdkappid", str(DEMO_SDK_APP_ID), "--duration", "0", "--speed", "1"]
        simulator = self._child("simulator", argv)
        self._services.insert(0, simulator)
        await simulator.start()

    async def _stop(self) -> None:
        await asyncio.gather(*(child.stop(STOP_SERVICES_WITHIN_S) for child in self._services))
        await asyncio.gather(*(child.stop(STOP_SERVERS_WITHIN_S) for child in self._servers))

    async def _unless_stopped(self, work: Awaitable[None]) -> bool:
        """Do the work; give up, and say so with False, when a signal comes first."""
        working = asyncio.ensure_future(work)
        stopped = asyncio.ensure_future(self._stopping.wait())
        await asyncio.wait({working, stopped}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if working.done():
            working.result()
            return True
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
        return False

    def _child(self, name: str, argv: list[str], env: dict[str, str] | None = None) -> Child:
        return Child(name, argv, env or self._environment(), self._settings.data / "logs" / f"{name}.log")

    def _environment(self) -> dict[str, str]:
        settings = self._settings
        return {
            # Everything is on this machine, and so may be the customer's server that somebody tries out. Where the
            # services run apart, nothing but public addresses is called unless the operator says so.
            "ROOMPULSE_CALLBACK_ALLOW": "127.0.0.0/8,::1/128",
            **os.environ,
            "ROOMPULSE_DATA": str(settings.data),
            "PYTHONUNBUFFERED": "1",
        }

    def _check_ports(self) -> None:
        settings = self._settings
        ports = {
            "ROOMPULSE_CONSOLE_PORT": settings.console_port,
            "ROOMPULSE_INGEST_PORT": settings.ingest_port,
            "ROOMPULSE_PROCESSOR_PORT": settings.processor_port,
            "ROOMPULSE_DISPATCHER_PORT": settings.dispatcher_port,
            "ROOMPULSE_CLICKHOUSE_URL": settings.clickhouse_port,
            "ROOMPULSE_KAFKA_BOOTSTRAP": settings.kafka_port,
        }
        if self._demo:
            ports["ROOMPULSE_DEMO_RECEIVER_PORT"] = settings.demo_receiver_port
        for setting, port in ports.items():
            if not _is_free(settings.host, port):
                raise CannotStart(
                    f"port {port} is in use by another program; stop it, or choose another port with {setting}"
                )

    def _demo_application(self) -> Application:
        store = ApplicationStore(self._settings)
        try:
            try:
                return store.get(DEMO_SDK_APP_ID)
            except UnknownApplication:
                store.create("demo", sdk_app_id=DEMO_SDK_APP_ID)
            url = f"http://{self._settings.host}:{self._settings.demo_receiver_port}/callback"
            return store.set_callback(
                DEMO_SDK_APP_ID, key=DEMO_CALLBACK_KEY, room_url=url, media_url=url, recording_url=url, relay_url=url
            )
        finally:
            store.close()

    async def _ready(self, name: str, wait: Callable[[], Awaitable[None]]) -> None:
        try:
            await asyncio.wait_for(wait(), READY_WITHIN_S)
        except TimeoutError as error:
            child = next(child for child in (*self._servers, *self._services) if child.name == name)
            raise CannotStart(
                f"{name} is not ready after {READY_WITHIN_S:.0f} s; "
                f"its log {child.log_file} ends with\n{child.last_lines()}"
            ) from error

    async def _answers(self, url: str) -> None:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as session:
            while True:
                try:
                    async with session.get(url) as response:
                        if response.status == 200:
                            return
                except (aiohttp.ClientError, TimeoutError):
                    pass
                await asyncio.sleep(0.1)

    def _banner(self) -> str:
        settings = self._settings
        lines = [
            "",
            "Roompulse is up.",
            f"  console     http://{settings.host}:{settings.console_port}",
            f"  ingest      http://{settings.host}:{settings.ingest_port}",
            f"  ClickHouse  {settings.clickhouse_url}  (database {settings.clickhouse_database})",
            f"  Kafka       {settings.kafka_bootstrap}",
            f"  data, logs  {settings.data}",
        ]
        if self._demo:
            lines += [
                f"  demo        application {DEMO_SDK_APP_ID}, simulated rooms,",
                f"              its customer's server http://{settings.host}:{settings.demo_receiver_port}",
            ]
        return "\n".join([*lines, "Ctrl-C stops everything.", ""])


def _command() -> list[str]:
    return [sys.executable, "-m", "services"]


def _is_free(host: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def _lock_data_folder(data: Path) -> TextIO:
    """One `roompulse up` a data folder. The lock goes with the process, however it ends."""
    try:
        data.mkdir(parents=True, exist_ok=True)
        lock = (data / "up.lock").open("w")
    except OSError as error:
        raise CannotStart(f"the data folder {data} cannot be used: {error.strerror}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        lock.close()
        raise CannotStart(f"another `roompulse up` uses the data folder {data}") from error
    return lock
