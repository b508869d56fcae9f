"""`python -m tests.bench.ingest`: CPU time of ingest for each report, through real HTTP and a real broker.

The load comes from this process, so on a small machine requests per second say little; CPU time per report does.
"""

from __future__ import annotations

import asyncio
import gzip
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click
import msgspec
import psutil

from services.console.publisher import publish_applications
from services.console.store import ApplicationStore
from services.runtime import usersig
from services.runtime.clock import now_ms
from services.runtime.topics import ensure_topics
from tests.support.clickhouse import free_port
from tests.support.kafka import KafkaBroker
from tests.support.stack import settings_of

SAMPLES = 5
USERS = 2000


def report(sdk_app_id: int, user_sig: str, user: int, seq: int, now: int) -> bytes:
    """One report of five samples with two streams each, about 2.2 kB."""
    samples = [
        {
            "StartMs": now - 2000 * (SAMPLES - place),
            "DurMs": 2000,
            "AppCpu": 12.5,
            "SysCpu": 40.25,
            "Rtt": 31,
            "UpLoss": 0.5,
            "DownLoss": 0,
            "SentBytes": 123456,
            "ReceivedBytes": 234567,
            "Local": [{"Type": "big", "Bitrate": 800000, "Width": 1280, "Height": 720, "EncFps": 15, "CapFps": 15}],
            "Remote": [
                {
                    "UserId": f"peer_{user}",
                    "Type": "big",
                    "Bitrate": 750000,
                    "Loss": 0.2,
                    "Width": 1280,
                    "Height": 720,
                    "DecFps": 15,
                    "JitterMs": 12,
                    "PlayMs": 2000,
                    "Stutters": [[now - 9000, 700]] if place == 0 else [],
                }
            ],
        }
        for place in range(SAMPLES)
    ]
    return msgspec.json.encode(
        {
            "SdkAppId": sdk_app_id,
            "UserId": f"user_{user}",
            "UserSig": user_sig,
            "RoomId": 1 + user // 20,
            "SessionId": f"session-{user}",
            "Seq": seq,
            "SentMs": now,
            "Samples": samples,
            "Events": [],
        }
    )


def request(body: bytes, *, packed: bool) -> bytes:
    """The bytes of a request."""
    encoding = "Content-Encoding: gzip\r\n" if packed else ""
    if packed:
        body = gzip.compress(body, 6)
    head = f"POST /v1/reports HTTP/1.1\r\nHost: x\r\n{encoding}Content-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def pour(port: int, requests: list[bytes], connections: int) -> int:
    """Send the requests over so many connections; how many were answered with 200."""
    good = 0
    iterator = iter(requests)

    async def work() -> None:
        nonlocal good
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for data in iterator:
            writer.write(data)
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
            await reader.readexactly(length)
            good += head.startswith(b"HTTP/1.1 200")
        writer.close()

    await asyncio.gather(*(work() for _ in range(connections)))
    return good


async def measure(port: int, ingest: psutil.Process, requests: list[bytes], name: str, connections: int) -> None:
    """Pour and print."""
    before, began = ingest.cpu_times(), time.perf_counter()
    good = await pour(port, requests, connections)
    wall, after = time.perf_counter() - began, ingest.cpu_times()
    cpu = after.user + after.system - before.user - before.system
    rss = ingest.memory_info().rss >> 20
    click.echo(
        f"{name:<10} {good} of {len(requests)} accepted, {good / wall:,.0f}/s, "
        f"{cpu / len(requests) * 1e6:.0f} µs CPU each, {rss} MB"
    )


async def main(count: int, connections: int) -> None:
    """Start a broker and ingest in an empty folder, pour reports in."""
    with tempfile.TemporaryDirectory() as folder, KafkaBroker(Path(folder) / "kafka", free_port()) as kafka:
        environment = {
            "ROOMPULSE_DATA": folder,
            "ROOMPULSE_KAFKA_BOOTSTRAP": kafka.bootstrap,
            "ROOMPULSE_INGEST_PORT": str(free_port()),
        }
        settings = settings_of(environment)
        await ensure_topics(settings)
        store = ApplicationStore(settings)
        application = store.create("bench")
        store.close()
        await publish_applications(settings, [application])
        profile = ["-m", "cProfile", "-o", os.environ["PROFILE"]] if "PROFILE" in os.environ else []
        process = subprocess.Popen(  # noqa: ASYNC220
            [sys.executable, *profile, "-m", "services", "ingest"], env={**os.environ, **environment}
        )
        try:
            now = now_ms()
            sigs = [
                usersig.generate(application.sdk_app_id, application.secret_key, f"user_{user}", now=now // 1000)
                for user in range(USERS)
            ]
            for name, packed in (("warm-up", True), ("gzip", True), ("plain", False), ("again", True)):
                requests = [
                    request(
                        report(application.sdk_app_id, sigs[n % USERS], n % USERS, 1 + n // USERS, now), packed=packed
                    )
                    for n in range(count // 10 if name == "warm-up" else count)
                ]
                if name == "warm-up":
                    await _ready(settings.ingest_port)
                await measure(settings.ingest_port, psutil.Process(process.pid), requests, name, connections)
        finally:
            process.terminate()
            process.wait()


async def _ready(port: int) -> None:
    for _ in range(300):
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            answer = await reader.read()
            writer.close()
            if b" 200 " in answer[:20]:
                return
        except OSError:
            pass
        await asyncio.sleep(0.1)
    raise TimeoutError("ingest is not ready")


@click.command()
@click.option("--count", default=20_000, help="Reports of each measurement.")
@click.option("--connections", default=200)
def bench(count: int, connections: int) -> None:
    """CPU time of ingest for each report."""
    asyncio.run(main(count, connections))


if __name__ == "__main__":
    bench()
