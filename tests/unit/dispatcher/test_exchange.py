"""What goes over the wire, to the last byte, and which connections are used again."""

from __future__ import annotations

import asyncio

import pytest

from services.dispatcher.addresses import AddressGuard
from services.dispatcher.exchange import REST_S
from services.dispatcher.sender import USER_AGENT, HttpSender
from tests.support.receiver import Receiver, endless, raw, reply


def sender() -> HttpSender:
    return HttpSender(timeout_s=5, guard=AddressGuard("127.0.0.0/8"))


@pytest.mark.parametrize(
    ("rest", "target"),
    [
        ("/a", "/a"),
        ("", "/"),
        ("/a%2fb;c?d=%20e&f#g", "/a%2fb;c?d=%20e&f"),
        ("?only=query", "/?only=query"),
    ],
)
async def test_the_request_is_what_the_url_says(rest: str, target: str) -> None:
    async with Receiver() as receiver, sender() as posting:
        answer = await posting.post(receiver.url(rest), b'{"a":"\xc3\xa4"}', {"SdkAppId": "1", "Sign": "s="})
    assert (answer.status, answer.error_class, answer.response) == (200, "", '{"code":0}')
    (request,) = receiver.requests
    assert (request.method, request.target, request.version) == ("POST", target, "HTTP/1.1")
    assert request.body == b'{"a":"\xc3\xa4"}'
    assert request.headers == [
        ("Host", f"127.0.0.1:{receiver.port}"),
        ("SdkAppId", "1"),
        ("Sign", "s="),
        ("User-Agent", USER_AGENT),
        ("Content-Type", "application/json"),
        ("Content-Length", "10"),
    ]


async def test_user_and_password_of_a_url_go_into_a_header() -> None:
    async with Receiver() as receiver, sender() as posting:
        url = receiver.url("/a").replace("http://", "http://me:my%20word@")
        assert (await posting.post(url, b"{}", {})).succeeded
    (request,) = receiver.requests
    assert request.header("Authorization") == "Basic bWU6bXkgd29yZA=="
    assert request.header("Host") == f"127.0.0.1:{receiver.port}"


async def test_answers_before_the_answer_are_passed_over() -> None:
    early = b"HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n"
    async with Receiver() as receiver, sender() as posting:
        url = receiver.script("/", raw(early, early + b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", pause=0.02))
        answer = await posting.post(url, b"{}", {})
    assert (answer.status, answer.error_class, answer.response) == (200, "", "ok")


async def test_a_connection_is_used_again_unless_its_answer_was_not_read_to_the_end() -> None:
    too_long = endless(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n", b"x" * 50_000, pause=0.001)
    async with Receiver() as receiver, sender() as posting:
        url = receiver.script("/", reply(), reply(500, b""), too_long, reply())
        for error_class in ("", "status", "too-large", ""):
            assert (await posting.post(url, b"{}", {})).error_class == error_class
            await asyncio.sleep(4 * REST_S)
    assert [request.connection for request in receiver.requests] == [1, 1, 1, 2]


async def test_a_connection_rests_after_its_answer() -> None:
    async with Receiver() as receiver, sender() as posting:
        for _ in range(2):
            assert (await posting.post(receiver.url("/"), b"{}", {})).succeeded
    assert [request.connection for request in receiver.requests] == [1, 2]
