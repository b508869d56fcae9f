"""Names are looked up in threads."""

from __future__ import annotations

import asyncio
import socket
import threading
from typing import Any

import pytest

from services.dispatcher import resolver
from services.dispatcher.resolver import ThreadResolver


async def test_addresses_of_a_name() -> None:
    def look_up(*arguments: Any) -> list[Any]:
        assert arguments[:3] == ("a.example", 443, socket.AF_UNSPEC)
        four = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 443))
        six = (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("2001:db8::1", 443, 0, 0))
        return [four, six]

    found = await ThreadResolver(look_up).resolve("a.example", 443, socket.AF_UNSPEC)
    assert [(entry["host"], entry["port"], entry["family"]) for entry in found] == [
        ("192.0.2.1", 443, socket.AF_INET),
        ("2001:db8::1", 443, socket.AF_INET6),
    ]


@pytest.mark.parametrize("error", [socket.gaierror(-2, "unknown"), UnicodeError("label too long")])
async def test_a_name_that_is_none(error: Exception) -> None:
    def look_up(*_: Any) -> list[Any]:
        raise error

    with pytest.raises(OSError, match=r"unknown|label"):
        await ThreadResolver(look_up).resolve("a.example")


async def test_slow_names_are_bounded_and_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolver, "MAX_LOOKUPS", 2)
    release = threading.Event()

    def look_up(host: str, *_: Any) -> list[Any]:
        if host == "slow":
            release.wait(10)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 0))]

    names = ThreadResolver(look_up)
    slow = [asyncio.create_task(names.resolve("slow")) for _ in range(2)]
    quick = asyncio.create_task(names.resolve("quick"))
    await asyncio.sleep(0.05)
    assert not quick.done()
    # Nobody waits for the answer any more, but its thread still runs.
    slow[0].cancel()
    await asyncio.sleep(0.05)
    assert not quick.done()
    release.set()
    assert len(await quick) == 1
    assert len(await slow[1]) == 1
