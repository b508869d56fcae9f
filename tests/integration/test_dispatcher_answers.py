"""Every way in which a customer's server can answer, and what the dispatcher makes of it.

All scripts run at the same time, each with an application and a server of its own: what one does must not matter to
the others. With one server for all, a connection that one script closes could be the one that another is to use again.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.integration.dispatching import World, room_event, settings_for
from tests.support.certificates import self_signed
from tests.support.clickhouse import free_port
from tests.support.receiver import Behaviour, Received, Receiver, endless, hang, raw, reply, reset

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from schemas.deliveries import DeliveryAttempt
    from tests.support.kafka import KafkaBroker

HEAD = b"HTTP/1.1 200 OK\r\n"
GZIP_BOMB = b"\x1f\x8b\x08" + bytes(4096)

GOOD: dict[str, Behaviour] = {
    "early": reply(),
    "within the time": reply(delay=0.5),
    "empty": reply(body=b""),
    "HTTP/1.0": reply(version="HTTP/1.0"),
    "connection closed": reply(headers=(("Connection", "close"),), keep_alive=False),
    "body up to the end of the connection": raw(HEAD + b"\r\nfine"),
    "chunked": raw(HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
    "100 first": raw(b"HTTP/1.1 100 Continue\r\n\r\n", HEAD + b"Content-Length: 2\r\n\r\nok", pause=0.1),
    "in two parts": raw(HEAD + b"Content-Length: 4\r\n\r\nfi", b"ne", pause=0.1),
    "not what its encoding says": reply(body=GZIP_BOMB, headers=(("Content-Encoding", "gzip"),)),
    "not UTF-8": reply(body=b"\xff\xfe\x00"),
    "as long as is read": reply(body=b"x" * 65536),
}
BAD: dict[str, tuple[Behaviour, str, int]] = {
    "late": (reply(delay=3.5), "timeout", 0),
    "never": (hang(), "timeout", 0),
    **{str(status): (reply(status, b""), "status", status) for status in (201, 202, 203, 206, 400, 401, 403, 404, 410)},
    **{str(status): (reply(status, b"no"), "status", status) for status in (429, 500, 502, 503, 504)},
    "204": (raw(b"HTTP/1.1 204 No Content\r\n\r\n"), "status", 204),
    "redirect": (reply(301, b"", headers=(("Location", "/elsewhere"),)), "status", 301),
    "redirect with the same method": (reply(307, b"", headers=(("Location", "/elsewhere"),)), "status", 307),
    "closed without a word": (raw(), "reset", 0),
    "reset": (reset(), "reset", 0),
    "reset in the head": (reset(b"HTTP/1.1 200 OK\r\nContent-"), "reset", 0),
    "reset in the body": (reset(HEAD + b"Content-Length: 100\r\n\r\nabc"), "reset", 200),
    "shorter than announced": (raw(HEAD + b"Content-Length: 100\r\n\r\nabc"), "reset", 200),
    "head that drips": (endless(HEAD, b"X-More: 1\r\n", pause=0.05), "timeout", 0),
    "body that drips": (endless(HEAD + b"Content-Length: 1000\r\n\r\n", b"x", pause=0.05), "timeout", 200),
    "body without end": (endless(HEAD + b"\r\n", b"x" * 65536), "too-large", 200),
    "chunks without end": (
        endless(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"4000\r\n" + b"x" * 0x4000 + b"\r\n"),
        "too-large",
        200,
    ),
    "too long": (reply(body=b"x" * 65537), "too-large", 200),
    "head without end": (endless(HEAD, b"X-More: " + b"x" * 4000 + b"\r\n"), "protocol", 0),
    "huge header": (endless(HEAD + b"X-Huge: ", b"x" * 65536), "protocol", 0),
    "not HTTP": (raw(b"220 smtp.example ESMTP\r\n", then_wait=0.2), "protocol", 0),
    "broken chunks": (raw(HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"), "protocol", 0),
}
NOWHERE = {
    "refused": ("http://127.0.0.1:{closed}/", {"refused"}),
    "no such name": ("http://roompulse.invalid/", {"dns", "timeout"}),
    "TLS where there is none": ("https://127.0.0.1:{plain}/plain", {"tls", "timeout"}),
    "certificate nobody vouched for": ("https://127.0.0.1:{tls}/tls", {"tls"}),
    "private network": ("http://10.1.2.3/", {"blocked"}),
    "metadata of a cloud": ("http://169.254.169.254/latest/", {"blocked"}),
    "not a URL of the web": ("ftp://127.0.0.1:{plain}/ftp", {"url"}),
    "private network in other words": ("http://0x0a010203/", {"blocked"}),
    "private network, version 6": ("http://[fd00::1]/", {"blocked"}),
    "white space": ("http://127.0.0.1:{plain}/a b", {"url"}),
    "a header in it": ("http://127.0.0.1:{plain}/a HTTP/1.1\r\nX-Evil: 1\r\n\r\n", {"url"}),
    "port out of range": ("http://127.0.0.1:99999/", {"url"}),
}


@dataclass
class Outcome:
    """What came of one script."""

    rows: list[DeliveryAttempt]
    requests: list[Received]


@pytest.fixture(scope="module")
async def outcomes(kafka: KafkaBroker, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[dict[str, Outcome]]:
    folder = tmp_path_factory.mktemp("answers")
    async with AsyncExitStack() as stack:
        settings = settings_for(kafka.bootstrap, folder, callback_timeout_s=2.0, callback_retry_window_s=4.5)
        world = await stack.enter_async_context(World(settings))
        answering = {name: [behave] for name, behave in GOOD.items()}
        answering |= {name: [behave, reply()] for name, (behave, _, _) in BAD.items()}
        receivers = {name: await stack.enter_async_context(Receiver()) for name in answering}
        plain = await stack.enter_async_context(Receiver())
        secure = await stack.enter_async_context(Receiver(tls=self_signed(folder, "receiver.example")))
        six = await stack.enter_async_context(Receiver(host="::1"))
        places = {"closed": free_port(), "plain": plain.port, "tls": secure.port}
        urls = {name: receivers[name].script("/here", *script) for name, script in answering.items()}
        urls["IPv6"] = six.url("/six")
        for name, (template, _) in NOWHERE.items():
            urls[name] = template.format(**places)
        applications = {name: await world.application_at(url) for name, url in urls.items()}
        await world.publish(*(room_event(application, 5) for application in applications.values()))
        async with world.dispatcher():
            async with asyncio.timeout(90):
                while True:
                    rows = await world.attempts()
                    done = {row.sdk_app_id for row in rows if row.outcome != "failed"}
                    if len(done) == len(applications):
                        break
                    await asyncio.sleep(0.3)
        for application in applications.values():
            await world.lane_empty(application.sdk_app_id)
        receivers["IPv6"] = six
        found = {}
        for name, application in applications.items():
            requests = receivers[name].requests if name in receivers else plain.requests
            found[name] = Outcome([row for row in rows if row.sdk_app_id == application.sdk_app_id], requests)
        found["tls"] = Outcome([], secure.requests)
        yield found


@pytest.mark.parametrize("name", [*GOOD, "IPv6"])
async def test_delivered_at_once(outcomes: dict[str, Outcome], name: str) -> None:
    outcome = outcomes[name]
    assert [(row.outcome, row.status, row.error_class) for row in outcome.rows] == [("delivered", 200, "")]
    assert len(outcome.requests) == 1


@pytest.mark.parametrize("name", BAD)
async def test_failed_and_tried_again(outcomes: dict[str, Outcome], name: str) -> None:
    outcome = outcomes[name]
    _, error_class, status = BAD[name]
    first, *further, last = outcome.rows
    assert (first.outcome, first.error_class, first.status, first.attempt) == ("failed", error_class, status, 1)
    assert (last.outcome, last.status, last.attempt) == ("delivered", 200, len(outcome.rows))
    # On a busy machine an answer may be late, or a connection that is used again may be closed that very moment.
    assert {row.error_class for row in further} <= {"timeout", "reset"}
    assert first.error
    assert len(outcome.requests) >= 2
    assert len({request.body for request in outcome.requests}) == 1


@pytest.mark.parametrize("name", NOWHERE)
async def test_nobody_to_deliver_to(outcomes: dict[str, Outcome], name: str) -> None:
    rows = outcomes[name].rows
    assert {row.error_class for row in rows} <= NOWHERE[name][1]
    assert [row.outcome for row in rows] == ["failed"] * (len(rows) - 1) + ["given-up"]
    assert len(rows) >= 2
    assert not outcomes[name].requests


async def test_redirects_are_not_followed(outcomes: dict[str, Outcome]) -> None:
    for name in ("redirect", "redirect with the same method"):
        assert {request.target for request in outcomes[name].requests} == {"/here"}


async def test_nothing_is_said_to_a_server_nobody_vouched_for(outcomes: dict[str, Outcome]) -> None:
    assert not outcomes["tls"].requests
