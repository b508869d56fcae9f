"""Server-sent events on the wire."""

from __future__ import annotations

import orjson
from msgspec import Struct

RETRY_MS = 2000


class Event(Struct):
    """One event. Without an id the client keeps the last one it got."""

    name: str
    data: object
    id: str = ""

    def encode(self) -> bytes:
        """The event's lines, ended by an empty one. JSON has no line breaks, so one data line is enough."""
        lines = [b"event: " + self.name.encode(), b"data: " + orjson.dumps(self.data)]
        if self.id:
            lines.insert(0, b"id: " + self.id.encode())
        return b"\n".join(lines) + b"\n\n"


def preamble() -> bytes:
    """What a stream begins with: how soon the client shall come back when it breaks."""
    return f"retry: {RETRY_MS}\n\n".encode()
