# mypy: ignore-errors
"""No Kafka, no framework, no store: the batches that our processor reads, decoded whole and summed up in a dict."""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from pathlib import Path

import msgspec

from schemas.reports import ReportBatch
from tests.bench.rivals.meter import WINDOW_S, peak_mb, told

lines = Path(sys.argv[1]).read_bytes().splitlines()
decoder = msgspec.json.Decoder(ReportBatch)
stutter: defaultdict[tuple[int, int], int] = defaultdict(int)
samples = 0
cpu, wall = time.process_time(), time.perf_counter()
for line in lines:
    for report in decoder.decode(line).reports:
        for sample in report.samples:
            samples += 1
            window = sample.start_ms // (WINDOW_S * 1000)
            for stream in sample.remote:
                for _, length in stream.stutters:
                    stutter[report.room_id, window] += length
cpu, wall, memory = time.process_time() - cpu, time.perf_counter() - wall, peak_mb()
windows = ((room, window * WINDOW_S, length) for (room, window), length in stutter.items())
sys.stdout.write(told(samples, cpu, wall, memory, windows))
