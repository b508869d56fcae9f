"""`roompulse simulate`: options, progress, summary."""

from __future__ import annotations

import asyncio
import math
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec
import uvloop
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from services.console.store import ApplicationStore, DatabaseUnusable, UnknownApplication
from services.runtime.clock import now_ms
from services.runtime.secrets import SecretKeyError
from services.runtime.settings import Settings
from services.simulator.options import SimulationOptions, first_ms
from services.simulator.runner import Simulation
from services.simulator.sender import RefusedByIngest
from services.simulator.traffic.scenario import Scenario

if TYPE_CHECKING:
    from schemas.applications import Application
    from services.simulator.tally import Summary

DEFAULT_DURATION_S = 300.0
INTERRUPTED = 130
REFRESHED_EVERY_S = 0.2


class Speed(click.ParamType):
    """A factor, or `max` (None)."""

    name = "speed"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float | None:
        """The factor."""
        if value == "max":
            return None
        try:
            speed = float(str(value))
        except ValueError:
            speed = 0.0
        if not 0 < speed < math.inf:
            self.fail(f"{value!r}: a number above 0, or max", param, ctx)
        return speed


SHARE = click.FloatRange(0, 1)


@click.command()
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    help="Data folder (default: $ROOMPULSE_DATA, else ./data).",
)
@click.option("--sdkappid", type=int, help="The application; may be left out where there is only one.")
@click.option("--secret-key", help="Its SDKSecretKey, where the application is not in this machine's control plane.")
@click.option("--ingest-url", default="", help="Another ingest than that of the settings.")
@click.option("--seed", type=int, default=1, show_default=True, help="Same seed, same options: same traffic.")
@click.option("--start-ms", type=click.IntRange(min=1), help="Simulated time begins here (Unix milliseconds).")
@click.option("--rooms", type=click.IntRange(min=1), default=20, show_default=True, help="Rooms in use at a time.")
@click.option("--users-per-room", type=click.IntRange(min=1), default=6, show_default=True, help="About so many enter.")
@click.option(
    "--duration",
    type=click.FloatRange(min=0),
    help="Simulated seconds; 0 is endless.  [default: 300, with --samples endless]",
)
@click.option("--samples", type=click.IntRange(min=1), help="Stop when about so many samples have been made.")
@click.option("--speed", type=Speed(), default="1", show_default=True, help="Times real time, or max.")
@click.option("--concurrency", type=click.IntRange(min=1), default=16, show_default=True, help="Requests at a time.")
@click.option("--duplicates", type=SHARE, default=0.0, help="Share of events and reports that are sent twice.")
@click.option("--reorder", type=SHARE, default=0.0, help="Share of events and reports that are overtaken.")
@click.option("--late", type=SHARE, default=0.0, help="Share of reports that are held back.")
@click.option("--late-max", type=click.FloatRange(min=0), default=600.0, show_default=True, help="For so many seconds.")
@click.option(
    "--record",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write a JSON line for every acknowledged event.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document and nothing else.")
def simulate(
    *,
    data: Path | None,
    sdkappid: int | None,
    secret_key: str | None,
    ingest_url: str,
    seed: int,
    start_ms: int | None,
    rooms: int,
    users_per_room: int,
    duration: float | None,
    samples: int | None,
    speed: float | None,
    concurrency: int,
    duplicates: float,
    reorder: float,
    late: float,
    late_max: float,
    record: Path | None,
    as_json: bool,
) -> None:
    """Send simulated rooms to ingest: calls, reports, recordings and relays, with troubles.

    The same seed, options, --start-ms and application give the same requests byte for byte. What ingest cannot take
    now is sent again until it can. Nothing is told before the clock has reached it, whatever the speed.
    """
    settings = Settings() if data is None else Settings(data=data)
    if duration is None:
        duration = 0.0 if samples is not None else DEFAULT_DURATION_S
    duration_ms = round(duration * 1000) or None
    sdk_app_id, key = _application(settings, sdkappid, secret_key)
    options = SimulationOptions(
        sdk_app_id=sdk_app_id,
        secret_key=key,
        speed=speed,
        concurrency=concurrency,
        ingest_url=ingest_url,
        record=record,
        scenario=Scenario(
            seed=seed,
            start_ms=start_ms or first_ms(now_ms(), speed=speed, duration_ms=duration_ms),
            duration_ms=duration_ms,
            rooms=rooms,
            users_per_room=users_per_room,
            samples=samples,
            duplicates=duplicates,
            reorder=reorder,
            late=late,
            late_max_ms=round(late_max * 1000),
        ),
    )
    try:
        summary = uvloop.run(_watched(Simulation(settings, options), options.scenario))
    except RefusedByIngest as error:
        raise click.ClickException(str(error)) from error
    except OSError as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(summary)))
    else:
        click.echo(_text(summary))
    endless = duration_ms is None and samples is None
    sys.exit(INTERRUPTED if summary.interrupted and not endless else 0)


def _application(settings: Settings, sdk_app_id: int | None, secret_key: str | None) -> tuple[int, str]:
    if secret_key is not None:
        if sdk_app_id is None:
            raise click.UsageError("--secret-key needs --sdkappid")
        return sdk_app_id, secret_key
    try:
        store = ApplicationStore(settings)
        try:
            application = store.get(sdk_app_id) if sdk_app_id is not None else _only(store.all())
        finally:
            store.close()
    except (UnknownApplication, DatabaseUnusable, SecretKeyError) as error:
        raise click.ClickException(str(error)) from error
    return application.sdk_app_id, application.secret_key


def _only(applications: list[Application]) -> Application:
    match applications:
        case []:
            raise click.ClickException("there is no application; make one with `roompulse app create --name NAME`")
        case [application]:
            return application
        case _:
            ids = ", ".join(str(application.sdk_app_id) for application in applications)
            raise click.UsageError(f"--sdkappid is missing; there are {ids}")


async def _watched(simulation: Simulation, scenario: Scenario) -> Summary:
    """Run it, with a progress bar on a terminal, until it ends or a signal ends it."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    watching = asyncio.create_task(_show_progress(simulation, scenario)) if sys.stderr.isatty() else None
    try:
        return await simulation.run(stopping)
    finally:
        if watching is not None:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)


async def _show_progress(simulation: Simulation, scenario: Scenario) -> None:
    total = float(scenario.samples or (scenario.duration_ms or 0)) or None
    columns = (
        SpinnerColumn(),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %" if total else ""),
        TextColumn("{task.fields[rooms]} rooms · {task.fields[counts]}"),
        TimeElapsedColumn(),
    )
    tally = simulation.tally
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=total, rooms=scenario.rooms, counts="")
        while True:
            done = tally.samples if scenario.samples else tally.reached_ms - scenario.start_ms
            counts = f"{tally.events} events · {tally.samples} samples"
            if tally.retries:
                counts += f" · {tally.retries} retries"
            progress.update(task, completed=min(done, total or done), counts=counts)
            await asyncio.sleep(REFRESHED_EVERY_S)


def _text(summary: Summary) -> str:
    lines = [
        f"application  {summary.sdk_app_id}, seed {summary.seed}, start {summary.start_ms}"
        + (", interrupted" if summary.interrupted else ""),
        f"made         {summary.events} events, {summary.reports} reports with {summary.samples} samples, "
        f"{summary.intervals} task intervals; {summary.copies} sent once more on purpose",
        f"ingest       took {summary.accepted} items of {summary.requests} requests, rejected {summary.rejected}, "
        f"refused {summary.refused} requests, was asked again {summary.retries} times",
        f"speed        {summary.seconds:.1f} s, {summary.samples_per_second:.0f} samples/s, "
        f"{summary.bytes_sent / 1e6:.1f} MB",
    ]
    lines += [
        f"not taken    {refusal.path} {refusal.status} {refusal.code} {refusal.field}: {refusal.reason}"
        for refusal in summary.refusals
    ]
    return "\n".join(lines)
