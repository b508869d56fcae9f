"""The sender over real sockets: spellings that lead inside, names that change their mind, connections that end."""

from __future__ import annotations

import asyncio
import errno
import gzip
import socket
import threading
import time
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from services.dispatcher.addresses import AddressGuard
from services.dispatcher.exchange import REST_S
from services.dispatcher.resolver import ThreadResolver
from services.dispatcher.sender import HttpSender, retry_after_ms
from tests.support.receiver import Received, Receiver, raw, reply

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

INSIDE = {
    "loopback": ["127.0.0.1", "127.255.255.254", "127.1", "127.0.1", "2130706433", "0x7f000001", "0x7f.0.0.1"],
    "loopback, octal": ["0177.0.0.1", "017700000001", "0177.0.0.01", "00127.0.0.1", "127.0.0.01"],
    "loopback, mixed": ["0x7F.1", "0x7f.0x0.0x0.0x1", "0X7F000001", "127.0.0.1.", "%31%32%37.0.0.1", "4429185025"],
    "loopback, by name": ["localhost", "LOCALHOST", "localhost.", "ip6-localhost", "localhost.localdomain"],
    "loopback, not ASCII": ["１２７.０.０.１", "127。0。0。1", "①②⑦.⓪.⓪.①", "ⓛⓞⓒⓐⓛⓗⓞⓢⓣ"],
    "loopback, version 6": ["[::1]", "[0:0:0:0:0:0:0:1]", "[0000::0001]", "[::1%25lo]", "[::ffff:127.0.0.1]"],
    "loopback, 4 in 6": ["[::ffff:7f00:1]", "[0:0:0:0:0:ffff:127.0.0.1]", "[::127.0.0.1]", "[::ffff:0:127.0.0.1]"],
    "this machine": ["0", "0.0", "0x0", "0.0.0.0", "[::]", "[::ffff:0.0.0.0]"],
    "before and after an @": ["user@127.0.0.1", "8.8.8.8@127.0.0.1", "127.0.0.1#@8.8.8.8", "127.0.0.1\\@8.8.8.8"],
    "private": ["10.0.0.1", "10.1", "0x0a000001", "167772161", "172.16.0.1", "192.168.0.1", "192.168.1", "[fd00::1]"],
    "metadata": ["169.254.169.254", "2852039166", "0xa9fea9fe", "0xa9.0xfe.0xa9.0xfe", "0251.0376.0251.0376"],
    "metadata, version 6": ["[fd00:ec2::254]", "[::ffff:a9fe:a9fe]", "[64:ff9b::a9fe:a9fe]", "[2002:a9fe:a9fe::]"],
    "links, carriers, groups": [
        "[fe80::1%25lo]",
        "[fe80::1]",
        "100.64.0.1",
        "224.0.0.1",
        "[ff02::1]",
        "255.255.255.255",
    ],
}
SPELLINGS = [host for hosts in INSIDE.values() for host in hosts]


class Names:
    """A name server that says something else each time, the last answer for the rest."""

    def __init__(self, *answers: list[str]) -> None:
        self._answers = list(answers)
        self.asked = 0

    def __call__(self, host: str, port: int, *_: Any) -> list[Any]:
        self.asked += 1
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        return [
            (socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))
            for address in answer
        ]


@asynccontextmanager
async def sender_to(allowed: str = "", look_up: Callable[..., Any] | None = None) -> AsyncIterator[HttpSender]:
    resolver = ThreadResolver(look_up) if look_up else None
    async with HttpSender(timeout_s=5, guard=AddressGuard(allowed), resolver=resolver) as sender:
        yield sender


@pytest.fixture
def connects(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses that the process tries to connect to."""
    tried: list[str] = []
    original = asyncio.SelectorEventLoop.sock_connect

    async def connect(self: asyncio.SelectorEventLoop, sock: socket.socket, address: tuple[Any, ...]) -> None:
        tried.append(address[0])
        await original(self, sock, address)

    monkeypatch.setattr(asyncio.SelectorEventLoop, "sock_connect", connect)
    return tried


async def test_no_request_leaves_for_an_address_inside(connects: list[str]) -> None:
    assert len(set(SPELLINGS)) >= 60
    async with Receiver(host="127.0.0.1") as four, Receiver(host="::1") as six, sender_to() as sender:
        urls = [f"http://{host}:{port}/" for host in SPELLINGS for port in (four.port, six.port)]
        answers = await asyncio.gather(*(sender.post(url, b"{}", {}) for url in urls))
    outcomes = {url: answer.error_class for url, answer in zip(urls, answers, strict=True)}
    assert {url: found for url, found in outcomes.items() if found not in {"blocked", "url", "dns"}} == {}
    assert list(outcomes.values()).count("blocked") >= len(urls) // 2
    assert (connects, four.connections, six.connections) == ([], 0, 0)


async def test_what_is_allowed_is_reached(connects: list[str]) -> None:
    async with Receiver() as receiver, sender_to("127.0.0.0/8") as sender:
        for host in ("127.0.0.1", "0x7f000001", "localhost"):
            assert (await sender.post(f"http://{host}:{receiver.port}/", b"{}", {})).succeeded
    assert set(connects) == {"127.0.0.1"}


@pytest.mark.parametrize("addresses", [["10.0.0.1"], ["10.0.0.1", "169.254.169.254"], ["127.0.0.1", "fd00::1"]])
async def test_names_that_lead_inside(connects: list[str], addresses: list[str]) -> None:
    async with sender_to(look_up=Names(addresses)) as sender:
        answer = await sender.post("http://customer.example:9/", b"{}", {})
    assert (answer.error_class, connects) == ("blocked", [])
    assert addresses[-1] in answer.error


async def test_of_a_name_with_addresses_of_both_kinds_only_the_others_are_tried(connects: list[str]) -> None:
    async with Receiver() as receiver, sender_to("127.0.0.1/32", Names(["10.0.0.1", "127.0.0.1"])) as sender:
        assert (await sender.post(f"http://customer.example:{receiver.port}/", b"{}", {})).succeeded
    assert connects == ["127.0.0.1"]


async def test_a_name_that_changes_between_look_up_and_connection(connects: list[str]) -> None:
    """Whatever it says later, the connection goes to the address that was vetted; another one is vetted again."""
    names = Names(["127.0.0.1"], ["10.0.0.1"])
    async with Receiver() as receiver:
        url = receiver.script("/", reply(headers=(("Connection", "close"),), keep_alive=False))
        url = url.replace("127.0.0.1", "customer.example")
        async with sender_to("127.0.0.1/32", names) as sender:
            assert (await sender.post(url, b"{}", {})).succeeded
            assert (names.asked, connects) == (1, ["127.0.0.1"])
        async with sender_to("127.0.0.1/32", names) as sender:
            assert (await sender.post(url, b"{}", {})).error_class == "blocked"
    assert connects == ["127.0.0.1"]


def closing(*, after_s: float = 0) -> Any:
    """Answers as if the connection could be used again, and closes it."""

    async def behave(received: Received, writer: asyncio.StreamWriter) -> bool:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nok")
        await writer.drain()
        await asyncio.sleep(after_s)
        return False

    return behave


async def test_a_connection_that_was_closed_while_nothing_went_over_it_costs_no_attempt() -> None:
    async with Receiver() as receiver, sender_to("127.0.0.0/8") as sender:
        url = receiver.script("/", closing(after_s=0.05))
        for _ in range(3):
            assert (await sender.post(url, b"{}", {})).succeeded
            await asyncio.sleep(0.2)
    assert (len(receiver.requests), receiver.connections) == (3, 3)


async def test_a_connection_that_is_closed_right_before_a_request_costs_no_attempt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is taken from those that are kept, and closed before the request is written to it."""
    original = aiohttp.TCPConnector._get
    closed = 0

    async def get(self: aiohttp.TCPConnector, *arguments: Any) -> Any:
        nonlocal closed
        if (connection := await original(self, *arguments)) is not None:
            closed += 1
            # As it is when the end of the stream has been read, and nobody was told yet.
            monkeypatch.setattr(connection.transport, "is_closing", lambda: True, raising=False)
        return connection

    monkeypatch.setattr(aiohttp.TCPConnector, "_get", get)
    async with Receiver() as receiver, sender_to("127.0.0.0/8") as sender:
        answers = []
        for body in (b"{}", b"{}", b"{}", b"x" * 2_000_000):
            answers.append(await sender.post(receiver.url("/"), body, {}))
            await asyncio.sleep(4 * REST_S)
    assert [answer.error_class for answer in answers] == [""] * 4
    assert closed == 3
    assert [len(request.body) for request in receiver.requests] == [2, 2, 2, 2_000_000]


async def test_a_connection_that_is_closed_under_a_request_is_a_failure_and_the_next_one_is_new() -> None:
    """Whether the server acted on it nobody knows: that is for the schedule, not for a silent repetition."""

    async def close(received: Received, writer: asyncio.StreamWriter) -> bool:
        return False

    async with Receiver() as receiver, sender_to("127.0.0.0/8") as sender:
        url = receiver.script("/", reply(), close, reply())
        answers = []
        for _ in range(3):
            answers.append(await sender.post(url, b"{}", {}))
            await asyncio.sleep(4 * REST_S)
    assert [answer.error_class for answer in answers] == ["", "reset", ""]
    assert [request.connection for request in receiver.requests] == [1, 1, 2]


SOME_TIME_S = 1_700_000_000
"""Tue, 14 Nov 2023 22:13:20 GMT."""


@pytest.mark.parametrize(
    ("header", "asked_ms"),
    [
        ("120", 120_000),
        ("0", 0),
        ("Tue, 14 Nov 2023 22:14:20 GMT", 60_000),
        ("Tue, 14 Nov 2023 22:14:20 -0000", 60_000),
        ("Tue, 14 Nov 2023 22:12:20 GMT", 0),
        ("", 0),
        ("-5", 0),
        ("1.5", 0),
        ("²", 0),
        ("9" * 5_000, 0),
        ("soon", 0),
        ("Tue, 14 Nov 99999 22:14:20 GMT", 0),
        ("Tue, 14 Nov 2023 22:14:20 +99999999999999999999", 0),
    ],
)
def test_what_an_endpoint_asks_for(header: str, asked_ms: int) -> None:
    assert retry_after_ms(header, SOME_TIME_S) == asked_ms


async def test_an_answer_tells_what_its_endpoint_asked_for() -> None:
    async with Receiver() as receiver, sender_to("127.0.0.0/8") as sender:
        url = receiver.script("/", reply(503, headers=(("Retry-After", "7"),)))
        answer = await sender.post(url, b"{}", {})
    assert (answer.status, answer.retry_after_ms) == (503, 7_000)


async def test_compressed_answers_are_not_unpacked() -> None:
    bomb = gzip.compress(bytes(40_000_000))
    assert len(bomb) < 65_536
    async with Receiver() as receiver, sender_to("127.0.0.0/8") as sender:
        url = receiver.script("/", reply(body=bomb, headers=(("Content-Encoding", "gzip"),)))
        answer = await sender.post(url, b"{}", {})
    assert answer.succeeded
    assert answer.response.startswith("\x1f")


async def test_one_deadline_from_the_look_up_to_the_last_byte() -> None:
    """A slow name server, a slow head and a slow body together must not take longer than one of them may."""

    def slow(*arguments: Any) -> list[Any]:
        time.sleep(0.4)
        return Names(["127.0.0.1"])(*arguments)

    async with AsyncExitStack() as stack:
        receiver = await stack.enter_async_context(Receiver())
        guard = AddressGuard("127.0.0.1/32")
        sender = HttpSender(timeout_s=1, guard=guard, resolver=ThreadResolver(slow))
        await stack.enter_async_context(sender)
        head = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"
        url = receiver.script("/", raw(head, b"o", b"k", pause=0.4)).replace("127.0.0.1", "customer.example")
        answer = await sender.post(url, b"{}", {})
    assert (answer.error_class, answer.status, len(receiver.requests)) == ("timeout", 200, 1)


NO_NAME_SERVER = socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")


async def test_name_servers_that_are_out_of_order_are_our_fault() -> None:
    def broken(*_: Any) -> list[Any]:
        raise NO_NAME_SERVER

    async with sender_to(look_up=broken) as sender:
        answer = await sender.post("http://customer.example/", b"{}", {})
    assert (answer.error_class, answer.succeeded) == ("own-dns", False)


async def test_name_servers_that_say_nothing_are_our_fault() -> None:
    silent = threading.Event()

    def look_up(*_: Any) -> list[Any]:
        silent.wait(10)
        raise NO_NAME_SERVER

    async with HttpSender(timeout_s=0.2, guard=AddressGuard(), resolver=ThreadResolver(look_up)) as sender:
        answer = await sender.post("http://customer.example/", b"{}", {})
        silent.set()
    assert answer.error_class == "own-dns"


@pytest.mark.parametrize(
    ("number", "error_class"),
    [
        (errno.EMFILE, "own"),
        (errno.ENFILE, "own"),
        (errno.EADDRNOTAVAIL, "own"),
        (errno.ENETUNREACH, "own"),
        (errno.ENETDOWN, "own"),
        (errno.EHOSTUNREACH, "connect"),
        (errno.ECONNREFUSED, "refused"),
    ],
)
async def test_whose_fault_a_socket_is(number: int, error_class: str) -> None:
    class Guard(AddressGuard):
        def open_socket(self, addr_info: Any) -> socket.socket:
            raise OSError(number, "no")

    async with HttpSender(timeout_s=1, guard=Guard("127.0.0.0/8")) as sender:
        answer = await sender.post("http://127.0.0.1:9/", b"{}", {})
    assert answer.error_class == error_class
