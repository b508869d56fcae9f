"""The command line: `roompulse COMMAND`. It only reads arguments and prints; the work is done elsewhere."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

import click
import structlog

from services.commandline import LazyGroup, data_option, json_option, one_line_errors, print_json
from services.runtime.service import run_service

if TYPE_CHECKING:
    from services.runtime.settings import Settings

ELSEWHERE = {
    "app": "services.console.commands:app",
    "callbacks": "services.dispatcher.commands:callbacks",
    "usersig": "services.console.commands:usersig",
    "simulate": "services.simulator.command:simulate",
}


@click.group(
    cls=LazyGroup,
    elsewhere=ELSEWHERE,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
)
@click.version_option(package_name="roompulse")
def main() -> None:
    """Roompulse: callbacks and monitoring for real-time audio and video."""
    # Until a service configures its log, nothing may write where the output of a command goes.
    structlog.configure(logger_factory=lambda *_: structlog.PrintLogger(sys.stderr))


@main.command()
@data_option
@click.option("--no-demo", is_flag=True, help="Only the services: no demo application, no simulator, no receiver.")
def up(settings: Settings, *, no_demo: bool) -> None:
    """Start everything on this machine, with the embedded Kafka and ClickHouse."""
    from services.embedded.up import up_forever

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
    from aiokafka.errors import KafkaError

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
