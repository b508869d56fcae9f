"""`roompulse app …` and `roompulse usersig …`: the control plane from a terminal.

They work on the database, whether services run or not; services that run are told at once.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, get_args

import click
from aiokafka.errors import KafkaError

from schemas.applications import CallbackSchedule, MonitoringEdition
from services.commandline import data_option, json_option, one_line_errors, print_document, print_json
from services.console.described import keys_and_callbacks
from services.console.publisher import publish_newest
from services.console.rules import GROUPS_WITH_OWN_FIELD, RuleBroken, check_user_id
from services.console.store import (
    ApplicationLimit,
    ApplicationStore,
    DatabaseUnusable,
    UnknownApplication,
    new_webhook_secret,
)
from services.runtime import usersig as sigs
from services.runtime.clock import now_ms
from services.runtime.secrets import SecretKeyError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from schemas.applications import Application
    from services.runtime.settings import Settings

PUBLISH_WITHIN_S = 5.0
LONGEST_EXPIRE_S = 2**32


@click.group()
def app() -> None:
    """Applications."""


@app.command("create")
@click.option("--name", required=True, help="Letters, digits and underscores, at most 15.")
@data_option
@json_option
def app_create(settings: Settings, name: str, *, as_json: bool) -> None:
    """Create an application with a fresh key."""
    with opened(settings) as store:
        application = store.create(name)
        publish(settings, store, application)
    print_document(describe(application, with_keys=True), as_json=as_json)


@app.command("list")
@data_option
@json_option
def app_list(settings: Settings, *, as_json: bool) -> None:
    """List the applications, their keys masked."""
    with opened(settings) as store:
        applications = store.all()
    if as_json:
        print_json({"Applications": [describe(application, with_keys=False) for application in applications]})
        return
    for application in applications:
        click.echo(f"{application.sdk_app_id}  {application.status:<8}  {application.name}")


@app.command("show")
@click.argument("sdkappid", type=int)
@data_option
@json_option
def app_show(settings: Settings, sdkappid: int, *, as_json: bool) -> None:
    """Show one application with its keys."""
    with opened(settings) as store:
        application = store.get(sdkappid)
    print_document(describe(application, with_keys=True), as_json=as_json)


@app.command("set-callback")
@click.argument("sdkappid", type=int)
@click.option("--key", help="Callback key; an empty text removes it.")
@click.option("--webhook-secret", metavar="SECRET", help="Secret of Standard Webhooks; `new` makes one.")
@click.option("--schedule", type=click.Choice(get_args(CallbackSchedule)), help="Repeat for a minute or for days.")
@click.option(
    "--rate", type=click.FloatRange(0, 10_000), help="Callbacks a second at each URL at most; 0 for any number."
)
@click.option("--room-url", help="URL for room events; an empty text removes it, as below.")
@click.option("--ordered/--not-ordered", default=None, help="Whether callbacks of a room wait for one another.")
@click.option("--media-url", help="URL for media events.")
@click.option("--recording-url", help="URL for recording events.")
@click.option("--relay-url", help="URL for relay events.")
@click.option("--group-url", "group_urls", multiple=True, metavar="GROUP=URL", help="URL for another event group.")
@data_option
@json_option
def app_set_callback(
    settings: Settings,
    sdkappid: int,
    key: str | None,
    webhook_secret: str | None,
    schedule: CallbackSchedule | None,
    rate: float | None,
    ordered: bool | None,
    group_urls: tuple[str, ...],
    *,
    as_json: bool,
    **urls: str | None,
) -> None:
    """Set where callbacks go and the key that signs them; what is not named stays as it is."""
    groups = dict(parse_group_url(text) for text in group_urls)
    named = {name: url for name, url in urls.items() if url is not None}
    if all(option is None for option in (key, webhook_secret, schedule, rate, ordered)) and not groups and not named:
        raise click.UsageError("nothing to set: give --key, --webhook-secret, --schedule, --rate, --ordered or a URL")
    secret = secret_of(webhook_secret)
    with opened(settings) as store:
        application = store.set_callback(
            sdkappid,
            key=key,
            webhook_secret=secret,
            schedule=schedule,
            rate=rate,
            ordered=ordered,
            group_urls=groups,
            **named,
        )
        publish(settings, store, application)
    print_document(describe(application, with_keys=False), as_json=as_json)


@app.command("set-next")
@click.argument("sdkappid", type=int)
@click.option("--key", help="The next callback key; an empty text removes it.")
@click.option("--webhook-secret", metavar="SECRET", help="The next secret of Standard Webhooks; `new` makes one.")
@data_option
@json_option
def app_set_next(
    settings: Settings, sdkappid: int, key: str | None, webhook_secret: str | None, *, as_json: bool
) -> None:
    """Set the key or the secret that signs callbacks beside the present one until it is promoted."""
    if key is None and webhook_secret is None:
        raise click.UsageError("nothing to set: give --key or --webhook-secret")
    with opened(settings) as store:
        application = store.set_next(sdkappid, key=key, webhook_secret=secret_of(webhook_secret))
        publish(settings, store, application)
    print_document(describe(application, with_keys=False), as_json=as_json)


@app.command("promote")
@click.argument("sdkappid", type=int)
@data_option
@json_option
def app_promote(settings: Settings, sdkappid: int, *, as_json: bool) -> None:
    """Let the next key and the next secret sign callbacks alone."""
    with opened(settings) as store:
        application = store.promote(sdkappid)
        publish(settings, store, application)
    print_document(describe(application, with_keys=False), as_json=as_json)


@app.command("set-monitoring")
@click.argument("sdkappid", type=int)
@click.option("--edition", type=click.Choice(get_args(MonitoringEdition)), help="How long monitoring is kept.")
@click.option("--utc-offset", type=int, metavar="MINUTES", help="How far its days are ahead of UTC.")
@data_option
@json_option
def app_set_monitoring(
    settings: Settings, sdkappid: int, edition: MonitoringEdition | None, utc_offset: int | None, *, as_json: bool
) -> None:
    """Set how long an application's monitoring is kept, and when its days begin."""
    if edition is None and utc_offset is None:
        raise click.UsageError("nothing to set: give --edition or --utc-offset")
    with opened(settings) as store:
        application = store.set_monitoring(sdkappid, edition=edition, utc_offset_minutes=utc_offset)
        publish(settings, store, application)
    print_document(describe(application, with_keys=False), as_json=as_json)


@click.group()
def usersig() -> None:
    """UserSigs, for debugging: in production the customer's server makes them."""


@usersig.command("generate")
@click.argument("sdkappid", type=int)
@click.argument("userid")
@click.option(
    "--expire",
    type=click.IntRange(1, LONGEST_EXPIRE_S),
    default=sigs.DEFAULT_EXPIRE_S,
    show_default=True,
    help="Validity in seconds.",
)
@data_option
@json_option
def usersig_generate(settings: Settings, sdkappid: int, userid: str, expire: int, *, as_json: bool) -> None:
    """Make a UserSig for a user of an application."""
    with opened(settings) as store:
        check_user_id(userid)
        application = store.get(sdkappid)
    made = sigs.generate(sdkappid, application.secret_key, userid, now=now_ms() // 1000, expire=expire)
    if as_json:
        print_json({"SdkAppId": sdkappid, "UserId": userid, "UserSig": made, "Expire": expire})
    else:
        click.echo(made)


@usersig.command("verify")
@click.argument("sdkappid", type=int)
@click.argument("userid")
@click.argument("user_sig", metavar="USERSIG")
@data_option
@json_option
def usersig_verify(settings: Settings, sdkappid: int, userid: str, user_sig: str, *, as_json: bool) -> None:
    """Say whether a UserSig is right, and what is in it. Exit status 1 where it is wrong."""
    with opened(settings) as store:
        application = store.get(sdkappid)
    result: dict[str, Any] = {"SdkAppId": sdkappid, "UserId": printable(userid)}
    try:
        ticket = sigs.read(user_sig)
        content = describe_ticket(ticket)
        sigs.verify(user_sig, sdk_app_id=sdkappid, key=application.secret_key, user_id=userid, now=now_ms() // 1000)
    except sigs.UserSigError as error:
        result |= {"Result": "failed", "Code": error.code, "Reason": printable(error.reason)}
    else:
        result |= {"Result": "ok", **content}
    print_document(result, as_json=as_json)
    sys.exit(0 if result["Result"] == "ok" else 1)


@contextmanager
def opened(settings: Settings) -> Iterator[ApplicationStore]:
    """The application store; what the user can do wrong becomes one line."""
    with one_line_errors(RuleBroken, UnknownApplication, ApplicationLimit, DatabaseUnusable, SecretKeyError, OSError):
        store = ApplicationStore(settings)
        try:
            yield store
        finally:
            store.close()


def publish(settings: Settings, store: ApplicationStore, application: Application) -> None:
    """Tell the services that run. Where Kafka is out of reach the change is kept, and the console tells them."""
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)

    async def work() -> None:
        async with asyncio.timeout(PUBLISH_WITHIN_S):
            await publish_newest(settings, store, application.sdk_app_id)

    try:
        asyncio.run(work())
    except (KafkaError, OSError):
        click.echo(
            f"stored; Kafka ({settings.kafka_bootstrap}) cannot take it now: the console publishes it once both run",
            err=True,
        )


def parse_group_url(text: str) -> tuple[str, str]:
    """`7=http://…` as group and URL."""
    group, separator, url = text.partition("=")
    if not (separator and group.isascii() and group.isdecimal() and 1 <= int(group[:3]) <= 99 and len(group) <= 2):
        raise click.BadParameter(f"{text!r}: GROUP=URL with a group from 1 to 99", param_hint="--group-url")
    if (own := GROUPS_WITH_OWN_FIELD.get(int(group))) is not None:
        raise click.BadParameter(f"group {int(group)} is set by --{own}-url", param_hint="--group-url")
    return str(int(group)), url


def secret_of(option: str | None) -> str | None:
    """The secret that an option stands for."""
    return new_webhook_secret() if option == "new" else option


def describe(application: Application, *, with_keys: bool) -> dict[str, Any]:
    """An application with the vendor's field names."""
    return {
        "SdkAppId": application.sdk_app_id,
        "Name": application.name,
        "Status": application.status,
        "CreateTime": date(application.created_ms // 1000),
        **keys_and_callbacks(application, with_keys=with_keys),
        "MonitoringEdition": application.monitoring_edition,
        "UtcOffsetMinutes": application.utc_offset_minutes,
    }


def describe_ticket(ticket: sigs.Ticket) -> dict[str, str]:
    """The content of a UserSig as the vendor's verifier names it."""
    return {
        "Identifier": printable(ticket.identifier),
        "CreationTime": date(ticket.time),
        "Validity": sigs.validity_text(ticket.expire),
        "ExpirationTime": date(ticket.time + ticket.expire),
    }


def date(seconds: int) -> str:
    """`2023-12-11 19:52:14`, in UTC; the bare number where the calendar does not reach that far."""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")
    except (OverflowError, ValueError, OSError):
        return str(seconds)


def printable(text: str) -> str:
    """A text from an argument that may not have been UTF-8."""
    return text.encode("utf-8", "replace").decode()
