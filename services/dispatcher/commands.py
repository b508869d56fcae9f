"""`roompulse callbacks`: what was sent and what came of it, a test, what was given up, and sending it once more."""

from __future__ import annotations

import asyncio
import logging
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar, get_args

import click
import structlog
from aiokafka.errors import KafkaError

from schemas.deliveries import Outcome
from services.commandline import data_option, json_option, one_line_errors, print_json
from services.console.monitor import Monitor, Unavailable
from services.console.queries import Narrowed
from services.console.shown import show
from services.dispatcher.probe import NothingToTest, probe
from services.dispatcher.replay import Wanted, describe, find, replay
from services.runtime.applications import ApplicationTable
from services.runtime.clock import now_ms
from services.runtime.secrets import SecretKeyError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from schemas.applications import Application
    from schemas.retries import DeadLetter
    from services.console.monitor import Attempt
    from services.dispatcher.probe import Probe
    from services.runtime.settings import Settings

T = TypeVar("T")
_TIME = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S"])
READ_WITHIN_S = 10.0
_AHEAD_MS = 10 * 60_000
"""A dispatcher's clock may be ahead of ours."""
_EXPECTED = (KafkaError, OSError, SecretKeyError, Unavailable, NothingToTest, LookupError)

application_argument = click.argument("sdkappid", type=click.IntRange(1, 2**32 - 1))


@click.group()
def callbacks() -> None:
    """Callbacks: what became of them, a test, those that were given up."""
    # What they have to say beside their exceptions is not for the one who gave a command.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))


@callbacks.command("list")
@application_argument
@click.option("--room", help="Of this room.")
@click.option("--event", "event_type", type=click.IntRange(100, 9999), help="Event type, for example 103.")
@click.option("--group", "event_group_id", type=click.IntRange(1, 99), help="Event group.")
@click.option("--outcome", type=click.Choice(get_args(Outcome)), help="What an attempt came to.")
@click.option("--status", type=click.IntRange(0, 999), help="HTTP status, 0 where none came.")
@click.option("--error", "error_class", help="Error class, for example `timeout`.")
@click.option("--url", help="How the URL begins.")
@click.option("--since", type=_TIME, help="Begun at this time or later, UTC.")
@click.option("--until", type=_TIME, help="Begun before this time, UTC.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="Attempts at most.")
@data_option
@json_option
def callbacks_list(
    settings: Settings,
    sdkappid: int,
    since: datetime | None,
    until: datetime | None,
    limit: int,
    *,
    as_json: bool,
    **narrowed: Any,
) -> None:
    """List attempts to deliver callbacks, the newest first."""

    async def work(monitor: Monitor) -> list[Attempt]:
        return await monitor.attempts(
            sdkappid,
            since_ms=None if since is None else _unix_ms(since),
            until_ms=now_ms() + _AHEAD_MS if until is None else _unix_ms(until),
            limit=limit,
            narrowed=Narrowed(**{name: value for name, value in narrowed.items() if value is not None}),
        )

    with one_line_errors(*_EXPECTED):
        attempts = asyncio.run(_asked(settings, work))
    if as_json:
        print_json({"Deliveries": attempts})
        return
    for attempt in attempts:
        click.echo(
            "{StartedTime}  {DeliveryId}  {EventType}  #{Attempt:<2} {Outcome:<9}  {What:<9} {DurationMs:>5} ms  "
            "{RoomId}  {Url}".format(
                **{**attempt, "StartedTime": _time(attempt["StartedTime"])},
                What=attempt["ErrorClass"] if attempt["ErrorClass"] not in ("", "status") else attempt["Status"],
            )
        )


@callbacks.command("show")
@application_argument
@click.argument("wanted", metavar="ID")
@data_option
@json_option
def callbacks_show(settings: Settings, sdkappid: int, wanted: str, *, as_json: bool) -> None:
    """Show one callback, by its delivery id or its event's id: every attempt, and every byte that was sent."""

    async def work(monitor: Monitor) -> dict[str, Any]:
        application = await _application(settings, sdkappid)
        shown = await show(monitor, application, wanted, now_ms())
        if shown is None:
            raise LookupError(f"nothing is known of a callback or event {wanted}")
        return shown

    with one_line_errors(*_EXPECTED):
        shown = asyncio.run(_asked(settings, work))
    if as_json:
        print_json(shown)
    else:
        _print_shown(shown)


@callbacks.command("test")
@application_argument
@click.option("--group", type=click.IntRange(1, 99), default=1, show_default=True, help="To the URL of this group.")
@data_option
@json_option
def callbacks_test(settings: Settings, sdkappid: int, group: int, *, as_json: bool) -> None:
    """Send a signed test callback and say what happened. Exit status 1 where it was not delivered."""

    async def work() -> Probe:
        return await probe(settings, await _application(settings, sdkappid), group)

    with one_line_errors(*_EXPECTED, ValueError):
        probed = asyncio.run(work())
    result = probed.describe()
    if as_json:
        print_json(result)
    else:
        _print_probe(result)
    sys.exit(0 if probed.answer.succeeded else 1)


def wanted_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say which dead letters are meant."""
    for option in (
        click.option("--url", default="", help="How the URL began to which they were sent."),
        click.option("--room", "rooms", multiple=True, help="Room."),
        click.option("--event", "event_types", multiple=True, type=int, help="Event type, for example 103."),
        click.option("--group", "groups", multiple=True, type=int, help="Event group; several are possible, as below."),
        click.option("--reason", "reasons", multiple=True, help="Error class, for example `timeout` or `parked`."),
        click.option("--until", type=_TIME, help="Given up before this time, UTC."),
        click.option("--since", type=_TIME, help="Given up at this time or later, UTC."),
        click.option("--delivery-id", "delivery_ids", multiple=True, help="These callbacks alone."),
        application_argument,
    ):
        command = option(command)
    return command


@callbacks.command("dead")
@wanted_options
@click.option("--limit", type=click.IntRange(1, 100_000), default=1000, show_default=True, help="Callbacks at most.")
@data_option
@json_option
def callbacks_dead(settings: Settings, *, limit: int, as_json: bool, **options: Any) -> None:
    """List callbacks that were given up, those given up first before others."""
    with one_line_errors(KafkaError, OSError):
        found = asyncio.run(find(settings, wanted_of(**options), limit=limit))
    rows = [{**describe(letter), "GivenUpTime": _time(letter.given_up_ms)} for letter in found.letters]
    if as_json:
        print_json({"DeadLetters": rows, "Total": found.total})
        return
    for row in rows:
        click.echo("{GivenUpTime}  {DeliveryId}  {EventType}  {Reason:<9} {Attempts:>3}  {RoomId}  {Url}".format(**row))
    if found.total > len(rows):
        click.echo(f"and {found.total - len(rows)} others", err=True)


@callbacks.command("replay")
@wanted_options
@click.option("--all", "everything", is_flag=True, help="Whatever is kept, where nothing else narrows it down.")
@click.option("--rate", type=click.FloatRange(0.1, 1000), default=50, show_default=True, help="Callbacks a second.")
@data_option
@json_option
def callbacks_replay(settings: Settings, *, everything: bool, rate: float, as_json: bool, **options: Any) -> None:
    """Send callbacks that were given up once more."""
    wanted = wanted_of(**options)
    if wanted.everything and not everything:
        raise click.UsageError("say which, for example by --delivery-id, --since or --reason, or --all")
    sent: list[str] = []

    def note(letter: DeadLetter) -> None:
        sent.append(letter.callback.delivery_id)

    with one_line_errors(KafkaError, OSError):
        asyncio.run(replay(settings, wanted, rate=rate, on_sent=note))
    if as_json:
        print_json({"Replayed": sent})
    else:
        click.echo(f"{len(sent)} sent once more")


def wanted_of(*, sdkappid: int, since: datetime | None, until: datetime | None, url: str, **several: Any) -> Wanted:
    """What the options ask for."""
    return Wanted(
        sdk_app_id=sdkappid,
        since_ms=_unix_ms(since),
        until_ms=_unix_ms(until),
        url=url,
        **{name: frozenset(values) for name, values in several.items()},
    )


async def _asked(settings: Settings, work: Callable[[Monitor], Coroutine[Any, Any, T]]) -> T:
    """What comes of questions to ClickHouse."""
    monitor = Monitor(settings)
    try:
        return await work(monitor)
    finally:
        await monitor.close()


async def _application(settings: Settings, sdk_app_id: int) -> Application:
    """An application as Kafka has it, for that is what the dispatcher knows of it.

    Raises `LookupError` where there is none, `KafkaError` and `OSError` where Kafka does not answer.
    """
    table = ApplicationTable(settings)
    try:
        async with asyncio.timeout(READ_WITHIN_S):
            await table.read()
    except TimeoutError as error:
        raise OSError(f"Kafka ({settings.kafka_bootstrap}) does not answer") from error
    if (application := table.get(sdk_app_id)) is None:
        raise LookupError(f"there is no application {sdk_app_id}")
    return application


def _print_shown(shown: dict[str, Any]) -> None:
    click.echo(f"Delivery {shown['DeliveryId']} of event {shown['EventId']}: {shown['State']}")
    about = " ".join(f"{name} {shown[name]}" for name in ("RoomId", "UserId", "TaskId") if shown[name])
    click.echo(f"{shown['EventType']} of {_time(shown['EventTime'])} {about}")
    body = None
    for attempt in shown["Attempts"]:
        click.echo(f"\n#{attempt['Attempt']} {_time(attempt['StartedTime'])} {attempt['Outcome']}", nl=False)
        click.echo(f" after {attempt['DurationMs']} ms, request {attempt['RequestId']}")
        click.echo(f"  status {attempt['Status']}  {attempt['ErrorClass']}  {attempt['Error']}".rstrip())
        if attempt["Response"]:
            click.echo(f"  answer: {attempt['Response']}")
        body = _print_request(attempt["Url"], attempt["Request"], body)
    if shown["Next"] is not None:
        click.echo("\nNow it would be")
        _print_request(shown["Next"]["Url"], shown["Next"], body)


def _print_request(url: str, request: dict[str, Any] | None, body_before: str | None) -> str | None:
    """Print a request; its body only where it is another one than before. Returns its body."""
    click.echo(f"  POST {url}")
    if request is None:
        return body_before
    for name, value in request["Headers"].items():
        click.echo(f"  {name}: {value}")
    click.echo("  (the same body)" if request["Body"] == body_before else f"\n  {request['Body']}")
    return str(request["Body"])


def _print_probe(result: dict[str, Any]) -> None:
    click.echo(f"POST {result['Url']}")
    for name, value in result["Request"]["Headers"].items():
        click.echo(f"  {name}: {value}")
    click.echo(f"\n  {result['Request']['Body']}\n")
    click.echo(f"name looked up in {result['LookUpMs']} ms")
    for address in result["Addresses"]:
        verdict = "callbacks may go there" if address["Permitted"] else "callbacks may not go there"
        click.echo(f"  {address['Address']}: {verdict}{', tried' if address['Tried'] else ''}")
    if result["Delivered"]:
        click.echo(f"delivered: 200 after {result['DurationMs']} ms")
    else:
        click.echo(f"not delivered: {result['ErrorClass']} after {result['DurationMs']} ms: {result['Error']}")
    if result["ErrorClass"] == "blocked":
        click.echo("where else than to public addresses, ROOMPULSE_CALLBACK_ALLOW says: here, this shell's")
    if result["Response"]:
        click.echo(f"answer: {result['Response']}")


def _time(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds")


def _unix_ms(time: datetime | None) -> int:
    return 0 if time is None else int(time.replace(tzinfo=UTC).timestamp() * 1000)
