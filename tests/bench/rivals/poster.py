"""No Kafka, no signing, no vetting, no record: bare aiohttp posts bytes that lie ready, as fast as it can."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

import aiohttp
import msgspec
import uvloop

CONCURRENCY = 64

Request = tuple[str, dict[str, str], str]
"""URL, headers and body."""


async def post_all(requests: list[Request]) -> None:
    """Every request once, so many at a time."""
    left = iter(requests)

    async def work(session: aiohttp.ClientSession) -> None:
        for url, headers, body in left:
            async with session.post(url, data=body.encode(), headers=headers) as response:
                await response.read()
                response.raise_for_status()

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        await asyncio.gather(*(work(session) for _ in range(CONCURRENCY)))


if __name__ == "__main__":
    requests = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=list[Request])
    uvloop.run(post_all(requests[: len(requests) // 10]))
    cpu, wall = time.process_time(), time.perf_counter()
    uvloop.run(post_all(requests))
    used = {
        "deliveries": len(requests),
        "cpu_s": time.process_time() - cpu,
        "wall_s": time.perf_counter() - wall,
    }
    sys.stdout.write(msgspec.json.encode(used).decode() + "\n")
