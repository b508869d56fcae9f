"""The command line: `roompulse COMMAND`. It only reads arguments and prints; the work is done elsewhere."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
import orjson
from aiokafka.errors import KafkaError

from services.console.rules import RuleBroken
from services.console.store import ApplicationLimit, ApplicationStore, Conflict, UnknownApplication
from services.runtime import usersig
from services.runtime.clock import now_ms
from services.runtime.secrets import SecretKeyError
from services.runtime.service import run_service
from services.runtime.settings import Settings
from services.simulator.command import simulate

if TYPE_CHECKING:
    from schemas.applications import Application

Command = TypeVar("Command", bound=Callable[..., Any])


def data_option(command: Command) -> Command:
    """`--data DIR`, handed over as `settings`."""

    def settings_of(_: click.Context, __: click.Parameter, value: Path | None) -> Settings:
        return Settings() if value is None else Settings(data=value)

    return click.option(
        "--data",
        "settings",
        type=click.Path(file_okay=False, path_type=Path),
        callback=settings_of,
        help="Data folder (default: $ROOMPULSE_DATA, else ./data).",
    )(command)


json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document and nothing else.")


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(package_name="roompulse")
def main() -> None:
    """Roompulse: callbacks and monitoring for real-time audio and video."""


@main.command()
@data_option
@click.option("--no-demo", is_flag=True, help="Only the services: no demo application, no simulator, no receiver.")
def up(settings: Settings, *, no_demo: bool) -> None:
    """Start everything on this machine, with the embedded Kafka and ClickHouse."""
    from services.embedded.up import up_forever  # the embedded servers are only needed here

    sys.exit(up_forever(settings, demo=not no_demo))


@main.command()
@data_option
def ingest(settings: Settings) -> None:
    """Take reports, events and task intervals over HTTP and put them onto Kafka."""
    from services.ingest.service import run

    run_service("ingest", settings, run)


@main.command()
@data_option
def processor(settings: Settings) -> None:
    """Turn what is on Kafka into facts, calls and rollups in ClickHouse."""
    from services.processor.service import run

    run_service("processor", settings, run)


@main.command()
@data_option
def dispatcher(settings: Settings) -> None:
    """Sign callbacks and deliver them to the customers' URLs."""
    from services.dispatcher.service import run

    run_service("dispatcher", settings, run)


@main.command()
@data_option
def console(settings: Settings) -> None:
    """Serve the console and its API."""
    from services.console.service import run

    run_service("console", settings, run)


@main.command()
@data_option
def receiver(settings: Settings) -> None:
    """Run the demo customer's server: verify and print callbacks."""
    from services.simulator.receiver import run

    run_service("receiver", settings, run)


@main.command()
@data_option
@json_option
def migrate(settings: Settings, *, as_json: bool) -> None:
    """Create what is missing in ClickHouse and on Kafka."""
    from services.runtime.clickhouse import migrate as migrate_clickhouse
    from services.runtime.topics import TopicMismatch, ensure_topics

    async def work() -> list[str]:
        await ensure_topics(settings)
        return await migrate_clickhouse(settings)

    with one_line_errors(OSError, KafkaError, TopicMismatch):
        applied = asyncio.run(work())
    if as_json:
        print_json({"Migrations": applied})
    else:
        click.echo("\n".join(f"applied {name}" for name in applied) or "nothing to do")


main.add_command(simulate)


@main.group()
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
    publish(settings, application)
    show(application, as_json=as_json, with_key=True)


@app.command("list")
@data_option
@json_option
def app_list(settings: Settings, *, as_json: bool) -> None:
    """List the applications."""
    with opened(settings) as store:
        applications = store.all()
    if as_json:
        print_json({"Applications": [describe(application) for application in applications]})
        return
    for application in applications:
        click.echo(f"{application.sdk_app_id}  {application.status:<8}  {application.name}")


@app.command("show")
@click.argument("sdkappid", type=int)
@data_option
@json_option
def app_show(settings: Settings, sdkappid: int, *, as_json: bool) -> None:
    """Show one application with its key."""
    with opened(settings) as store:
        application = store.get(sdkappid)
    show(application, as_json=as_json, with_key=True)


@app.command("set-callback")
@click.argument("sdkappid", type=int)
@click.option("--key", help="Callback key; an empty text removes it.")
@click.option("--room-url", help="URL for room events; an empty text removes it, as below.")
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
    group_urls: tuple[str, ...],
    *,
    as_json: bool,
    **urls: str | None,
) -> None:
    """Set where callbacks go and the key that signs them; what is not named stays as it is."""
    groups = dict(parse_group_url(text) for text in group_urls)
    with opened(settings) as store:
        named = {name: url for name, url in urls.items() if url is not None}
        application = store.set_callback(sdkappid, key=key, group_urls=groups, **named)
    publish(settings, application)
    show(application, as_json=as_json, with_key=False)


@main.group("usersig")
def usersig_group() -> None:
    """UserSigs, for debugging: in production the customer's server makes them."""


@usersig_group.command("generate")
@click.argument("sdkappid", type=int)
@click.argument("userid")
@click.option("--expire", type=click.IntRange(min=1), default=usersig.DEFAULT_EXPIRE_S, help="Validity in seconds.")
@data_option
@json_option
def usersig_generate(settings: Settings, sdkappid: int, userid: str, expire: int, *, as_json: bool) -> None:
    """Make a UserSig for a user of an application."""
    with opened(settings) as store:
        application = store.get(sdkappid)
    made = usersig.generate(sdkappid, application.secret_key, userid, now=now_ms() // 1000, expire=expire)
    if as_json:
        print_json({"SdkAppId": sdkappid, "UserId": userid, "UserSig": made, "Expire": expire})
    else:
        click.echo(made)


@usersig_group.command("verify")
@click.argument("sdkappid", type=int)
@click.argument("userid")
@click.argument("user_sig")
@data_option
@json_option
def usersig_verify(settings: Settings, sdkappid: int, userid: str, user_sig: str, *, as_json: bool) -> None:
    """Say whether a UserSig is right, and what is in it. Exit status 1 where it is wrong."""
    with opened(settings) as store:
        application = store.get(sdkappid)
    result: dict[str, Any] = {"SdkAppId": sdkappid, "UserId": userid}
    try:
        ticket = usersig.verify(
            user_sig, sdk_app_id=sdkappid, key=application.secret_key, user_id=userid, now=now_ms() // 1000
        )
    except usersig.UserSigError as error:
        result |= {"Result": "failed", "Code": error.code, "Reason": error.reason}
    else:
        result |= {
            "Result": "ok",
            "SdkAppid": ticket.sdk_app_id,
            "Identifier": ticket.identifier,
            "CreationTime": _date(ticket.time),
            "Validity": usersig.validity_text(ticket.expire),
            "ExpirationTime": _date(ticket.time + ticket.expire),
        }
    print_document(result, as_json=as_json)
    sys.exit(0 if result["Result"] == "ok" else 1)


@contextmanager
def one_line_errors(*kinds: type[BaseException]) -> Iterator[None]:
    """Turn expected errors into one line on standard error and exit status 1."""
    try:
        yield
    except kinds as error:
        raise click.ClickException(str(error)) from error


@contextmanager
def opened(settings: Settings) -> Iterator[ApplicationStore]:
    """The application store; what the user can do wrong becomes one line."""
    with one_line_errors(RuleBroken, UnknownApplication, ApplicationLimit, Conflict, SecretKeyError, OSError):
        store = ApplicationStore(settings)
        try:
            yield store
        finally:
            store.close()


def publish(settings: Settings, application: Application) -> None:
    """Tell the running services at once; where none run, the console tells them when it starts."""
    from services.console.publisher import publish_applications

    try:
        asyncio.run(publish_applications(settings, [application]))
    except (KafkaError, OSError) as error:
        click.echo(
            f"stored; Kafka is out of reach, so services learn of it when the console starts ({error})", err=True
        )


def parse_group_url(text: str) -> tuple[str, str]:
    """`7=http://…` as group and URL."""
    group, separator, url = text.partition("=")
    if not separator or not group.isdigit() or not 1 <= int(group) <= 99:
        raise click.BadParameter(f"{text!r}: GROUP=URL with a group from 1 to 99", param_hint="--group-url")
    return str(int(group)), url


def describe(application: Application, *, with_key: bool = False) -> dict[str, Any]:
    """An application with the vendor's field names; the secret key only where asked for."""
    callback = application.callback
    return {
        "SdkAppId": application.sdk_app_id,
        "Name": application.name,
        "Status": application.status,
        "CreateTime": _date(application.created_ms // 1000),
        "SDKSecretKey": application.secret_key if with_key else "*****",
        "CallbackKey": application.callback_key if with_key else ("*****" if application.callback_key else ""),
        "RoomCallbackUrl": callback.room_url,
        "MediaCallbackUrl": callback.media_url,
        "RecordingCallbackUrl": callback.recording_url,
        "RelayCallbackUrl": callback.relay_url,
        "GroupCallbackUrls": callback.group_urls,
    }


def show(application: Application, *, as_json: bool, with_key: bool) -> None:
    """Print one application."""
    print_document(describe(application, with_key=with_key), as_json=as_json)


def print_document(document: dict[str, Any], *, as_json: bool) -> None:
    """Print as JSON or as one `name: value` a line."""
    if as_json:
        print_json(document)
        return
    width = max(map(len, document)) + 1
    for name, value in document.items():
        click.echo(f"{name + ':':<{width}} {value if value not in ('', {}) else '--'}")


def print_json(document: object) -> None:
    """Print one JSON document."""
    click.echo(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode())


def _date(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")
