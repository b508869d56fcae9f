"""An installation of its own to measure in, and what its processes used."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tests.bench.measuring import cpu_s, tree
from tests.bench.receiver import ReceiverProcess
from tests.support.clickhouse import ClickHouseServer, free_port
from tests.support.kafka import KafkaBroker
from tests.support.stack import ServiceProcess, Stack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import psutil

AT_MOST_S = 600.0


class Used(NamedTuple):
    """What one row used for so many callbacks."""

    deliveries: int
    cpu_s: float
    wall_s: float

    @property
    def each_ms(self) -> float:
        """CPU milliseconds of one callback, which is CPU seconds of a thousand."""
        return self.cpu_s / self.deliveries * 1000

    @property
    def rate(self) -> float:
        """Callbacks a second."""
        return self.deliveries / self.wall_s


class Place(NamedTuple):
    """An installation of its own and a receiver."""

    folder: Path
    stack: Stack
    receiver: ReceiverProcess

    def part(self, name: str) -> list[psutil.Process]:
        """The processes of a service or server."""
        stack = self.stack
        owners: dict[str, KafkaBroker | ClickHouseServer | ServiceProcess] = {
            "Kafka": stack.kafka,
            "ClickHouse": stack.clickhouse,
            **stack.services,
        }
        owner = owners[name]
        assert owner.process is not None
        return tree(owner.process.pid)


@contextlib.contextmanager
def place() -> Iterator[Place]:
    """Kafka with our topics, a receiver, and services that can be started."""
    with contextlib.ExitStack() as exits:
        folder = Path(exits.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
        kafka = exits.enter_context(KafkaBroker(folder / "kafka", free_port()))
        receiver = exits.enter_context(ReceiverProcess())
        clickhouse = ClickHouseServer(folder / "clickhouse")
        yield Place(folder, exits.enter_context(Stack(folder / "data", kafka=kafka, clickhouse=clickhouse)), receiver)
        clickhouse.stop()


async def count_up(receiver: ReceiverProcess, count: int, processes: Callable[[], list[psutil.Process]]) -> Used:
    """What is used from a tenth of the callbacks on to the last one, and what is done afterwards."""
    came, began = 0, time.monotonic()
    before: tuple[int, float, float] | None = None
    while came < count:
        if time.monotonic() - began > AT_MOST_S:
            raise TimeoutError(f"{came} of {count} callbacks came within {AT_MOST_S:.0f} s")
        await asyncio.sleep(0.1)
        told = await asyncio.to_thread(receiver.told)
        came += told.requests
        if before is None and came >= count // 10:
            before = came, cpu_s(*processes()), told.last_s
    assert before is not None
    await asyncio.sleep(0.5)
    return Used(came - before[0], cpu_s(*processes()) - before[1], told.last_s - before[2])
