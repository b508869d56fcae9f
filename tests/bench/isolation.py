"""`python -m tests.bench.isolation`: what endpoints that hang cost the others, from a real broker to real sockets.

Events go onto Kafka at a steady rate, as ingest puts them there, spread evenly over endpoints. Some of these accept
every request and do not answer before the time for it is over. Measured is the time from Kafka's acceptance of an event
to the arrival of its callback's last byte, at the endpoints that are well. Each share of hanging endpoints has a broker
and a dispatcher of its own; the load and the receiver are this process.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import quantiles

import click
import msgspec
import psutil
from aiokafka import AIOKafkaProducer

from schemas.keys import event_key
from schemas.topics import EVENTS
from services.console.publisher import publish_applications
from services.console.store import ApplicationStore
from services.runtime.clock import now_ms
from services.runtime.topics import ensure_topics
from tests.integration.dispatching import room_event
from tests.support.clickhouse import free_port
from tests.support.kafka import KafkaBroker
from tests.support.stack import settings_of

ROOMS = 20
HANG_S = 5.5
WARM_UP_S = 3.0
SETTLE_S = 3.0
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


class _Body(msgspec.Struct):
    CallbackTs: int


class Customer(asyncio.Protocol):
    """A connection of a server that notes when callbacks come; paths that begin with `/hanging` get no answer."""

    latencies: dict[bool, list[int]]
    in_the_air: int
    most_in_the_air: int

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._data = b""
        self._waits = False

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        self._data += data
        while (end := self._data.find(b"\r\n\r\n")) >= 0:
            head = self._data[:end]
            length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
            if len(self._data) < end + 4 + length:
                return
            body = self._data[end + 4 : end + 4 + length]
            self._data = self._data[end + 4 + length :]
            hanging = head.startswith(b"POST /hanging")
            Customer.latencies[hanging].append(now_ms() - msgspec.json.decode(body, type=_Body).CallbackTs)
            if hanging:
                self._waits = True
                Customer.in_the_air += 1
                Customer.most_in_the_air = max(Customer.most_in_the_air, Customer.in_the_air)
                asyncio.get_running_loop().call_later(HANG_S, self._transport.write, ANSWER)
            else:
                self._transport.write(ANSWER)

    def connection_lost(self, error: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        Customer.in_the_air -= self._waits


async def measure(endpoints: int, hanging: int, rate: float, seconds: float) -> None:
    """One share of hanging endpoints, in an empty folder."""
    with tempfile.TemporaryDirectory() as folder, KafkaBroker(Path(folder) / "kafka", free_port()) as kafka:
        environment = {
            "ROOMPULSE_DATA": folder,
            "ROOMPULSE_KAFKA_BOOTSTRAP": kafka.bootstrap,
            "ROOMPULSE_DISPATCHER_PORT": str(free_port()),
            "ROOMPULSE_CALLBACK_ALLOW": "127.0.0.0/8",
        }
        settings = settings_of(environment)
        await ensure_topics(settings)
        Customer.latencies, Customer.in_the_air, Customer.most_in_the_air = {True: [], False: []}, 0, 0
        server = await asyncio.get_running_loop().create_server(Customer, "127.0.0.1", 0, backlog=2048)
        port = server.sockets[0].getsockname()[1]
        store = ApplicationStore(settings)
        applications = []
        for number in range(endpoints):
            kind = "hanging" if number < hanging else "well"
            created = store.create(f"app_{number}")
            url = f"http://127.0.0.1:{port}/{kind}/{number}"
            applications.append(store.set_callback(created.sdk_app_id, key="Key1", room_url=url))
        store.close()
        await publish_applications(settings, applications)
        process = subprocess.Popen(  # noqa: ASYNC220
            [sys.executable, "-m", "services", "dispatcher"], env={**os.environ, **environment}
        )
        producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, linger_ms=1)
        await producer.start()
        sent = [0, 0]

        async def pour(duration: float) -> None:
            began = time.perf_counter()
            number = 0
            while (now := time.perf_counter() - began) < duration:
                while number < now * rate:
                    place = number % endpoints
                    event = room_event(applications[place], 1 + number // endpoints % ROOMS, f"user_{number}")
                    key = event_key(event.sdk_app_id, event.room_id, event.task_id)
                    await producer.send(EVENTS.name, key=key, value=msgspec.json.encode(event))
                    sent[place < hanging] += 1
                    number += 1
                await asyncio.sleep(0.002)

        try:
            # The dispatcher starts while the first of them are there already; what they show is not counted.
            await pour(0.1)
            async with asyncio.timeout(60):
                while not Customer.latencies[False]:
                    await asyncio.sleep(0.1)
            await pour(WARM_UP_S)
            await asyncio.sleep(SETTLE_S)
            Customer.latencies[False].clear()
            sent[:] = [0, 0]
            dispatcher = psutil.Process(process.pid)
            before = dispatcher.cpu_times()
            await pour(seconds)
            await asyncio.sleep(SETTLE_S)
            after, megabytes = dispatcher.cpu_times(), dispatcher.memory_info().rss >> 20
        finally:
            await producer.stop()
            process.terminate()
            process.wait(60)
            server.close()
        well = Customer.latencies[False]
        cuts = quantiles(well, n=100)
        cpu = after.user + after.system - before.user - before.system
        click.echo(
            f"{hanging:>3} of {endpoints} hang: {len(well)} of {sent[0]} callbacks at the others, "
            f"p50 {cuts[49]:.0f} ms, p99 {cuts[98]:.0f} ms, most {max(well)} ms; at most {Customer.most_in_the_air} "
            f"hanging requests in the air; {cpu:.1f} s of CPU time in {seconds + SETTLE_S:.0f} s, {megabytes} MB"
        )


@click.command()
@click.option("--endpoints", default=100, show_default=True)
@click.option("--rate", default=1000.0, show_default=True, help="Callbacks a second in all.")
@click.option("--seconds", default=20.0, show_default=True)
@click.option("--share", "shares", multiple=True, type=float, default=(0.0, 0.1, 0.3), show_default=True)
def command(endpoints: int, rate: float, seconds: float, shares: tuple[float, ...]) -> None:
    """Measure with each share of the endpoints hanging."""
    for share in shares:
        asyncio.run(measure(endpoints, round(endpoints * share), rate, seconds))


if __name__ == "__main__":
    command()
