"""The name of a service's process as a member of a Kafka group, the same over restarts."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from services.runtime.settings import Settings


def instance_name(settings: Settings, service: str, port: int) -> str:
    """A name that is kept in the data folder, so that who comes back after a crash gets its partitions at once.

    Processes of one service on one data folder differ by their port.
    """
    path = settings.data / f"{service}-{port}.instance"
    # The file of a process that was killed while it wrote is empty.
    name = path.read_text("ascii").strip() if path.exists() else ""
    if not name:
        path.parent.mkdir(parents=True, exist_ok=True)
        name = f"{service}-{secrets.token_hex(8)}"
        path.write_text(name + "\n", "ascii")
    return name
