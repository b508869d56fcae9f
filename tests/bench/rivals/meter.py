"""What a rival used from its first sample to its last. Nothing but the standard library and msgspec is needed here."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import msgspec

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

    def done(self) -> None:
        """Called when all that follows from the samples read so far is computed."""
        if self._seen >= self._expected:
            used = {
                "samples": self._seen,
                "cpu_s": time.process_time() - self._cpu,
                "wall_s": time.perf_counter() - self._wall,
                "peak_mb": peak_mb(),
            }
            # Not by way of sys.stdout, which Faust turns into a log.
            os.write(1, f"{json.dumps(used)}\n".encode())
            os._exit(0)


def peak_mb() -> float:
    """Most memory of this process; what `getrusage` tells may be that of the process that started it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM:")).split()[1]) / 1024
