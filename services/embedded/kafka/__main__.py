"""`python -m services.embedded.kafka` becomes the broker."""

from __future__ import annotations

import os
import sys

from services.embedded.kafka.broker import prepare
from services.runtime.service import CannotStart
from services.runtime.settings import Settings


def main() -> None:
    """Prepare, then hand this process over to Java."""
    try:
        command = prepare(Settings())
    except CannotStart as error:
        sys.exit(f"kafka: {error}")
    os.execve(command.argv[0], command.argv, command.env)  # noqa: S606


if __name__ == "__main__":
    main()
