"""What the commands share: options, printing, and expected errors as one line."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click
import orjson
from pydantic import ValidationError

from services.runtime.settings import Settings

AnyFunction = TypeVar("AnyFunction", bound=Callable[..., Any])


class LazyGroup(click.Group):
    """A group whose commands may live in other modules, imported when they are needed.

    A service that is started by one command then does not load what only another needs.
    """

    def __init__(self, *args: Any, elsewhere: Mapping[str, str] | None = None, **kwargs: Any) -> None:
        """`elsewhere` has names of commands with their places, `module:name`."""
        super().__init__(*args, **kwargs)
        self._elsewhere = elsewhere or {}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of all commands."""
        return sorted([*super().list_commands(ctx), *self._elsewhere])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of a name."""
        place = self._elsewhere.get(cmd_name)
        if place is None:
            return super().get_command(ctx, cmd_name)
        module, _, name = place.partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command


def data_option(function: AnyFunction) -> AnyFunction:
    """`--data DIR`, handed over as `settings`."""

    def settings_of(_: click.Context, __: click.Parameter, value: Path | None) -> Settings:
        try:
            return Settings() if value is None else Settings(data=value)
        except ValidationError as error:
            wrong = "; ".join(
                f"ROOMPULSE_{'_'.join(map(str, one['loc'])).upper()}: {one['msg']}" for one in error.errors()
            )
            raise click.ClickException(wrong) from error

    return click.option(
        "--data",
        "settings",
        type=click.Path(file_okay=False, path_type=Path),
        callback=settings_of,
        help="Data folder (default: $ROOMPULSE_DATA, else ./data).",
    )(function)


json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document and nothing else.")


@contextmanager
def one_line_errors(*kinds: type[BaseException]) -> Iterator[None]:
    """Turn expected errors into one line on standard error and exit status 1."""
    try:
        yield
    except kinds as error:
        raise click.ClickException(" ".join(str(error).split())) from error


def print_document(document: Mapping[str, Any], *, as_json: bool) -> None:
    """Print as JSON or as one `name: value` a line."""
    if as_json:
        print_json(document)
        return
    width = max(map(len, document)) + 1
    for name, value in document.items():
        text = ", ".join(f"{key}={one}" for key, one in value.items()) if isinstance(value, dict) else str(value)
        click.echo(f"{name + ':':<{width}} {text or '--'}")


def print_json(document: object) -> None:
    """Print one JSON document."""
    click.echo(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode())
