"""The recorded calls: what the web client reported of streams in Chromium, see `tests/bench/record.py`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np

RECORDING = Path(__file__).parent / "calls.ndjson"
GRID_MS = 2_000
_OF_STREAM = ("Bitrate", "Loss", "Width", "Height", "Volume")
_SENT = (*_OF_STREAM, "CapFps", "EncFps", "SendFps", "SampleRate")
_RECEIVED = (*_OF_STREAM, "RecFps", "DecFps", "JitterMs", "DelayMs", "PlayMs")
_MEASURED = ("MemoryMb", "SdkTaskMs", "Rtt", "UpLoss", "DownLoss")
Column = np.ndarray[Any, np.dtype[np.float64]]


class Series(NamedTuple):
    """A recorded stream, or what a recorded user measured beside streams."""

    columns: dict[str, Column]
    """NaN is unknown."""
    stutters: list[list[tuple[int, int]]]
    """[start from the start of the sample, length] by sample."""


class Recording:
    """The recorded calls, whole samples alone."""

    def __init__(self) -> None:
        self.users: dict[str, list[Series]] = {}
        """By network."""
        self.streams: dict[tuple[str, bool, str], list[Series]] = {}
        """By network, whether received, and type."""
        self.origin, *lines = (msgspec.json.decode(line) for line in RECORDING.read_bytes().splitlines())
        for line in lines:
            network = line["Profile"]
            whole = [sample for sample in line["Samples"] if sample["DurMs"] == GRID_MS]
            self.users.setdefault(network, []).append(_series(_MEASURED, whole, whole))
            for received, names, place in ((False, _SENT, "Local"), (True, _RECEIVED, "Remote")):
                for kind in ("audio", "big", "sub"):
                    pairs = [(sample, stream) for sample in whole for stream in sample[place] if stream["Type"] == kind]
                    if pairs:
                        series = _series(names, [stream for _, stream in pairs], [sample for sample, _ in pairs])
                        self.streams.setdefault((network, received, kind), []).append(series)

    def stream(self, network: str, received: bool, kind: str) -> list[Series]:
        """Recorded streams of a kind; screens are recorded on one network alone."""
        return self.streams.get((network, received, kind)) or self.streams["wired", received, kind]


def _series(names: tuple[str, ...], rows: list[dict[str, Any]], samples: list[dict[str, Any]]) -> Series:
    columns = {name: np.array([row.get(name, np.nan) for row in rows], float) for name in names}
    stutters = [
        [(begun - sample["StartMs"], length) for begun, length in row.get("Stutters", [])]
        for row, sample in zip(rows, samples, strict=True)
    ]
    return Series(columns, stutters)


def pick(draw: np.random.Generator, of: list[Series]) -> Series:
    """Any of these."""
    return of[int(draw.integers(len(of)))]


def resampled(
    draw: np.random.Generator, series: Series, count: int
) -> tuple[dict[str, Column], list[list[tuple[int, int]]]]:
    """`count` samples in a row from anywhere on, the first behind the last."""
    places = (int(draw.integers(len(series.stutters))) + np.arange(count)) % len(series.stutters)
    return {name: column[places] for name, column in series.columns.items()}, [
        series.stutters[place] for place in places
    ]


def common(draw: np.random.Generator, kind: str, known: dict[str, Column], count: int) -> list[list[Any]]:
    """Bitrate, loss, width, height and volume."""
    scale = math.exp(draw.normal(0, 0.35)) * (1 if kind == "audio" else 2)
    size = int(draw.choice([1, 2, 4]))
    return [
        whole(known["Bitrate"] * scale * (1 + draw.normal(0, 0.04, count))),
        values(noisy_loss(draw, known["Loss"]), 2, count),
        whole(known["Width"] * size),
        whole(known["Height"] * size),
        values(np.clip(known["Volume"] + draw.normal(-15, 6, count), 0, 100), 1, count),
    ]


def noisy_loss(draw: np.random.Generator, loss: Column) -> Column:
    """A loss of its own; none stays none."""
    return np.clip(loss * np.exp(draw.normal(0, 0.4, len(loss))), 0, 100)


def noisy_fps(draw: np.random.Generator, rate: Column) -> Column:
    """Frames a second, counted over a span that is never quite two seconds."""
    return np.clip(rate * (1 + draw.normal(0, 0.004, len(rate))), 0, None)


def values(column: Column | None, digits: int, count: int) -> list[float | None]:
    """As clients round them; None where unknown."""
    if column is None or np.isnan(column).all():
        return [None] * count
    return [None if value != value else value for value in np.round(column, digits).tolist()]


def whole(column: Column) -> list[int | None]:
    """Whole numbers from zero on; None where unknown."""
    return [None if value != value else int(value) for value in np.clip(np.round(column), 0, None).tolist()]
