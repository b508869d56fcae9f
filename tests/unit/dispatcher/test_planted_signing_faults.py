"""Faults planted in turn into what builds, signs and sends a callback: a receiver's checks have to find every one.

The receiver knows nothing of our code: it computes what has to come by the words of the contract.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import pytest
from msgspec import Raw

from schemas.applications import CallbackConfig
from tests.support import planting
from tests.support.receiver import Receiver

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.receiver import Received

CHAIN = [
    "schemas.callbacks",
    "services.dispatcher.signing",
    "services.dispatcher.delivery",
    "services.dispatcher.sender",
    "services.dispatcher.courier",
    "tests.unit.dispatcher.deliveries",
    "tests.unit.dispatcher.test_courier",
]
"""What is loaded anew, in the order in which one imports the other."""
KEYS = ["Key0123456789abc", "Key9876543210zyx"]
SECRETS = ["whsec_" + base64.b64encode(bytes(range(start, start + 32))).decode() for start in (0, 100)]
APP_SECRET = "0123456789abcdef" * 4
INFO = (
    '{"RoomId":"Zoë\'s \\u5f20/\\/room", "EventMsTs":1700000000110,"N":[1.0,2.50,1e3,12345678901234567890],"UserId":""}'
)
EXTRA = '{"of": [1, null]}'


class Fault(NamedTuple):
    """A place in a module, and what stands there instead."""

    module: str
    right: str
    wrong: str


SIGN = "base64.b64encode(hmac.digest(key.encode(), body, sha256)).decode()"
FAULTS = {
    "another hash": Fault(
        "callbacks", "hmac.digest(key.encode(), body, sha256)", 'hmac.digest(key.encode(), body, "md5")'
    ),
    "digits for base64": Fault("callbacks", SIGN, "hmac.digest(key.encode(), body, sha256).hex()"),
    "base64 for URLs": Fault("callbacks", SIGN, SIGN.replace("b64encode", "urlsafe_b64encode")),
    "base64 without its end": Fault("callbacks", SIGN, f'{SIGN}.rstrip("=")'),
    "key and body are swapped": Fault("callbacks", "digest(key.encode(), body,", "digest(body, key.encode(),"),
    "key in small letters": Fault("callbacks", "digest(key.encode(), body,", "digest(key.lower().encode(), body,"),
    "a line's end is signed too": Fault(
        "callbacks", "digest(key.encode(), body,", 'digest(key.encode(), body + b"\\n",'
    ),
    "another body is signed": Fault(
        "callbacks", "digest(key.encode(), body,", "digest(key.encode(), msgspec.json.format(body, indent=0),"
    ),
    "the event is written anew": Fault(
        "callbacks", '"EventInfo": event.event_info,', '"EventInfo": msgspec.json.decode(event.event_info),'
    ),
    "further fields are lost": Fault("callbacks", "        **event.extra,\n", ""),
    "the time is a text": Fault("callbacks", "time_field: callback_ts,", "time_field: str(callback_ts),"),
    "the time in seconds": Fault("callbacks", "time_field: callback_ts,", "time_field: callback_ts // 1000,"),
    "one name of the time for all groups": Fault("callbacks", "frozenset({7})", "frozenset()"),
    "the webhook secret is used as it is written": Fault(
        "callbacks", "base64.b64decode(secret.removeprefix(WEBHOOK_PREFIX))", "secret.encode()"
    ),
    "the webhook id is not signed": Fault(
        "callbacks", "(webhook_id.encode(), str(timestamp).encode(), body)", "(str(timestamp).encode(), body)"
    ),
    "the webhook's time is not signed": Fault(
        "callbacks", "(webhook_id.encode(), str(timestamp).encode(), body)", "(webhook_id.encode(), body)"
    ),
    "the webhook's version is left out": Fault("callbacks", 'return "v1," + ', "return "),
    "the application's secret key signs": Fault(
        "signing", "sign(application.callback_key, body)", "sign(application.secret_key, body)"
    ),
    "the next key signs alone": Fault(
        "signing",
        "sign(application.callback_key, body)",
        "sign(application.next_callback_key or application.callback_key, body)",
    ),
    "a key that was replaced signs": Fault(
        "signing",
        "sign(application.callback_key, body)",
        "sign(request_headers.__dict__.setdefault(str(application.sdk_app_id), application.callback_key), body)",
    ),
    "the next key is forgotten": Fault("signing", "if application.next_callback_key:", "if False:"),
    "both signatures are by the present key": Fault(
        "signing", "sign(application.next_callback_key, body)", "sign(application.callback_key, body)"
    ),
    "no key, and yet a signature": Fault("signing", "if application.callback_key:", "if True:"),
    "another header": Fault("signing", 'headers["Sign"]', 'headers["Signature"]'),
    "no application": Fault("signing", '{"SdkAppId": str(application.sdk_app_id)}', "{}"),
    "only the present secret": Fault("signing", ", application.next_webhook_secret)", ",)"),
    "only the next secret": Fault(
        "signing",
        "(application.webhook_secret, application.next_webhook_secret)",
        "(application.next_webhook_secret or application.webhook_secret,)",
    ),
    "signatures in a list of another kind": Fault("signing", '= " ".join(', '= ",".join('),
    "the webhook's time in milliseconds": Fault("signing", "timestamp = now_ms // 1000", "timestamp = now_ms"),
    "another time than the one that is signed": Fault("signing", "= str(timestamp)", "= str(timestamp + 1)"),
    "a webhook id of its own for each attempt": Fault(
        "signing", '["webhook-id"] = webhook_id', '["webhook-id"] = webhook_id = webhook_id + str(now_ms)'
    ),
    "each attempt has its own time": Fault("delivery", "        return self.callback_ts\n", "        return now_ms\n"),
    "the time is never renewed": Fault("delivery", "now_ms - self.first_attempt_ms > SAME_BYTES_MS", "False"),
    "a webhook id that others can have": Fault(
        "courier", "body, delivery.delivery_id, now_ms)", "body, delivery.event.event_id, now_ms)"
    ),
    "the webhook's time is that of the body": Fault(
        "courier", "body, delivery.delivery_id, now_ms)", "body, delivery.delivery_id, callback_ts)"
    ),
    "the body is laid out anew after it was signed": Fault(
        "courier", "post(delivery.url, body, headers)", "post(delivery.url, msgspec.json.format(body), headers)"
    ),
    "another body is sent than was signed": Fault(
        "courier", "post(delivery.url, body, headers)", "post(delivery.url, delivery.body_at(callback_ts + 1), headers)"
    ),
    "characters are lost on the way": Fault(
        "sender",
        "target.head(headers, len(body)) + body",
        'target.head(headers, len(less := body.decode().encode("ascii", "replace"))) + less',
    ),
    "the body's end is lost on the way": Fault(
        "sender", "target.head(headers, len(body)) + body", "target.head(headers, len(body) - 1) + body[:-1]"
    ),
    "headers in small letters": Fault(
        "sender", "target.head(headers, ", "target.head({name.lower(): value for name, value in headers.items()}, "
    ),
    "another type": Fault("sender", '"Content-Type": "application/json"', '"Content-Type": "text/json"'),
}


@contextmanager
def planted(fault: Fault) -> Iterator[None]:
    """The modules with a fault in one of them."""
    module = next((name for name in CHAIN if name.endswith(f".{fault.module}")), "")
    with planting.planted(CHAIN, module, fault.right, fault.wrong):
        yield


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
async def test_the_receiver_finds_the_fault(fault: Fault) -> None:
    with planted(fault), pytest.raises(AssertionError, match=r"^receiver: "):
        await receive_all()


async def test_without_a_fault_there_is_nothing_to_find() -> None:
    with planted(Fault("", "", "")):
        await receive_all()


async def receive_all() -> None:
    """Send callbacks as a courier does, with keys that change meanwhile, and check each as its receiver."""
    courier_tests: Any = sys.modules["tests.unit.dispatcher.test_courier"]
    deliveries: Any = sys.modules["tests.unit.dispatcher.deliveries"]
    sender_module: Any = sys.modules["services.dispatcher.sender"]
    world = courier_tests.World()
    guard = sender_module.AddressGuard("127.0.0.0/8")
    async with Receiver() as receiver, sender_module.HttpSender(timeout_s=5, guard=guard) as sender:

        async def received(delivery: Any, *, works: bool) -> Received:
            """What a receiver gets of one attempt."""
            answer = courier_tests.FINE if works else courier_tests.REFUSED
            await world.attempt(delivery, answers=[msgspec.structs.replace(answer)])
            url, body, headers, _ = world.sent[-1]
            assert (await sender.post(url, body, headers)).succeeded
            return receiver.requests[-1]

        def keys(**values: Any) -> None:
            world.application = msgspec.structs.replace(world.application, secret_key=APP_SECRET, **values)

        keys(
            callback_key=KEYS[0],
            webhook_secret=SECRETS[0],
            callback=CallbackConfig(room_url=receiver.url("/"), schedule="durable"),
        )
        delivery = deliveries.delivery_of(url=receiver.url("/"), accepted_ms=world.now_ms - 200)
        delivery.event.event_info, delivery.event.extra = Raw(INFO.encode()), {"AlsoNew": Raw(EXTRA.encode())}
        webhook_id = delivery.delivery_id
        first = await received(delivery, works=False)
        check(first, world.now_ms, keys=KEYS[:1], secrets=SECRETS[:1], webhook_id=webhook_id)
        _expect(first.json.get("CallbackTs") == delivery.accepted_ms, "the time of the event's acceptance")

        world.now_ms += 10_000
        keys(next_callback_key=KEYS[1], next_webhook_secret=SECRETS[1])
        second = await received(delivery, works=False)
        check(second, world.now_ms, keys=KEYS, secrets=SECRETS, webhook_id=webhook_id)
        _expect(second.body == first.body, "the same bytes within a minute")

        world.now_ms += 70_000
        keys(callback_key=KEYS[1], next_callback_key="", webhook_secret=SECRETS[1], next_webhook_secret="")
        third = await received(delivery, works=True)
        check(third, world.now_ms, keys=KEYS[1:], secrets=SECRETS[1:], webhook_id=webhook_id)
        _expect(third.json.get("CallbackTs") == world.now_ms, "a new time after a minute")
        _expect(
            re.sub(rb"\d+", b"", third.body, count=3) == re.sub(rb"\d+", b"", first.body, count=3), "the same event"
        )

        keys(callback_key="", webhook_secret="")
        delivery = deliveries.delivery_of(url=receiver.url("/"), accepted_ms=world.now_ms)
        delivery.event.event_group_id, delivery.event.event_type = 7, 701
        fourth = await received(delivery, works=True)
        check(fourth, world.now_ms, keys=[], secrets=[], webhook_id="")
        _expect(fourth.json.get("CallbackMsTs") == world.now_ms, "the time as group 7 spells it")


def check(received: Received, now_ms: int, *, keys: list[str], secrets: list[str], webhook_id: str) -> None:
    """What a strict receiver looks at; its clock is right."""
    headers = dict(received.headers)
    _expect(headers.get("SdkAppId") == "1", "the application")
    _expect(headers.get("Content-Type") == "application/json", "the type of the body")
    _expect(headers.get("Content-Length") == str(len(received.body)), "the length of the body")
    for name, key in zip(("Sign", "Sign-Next"), [*keys, "", ""], strict=False):
        _expect(headers.get(name, "") == (_hmac(key.encode(), received.body) if key else ""), name)
    _expect(("webhook-signature" in headers) == bool(secrets), "the headers of Standard Webhooks")
    if secrets:
        _expect(headers["webhook-id"] == webhook_id, "one id for all attempts")
        _expect(headers["webhook-timestamp"] == str(now_ms // 1000), "the time of the attempt")
        signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + received.body
        expected = [f"v1,{_hmac(base64.b64decode(secret[6:]), signed)}" for secret in secrets]
        _expect(headers["webhook-signature"].split(" ") == expected, "the signatures of Standard Webhooks")
    if keys:
        _expect(f'"EventInfo":{INFO}'.encode() in received.body, "the event, byte for byte")
        _expect(json.loads(received.body).get("AlsoNew") == json.loads(EXTRA), "fields that nobody knows")
        _expect(f'"CallbackTs":{received.json.get("CallbackTs")},'.encode() in received.body, "a time that is a number")


def _hmac(key: bytes, content: bytes) -> str:
    return base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()


def _expect(holds: bool, what: str) -> None:
    if not holds:
        raise AssertionError(f"receiver: {what}")
