"""What a rival used from its first sample to its last. Nothing but the standard library and msgspec is needed here."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

WINDOW_S = 10


class Stream(msgspec.Struct, rename="pascal", gc=False):
    """What the job needs of a received stream."""

    stutters: list[tuple[int, int]] = []


class Measurement(msgspec.Struct, rename="pascal", gc=False):
    """What the job needs of a sample; a smaller struct than ours, which is to the rival's advantage."""

    room_id: int
    start_ms: int
    remote: list[Stream] = []

    @property
    def stutter_ms(self) -> int:
        """Milliseconds of all its stutters."""
        return sum(length for stream in self.remote for _, length in stream.stutters)


class Meter:
    """Reads samples, and with the last one prints a line of JSON and ends the process."""

    def __init__(self, expected: int) -> None:
        self._expected = expected
        self._decoder = msgspec.json.Decoder(Measurement)
        self._seen = 0
        self._cpu = self._wall = 0.0

    def read(self, value: bytes) -> Measurement:
        """One sample."""
        if not self._seen:
            self._cpu, self._wall = time.process_time(), time.perf_counter()
        self._seen += 1
        return self._decoder.decode(value)

    def done(self, windows: Callable[[], Iterable[tuple[str, int, int]]]) -> None:
        """Called when all that follows from the samples read so far is computed.

        `windows` tells what the framework has of each room: room, start of the window in Unix s, milliseconds.
        """
        if self._seen >= self._expected:
            cpu, wall, memory = time.process_time() - self._cpu, time.perf_counter() - self._wall, peak_mb()
            line = told(self._seen, cpu, wall, memory, windows())
            # Not by way of sys.stdout, which Faust turns into a log.
            with os.fdopen(os.dup(1), "w") as output:
                output.write(line)
            os._exit(0)


def told(samples: int, cpu_s: float, wall_s: float, memory_mb: float, windows: Iterable[tuple[str, int, int]]) -> str:
    """The line that the bench reads."""
    stutter = {f"{room}/{start}": length for room, start, length in windows if length}
    used = {"samples": samples, "cpu_s": cpu_s, "wall_s": wall_s, "peak_mb": memory_mb, "stutter": stutter}
    return json.dumps(used) + "\n"


def peak_mb() -> float:
    """Most memory of this process; what `getrusage` tells may be that of the process that started it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM:")).split()[1]) / 1024
