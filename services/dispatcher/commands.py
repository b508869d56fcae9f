"""`roompulse callbacks`: what was given up, and sending it once more."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click
from aiokafka.errors import KafkaError

from services.commandline import data_option, json_option, one_line_errors, print_json
from services.dispatcher.replay import Wanted, find, replay

if TYPE_CHECKING:
    from collections.abc import Callable

    from schemas.retries import DeadLetter
    from services.runtime.settings import Settings

_TIME = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S"])


@click.group()
def callbacks() -> None:
    """Callbacks that were given up."""


def wanted_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say which dead letters are meant."""
    for option in (
        click.option("--group", "groups", multiple=True, type=int, help="Event group; several are possible, as below."),
        click.option("--reason", "reasons", multiple=True, help="Error class, for example `timeout` or `parked`."),
        click.option("--until", type=_TIME, help="Given up before this time, UTC."),
        click.option("--since", type=_TIME, help="Given up at this time or later, UTC."),
        click.option("--delivery-id", "delivery_ids", multiple=True, help="These callbacks alone."),
        click.argument("sdkappid", type=int),
    ):
        command = option(command)
    return command


@callbacks.command("dead")
@wanted_options
@data_option
@json_option
def callbacks_dead(settings: Settings, *, as_json: bool, **options: Any) -> None:
    """List callbacks that were given up, oldest event first."""
    with one_line_errors(KafkaError, OSError):
        letters = asyncio.run(find(settings, wanted_of(**options)))
    rows = [describe(letter) for letter in letters]
    if as_json:
        print_json({"DeadLetters": rows})
        return
    for row in rows:
        click.echo("{GivenUpTime}  {DeliveryId}  {EventType}  {Reason:<9} {Attempts:>3}  {RoomId}  {Url}".format(**row))


@callbacks.command("replay")
@wanted_options
@click.option("--all", "everything", is_flag=True, help="Whatever is kept, where nothing else narrows it down.")
@click.option("--rate", type=click.FloatRange(0.1, 1000), default=50, show_default=True, help="Callbacks a second.")
@data_option
@json_option
def callbacks_replay(settings: Settings, *, everything: bool, rate: float, as_json: bool, **options: Any) -> None:
    """Send callbacks that were given up once more."""
    if not everything and not any(value for name, value in options.items() if name != "sdkappid"):
        raise click.UsageError("say which: --delivery-id, --since, --until, --reason, --group or --all")

    async def work() -> list[DeadLetter]:
        letters = await find(settings, wanted_of(**options))
        await replay(settings, letters, rate=rate)
        return letters

    with one_line_errors(KafkaError, OSError):
        letters = asyncio.run(work())
    if as_json:
        print_json({"Replayed": [letter.callback.delivery_id for letter in letters]})
    else:
        click.echo(f"{len(letters)} sent once more")


def wanted_of(
    *,
    sdkappid: int,
    delivery_ids: tuple[str, ...],
    since: datetime | None,
    until: datetime | None,
    reasons: tuple[str, ...],
    groups: tuple[int, ...],
) -> Wanted:
    """What the options ask for."""
    return Wanted(
        sdk_app_id=sdkappid,
        delivery_ids=frozenset(delivery_ids),
        since_ms=_unix_ms(since),
        until_ms=_unix_ms(until),
        reasons=frozenset(reasons),
        groups=frozenset(groups),
    )


def describe(letter: DeadLetter) -> dict[str, Any]:
    """A dead letter for people and programs."""
    event = letter.callback.event
    return {
        "DeliveryId": letter.callback.delivery_id,
        "GivenUpTime": datetime.fromtimestamp(letter.given_up_ms / 1000, UTC).isoformat(timespec="milliseconds"),
        "Reason": letter.reason,
        "Attempts": letter.callback.attempts,
        "Url": letter.url,
        "EventGroupId": event.event_group_id,
        "EventType": event.event_type,
        "EventMsTs": event.event_ms_ts,
        "RoomId": event.room_id or "",
        "UserId": event.user_id or "",
        "TaskId": event.task_id or "",
    }


def _unix_ms(time: datetime | None) -> int:
    return 0 if time is None else int(time.replace(tzinfo=UTC).timestamp() * 1000)
