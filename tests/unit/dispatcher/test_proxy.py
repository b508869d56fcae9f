"""Callbacks through an egress proxy, over real sockets: who connects where, what the endpoint sees, whose fault."""

from __future__ import annotations

import asyncio
import base64
import socket
import ssl
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from schemas.deliveries import OUR_FAULTS
from services.dispatcher.exchange import REST_S
from services.dispatcher.proxy import EgressProxy
from services.dispatcher.resolver import ThreadResolver
from services.dispatcher.sender import HttpSender
from services.dispatcher.service import DispatcherService
from services.runtime.service import CannotStart
from services.runtime.settings import Settings
from tests.support.certificates import CERTIFICATE, self_signed
from tests.support.clickhouse import free_port
from tests.support.proxy import Proxy
from tests.support.receiver import Receiver, reply
from tests.unit.dispatcher.test_sender import Names, connects

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from services.dispatcher.sender import Answer

__all__ = ["connects"]

ELSEWHERE = "93.184.215.14"
"""A public address that nothing here may really connect to."""


@contextmanager
def full_port() -> Iterator[int]:
    """A port that answers nobody: its queue of connections that nobody accepts is full."""
    with ExitStack() as stack:
        listening = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        port: int = listening.getsockname()[1]
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(("127.0.0.1", port))
        yield port


def sender_through(proxy_url: str, *addresses: str, timeout_s: float = 5) -> HttpSender:
    settings = Settings(callback_proxy=proxy_url, callback_timeout_s=timeout_s)
    names = Names(list(addresses or [ELSEWHERE]))
    return HttpSender.of_settings(settings, resolver=ThreadResolver(names))


async def test_the_proxy_is_asked_for_the_vetted_address_and_the_endpoint_sees_its_name(connects: list[str]) -> None:
    async with Receiver() as receiver, Proxy(receiver.port) as proxy:
        url = receiver.script("/hook?a=b%20c", reply(500), reply())
        url = url.replace(f"127.0.0.1:{receiver.port}", "customer.example:8080")
        async with sender_through(proxy.url) as sender:
            answers = []
            for _ in range(2):
                answers.append(await sender.post(url, b"{}", {"Sign": "x"}))
                await asyncio.sleep(4 * REST_S)
    assert [answer.status for answer in answers] == [500, 200]
    assert proxy.targets == [f"CONNECT {ELSEWHERE}:8080 HTTP/1.1"]
    assert [request.header("Host") for request in receiver.requests] == ["customer.example:8080"] * 2
    assert {request.target for request in receiver.requests} == {"/hook?a=b%20c"}
    assert "Proxy-Authorization" not in proxy.heads[0]
    assert set(connects) == {"127.0.0.1"}


async def test_tls_is_with_the_endpoint_and_under_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, connects: list[str]
) -> None:
    server = self_signed(tmp_path, "customer.example")
    asked: list[str | None] = []
    server.sni_callback = lambda _, name, __: asked.append(name)
    trusting = ssl.create_default_context(cafile=str(tmp_path / CERTIFICATE))
    async with Receiver(tls=server) as receiver, Proxy(receiver.port) as proxy:
        async with sender_through(proxy.url) as sender:
            untrusted = await sender.post("https://customer.example/secret", b"{}", {})
        monkeypatch.setattr(aiohttp.connector, "_SSL_CONTEXT_VERIFIED", trusting)
        async with sender_through(proxy.url) as sender:
            trusted = await sender.post("https://customer.example/secret", b"{}", {})
            another = await sender.post("https://another.example/secret", b"{}", {})
    assert (untrusted.error_class, trusted.succeeded, another.error_class) == ("tls", True, "tls")
    assert [request.header("Host") for request in receiver.requests] == ["customer.example"]
    assert asked == ["customer.example", "customer.example", "another.example"]
    assert proxy.targets == [f"CONNECT {ELSEWHERE}:443 HTTP/1.1"] * 3
    assert set(connects) == {"127.0.0.1"}


async def test_addresses_are_vetted_before_the_proxy_hears_of_them() -> None:
    async with Receiver() as receiver, Proxy(receiver.port) as proxy:
        async with sender_through(proxy.url, "10.0.0.1", "fd00::1") as sender:
            by_name = await sender.post("http://customer.example/", b"{}", {})
            spelled = await sender.post("http://169.254.169.254/", b"{}", {})
        assert (by_name.error_class, spelled.error_class, proxy.heads) == ("blocked", "blocked", [])
        async with sender_through(proxy.url, "10.0.0.1", "2606:2800:21f:cb07:6820:80da:af6b:8b2c") as sender:
            assert (await sender.post("http://customer.example/", b"{}", {})).succeeded
    assert proxy.targets == ["CONNECT [2606:2800:21f:cb07:6820:80da:af6b:8b2c]:80 HTTP/1.1"]


async def test_a_name_that_changes_is_pinned() -> None:
    names = Names([ELSEWHERE], ["10.0.0.1"])
    async with Receiver() as receiver, Proxy(receiver.port) as proxy:
        settings = Settings(callback_proxy=proxy.url)
        async with HttpSender.of_settings(settings, resolver=ThreadResolver(names)) as sender:
            assert (await sender.post("http://customer.example/", b"{}", {})).succeeded
    assert (names.asked, proxy.targets) == (1, [f"CONNECT {ELSEWHERE}:80 HTTP/1.1"])


async def test_credentials_go_to_the_proxy_and_nowhere_else(capfd: pytest.CaptureFixture[str]) -> None:
    user, password = "s3cr%20et", "p%40ss"
    told: list[str] = []
    async with Receiver() as receiver, Proxy(receiver.port) as proxy:
        url = proxy.url.replace("//", f"//{user}:{password}@")
        async with sender_through(url) as sender:
            assert (await sender.post("http://customer.example/", b"{}", {})).succeeded
        proxy.answer = b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"
        async with sender_through(url) as sender:
            refused = await sender.post("http://customer.example/", b"{}", {})
        told += [refused.error, repr(EgressProxy.parse(url)), str(EgressProxy.parse(url))]
    assert (refused.error_class, refused.status) == ("egress-proxy", 0)
    encoded = base64.b64encode(b"s3cr et:p@ss").decode()
    assert f"\r\nProxy-Authorization: Basic {encoded}\r\n" in proxy.heads[0]
    assert "Proxy-Authorization" not in {name for request in receiver.requests for name, _ in request.headers}
    output = "".join([*told, *capfd.readouterr()])
    assert not [secret for secret in ("s3cr", "p@ss", password, encoded) if secret in output]


def answering(head: bytes) -> dict[str, Any]:
    return {"answer": head}


FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "asks who we are": (answering(b"HTTP/1.1 407 Who?\r\nProxy-Authenticate: Basic\r\n\r\n"), "egress-proxy"),
    "forbids": (answering(b"HTTP/1.1 403 No\r\n\r\n"), "egress-proxy"),
    "does not know CONNECT": (answering(b"HTTP/1.0 405 No\r\n\r\n"), "egress-proxy"),
    "redirects": (answering(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/\r\n\r\n"), "egress-proxy"),
    "is no proxy": (answering(b"SSH-2.0-OpenSSH_9.6\r\n\r\n"), "egress-proxy"),
    "says nothing": (answering(b""), "egress-proxy"),
    "breaks off": (answering(b"HTTP/1.1 200 OK\r\nX: "), "egress-proxy"),
    "has no end": (answering(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 20_000), "egress-proxy"),
    "speaks for the endpoint": (answering(b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"), "egress-proxy"),
    "gets no connection": (answering(b"HTTP/1.1 503 Service Unavailable\r\n\r\n"), "connect"),
    "gets no connection in time": (answering(b"HTTP/1.1 504 Gateway Timeout\r\n\r\n"), "connect"),
    "waits for its connection": ({"silent_to": ("CONNECT",)}, "timeout"),
    "does nothing any more": ({"silent_to": ("CONNECT", "OPTIONS")}, "egress-proxy"),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_whose_fault_it_is(fault: str) -> None:
    behaviour, expected = FAULTS[fault]
    async with (
        Receiver() as receiver,
        Proxy(receiver.port, **behaviour) as proxy,
        sender_through(proxy.url, timeout_s=0.6) as sender,
    ):
        answer = await sender.post("http://customer.example/", b"{}", {})
    assert (answer.error_class, answer.status, receiver.requests) == (expected, 0, [])
    assert (expected in OUR_FAULTS) == (expected == "egress-proxy")


async def test_a_proxy_that_is_away_or_takes_no_connection_is_our_fault() -> None:
    async def attempt(proxy_url: str) -> Answer:
        async with sender_through(proxy_url, timeout_s=0.6) as sender:
            return await sender.post("http://customer.example/", b"{}", {})

    with full_port() as port:
        full = await attempt(f"http://127.0.0.1:{port}")
    away = await attempt(f"http://127.0.0.1:{free_port()}")
    nameless = await attempt("http://proxy.invalid:3128")
    assert [one.error_class for one in (away, full, nameless)] == ["egress-proxy"] * 3
    assert "takes no connection within 0.3 s" in full.error


async def test_an_endpoint_that_fails_behind_the_tunnel_has_the_same_classes_as_without() -> None:
    async with Receiver() as receiver, Proxy(free_port()) as proxy:
        async with sender_through(proxy.url) as sender:
            gone = await sender.post("http://customer.example/", b"{}", {})
        proxy.leads_to = receiver.port
        slow = receiver.script("/slow", reply(delay=3)).replace(f"127.0.0.1:{receiver.port}", "customer.example")
        async with sender_through(proxy.url, timeout_s=0.3) as sender:
            late = await sender.post(slow, b"{}", {})
            unencrypted = await sender.post("https://customer.example/", b"{}", {})
    assert (gone.error_class, late.error_class) == ("reset", "timeout")
    # The receiver waits for the end of what to it is a line.
    assert unencrypted.error_class in ("tls", "timeout")


@pytest.mark.parametrize(
    "url",
    [
        "proxy.example:3128",
        "https://proxy.example:3128",
        "socks5://proxy.example:1080",
        "http://",
        "http://user:hunter2@proxy.example:port",
        "http://user:hunter2@proxy.example:99999",
        "http://user:hunter2@[::1",
        "http://user:hunter2@proxy.example/path",
    ],
)
def test_settings_that_are_no_proxy(url: str) -> None:
    with pytest.raises(CannotStart, match=r"^ROOMPULSE_CALLBACK_PROXY: must be http://host:port") as raised:
        DispatcherService(Settings(callback_proxy=url, secret_key=base64.b64encode(bytes(32)).decode()))
    assert "hunter2" not in str(raised.value)


def test_what_a_setting_says() -> None:
    assert EgressProxy.parse("") is None
    assert EgressProxy.parse("http://proxy.example") == EgressProxy("proxy.example", 3128)
    assert EgressProxy.parse("http://[fd00::1]:8080/") == EgressProxy("fd00::1", 8080)
