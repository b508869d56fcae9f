"""Names are looked up in threads."""

from __future__ import annotations

import asyncio
import errno
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


class Servers:
    """Name servers, for all or for single names out of order."""

    def __init__(self) -> None:
        self.broken: dict[str, OSError] = {}
        self.all_broken: OSError | None = None
        self.silent = threading.Event()
        self.silent.set()
        self.asked: list[str] = []

    def __call__(self, host: str, port: int, *_: Any) -> list[Any]:
        self.asked.append(host)
        self.silent.wait(10)
        if (error := self.all_broken or self.broken.get(host)) is not None:
            raise error
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", port))]


AGAIN = socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
UNKNOWN = socket.gaierror(socket.EAI_NONAME, "Name or service not known")


async def failure_of(names: ThreadResolver, host: str) -> OSError:
    with pytest.raises(OSError) as failed:  # noqa: PT011
        await names.resolve(host)
    return failed.value


async def test_a_name_that_fails_alone_is_its_owners_trouble() -> None:
    servers = Servers()
    names = ThreadResolver(servers)
    await names.resolve("well.example")
    servers.broken["a.example"] = AGAIN
    assert not await names.failed_by_us("a.example", await failure_of(names, "a.example"))


async def test_where_no_name_is_found_any_more_it_is_ours() -> None:
    servers = Servers()
    names = ThreadResolver(servers)
    # With no other name to compare with, it is not the customer who has to pay.
    servers.broken["a.example"] = AGAIN
    assert await names.failed_by_us("a.example", await failure_of(names, "a.example"))
    await names.resolve("well.example")
    servers.all_broken = AGAIN
    error = await failure_of(names, "a.example")
    asked = len(servers.asked)
    assert await asyncio.gather(*(names.failed_by_us("a.example", error) for _ in range(20))) == [True] * 20
    assert servers.asked[asked:] == ["well.example"], "one check is enough for all"


async def test_an_unknown_name_is_its_owners_trouble_whatever_else() -> None:
    servers = Servers()
    names = ThreadResolver(servers)
    servers.all_broken = UNKNOWN
    assert not await names.failed_by_us("a.example", await failure_of(names, "a.example"))


@pytest.mark.parametrize("number", [socket.EAI_SYSTEM, socket.EAI_MEMORY, errno.EMFILE])
async def test_what_the_system_lacks_is_ours(number: int) -> None:
    servers = Servers()
    names = ThreadResolver(servers)
    await names.resolve("well.example")
    servers.broken["a.example"] = OSError(number, "no more")
    assert await names.failed_by_us("a.example", await failure_of(names, "a.example"))


async def test_threads_that_cannot_be_started_are_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    names = ThreadResolver(Servers())
    monkeypatch.setattr(threading.Thread, "start", start)
    assert await names.failed_by_us("a.example", await failure_of(names, "a.example"))


async def test_silent_name_servers_are_ours_and_one_that_is_silent_alone_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(resolver, "CHECK_WITHIN_S", 0.2)
    monkeypatch.setattr(resolver, "_CHECK_HOLDS_S", 0.0)
    silent = threading.Event()

    def look_up(host: str, *arguments: Any) -> list[Any]:
        if host == "silent.example":
            silent.wait(10)
        return servers(host, *arguments)

    servers = Servers()
    names = ThreadResolver(look_up)
    await names.resolve("well.example")
    alone = asyncio.create_task(names.resolve("silent.example"))
    await asyncio.sleep(0.05)
    assert not await names.stuck_by_us("silent.example")
    assert not await names.stuck_by_us("well.example")
    servers.silent.clear()
    assert await names.stuck_by_us("silent.example")
    silent.set()
    servers.silent.set()
    await alone
    assert not await names.stuck_by_us("silent.example")


async def test_a_name_that_waits_behind_others_is_delayed_by_us(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolver, "MAX_LOOKUPS", 1)
    servers = Servers()
    names = ThreadResolver(servers)
    await names.resolve("well.example")
    servers.silent.clear()
    tasks = [asyncio.create_task(names.resolve(host)) for host in ("silent.example", "next.example")]
    await asyncio.sleep(0.05)
    assert await names.stuck_by_us("next.example")
    servers.silent.set()
    await asyncio.gather(*tasks)
    assert not await names.stuck_by_us("next.example")
