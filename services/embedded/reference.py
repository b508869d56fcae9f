"""`python -m services.embedded.reference` writes the tables into docs/tables.md, from a database of its own."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import tempfile
from pathlib import Path

import aiohttp

from services.embedded.children import Child
from services.processor.reference import PAGE, page
from services.runtime.clickhouse import migrate
from services.runtime.settings import Settings

_READY_WITHIN_S = 120.0
_STOP_WITHIN_S = 10.0


async def write() -> None:
    """Start ClickHouse in a folder that is gone afterwards, make the tables, write the page."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(data=Path(folder), clickhouse_url=f"http://127.0.0.1:{_free_port()}")
        environment = {
            **os.environ,
            "ROOMPULSE_DATA": folder,
            "ROOMPULSE_HOST": "127.0.0.1",
            "ROOMPULSE_CLICKHOUSE_URL": settings.clickhouse_url,
        }
        command = [sys.executable, "-m", "services.embedded.clickhouse"]
        server = Child("clickhouse", command, environment, settings.data / "clickhouse.log")
        await server.start()
        try:
            await asyncio.wait_for(_ready(settings.clickhouse_url), _READY_WITHIN_S)
            await migrate(settings)
            PAGE.write_text(await page(settings), "utf-8")
        finally:
            await server.stop(_STOP_WITHIN_S)


async def _ready(url: str) -> None:
    async with aiohttp.ClientSession() as session:
        while True:
            try:
                async with session.get(f"{url}/ping") as answer:
                    if answer.status == 200:
                        return
            except aiohttp.ClientError:
                await asyncio.sleep(0.1)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


if __name__ == "__main__":
    asyncio.run(write())
