"""`make bench-processor BENCH=scale`: what a sample costs in few, many and huge rooms.

The same number of samples each time, in more and more rooms of four, and then all in one, by one worker and by two.
Figures are CPU time.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

import click

from schemas.keys import USER_SHARDS, report_partition, user_shard
from tests.bench.load import APP, SAMPLES_A_REPORT
from tests.bench.pipeline import first_ms_of, pipeline

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.bench.pipeline import Used

USERS = 4
LEAST_SHARE = 0.4


class Shape(NamedTuple):
    """How the users of a load are spread, and how many workers take it."""

    rooms: int
    users: int
    workers: int = 1

    def __str__(self) -> str:
        rooms = "one room" if self.rooms == 1 else f"{self.rooms:,} rooms"
        return f"{rooms} of {self.users:,}{f', {self.workers} workers' if self.workers > 1 else ''}"


async def measure(shape: Shape, samples: int, seconds: float) -> Used:
    """A load of this shape through processors of its own. Everybody's first two reports are not counted."""
    async with pipeline() as lines:
        first_ms = first_ms_of(shape.rooms, shape.users, samples)
        poured = await lines.pour(shape.rooms, shape.users, samples, first_ms)
        entering = min(poured.samples // 2, 2 * shape.rooms * shape.users * SAMPLES_A_REPORT)
        used = await lines.run(workers=shape.workers, warm_up=entering, seconds=seconds)
    click.echo(f"{shape}: {used}; at most {used.peak_mb:.0f} MB")
    return used


def table(results: dict[Shape, Used], middle: Shape) -> None:
    """Print the CPU time of a sample, and as a ratio to one of the rows."""
    click.echo(f"\n{'':<30}{'processor µs':>14}{'ratio':>8}{'with ClickHouse':>18}{'ratio':>8}")
    for shape, used in results.items():
        ours = f"{used.processor_us:>14.2f}{used.processor_us / results[middle].processor_us:>8.2f}"
        both = f"{used.both_us:>18.2f}{used.both_us / results[middle].both_us:>8.2f}"
        shares = " ".join(f"{share:.0%}" for share in used.shares) if shape.workers > 1 else ""
        click.echo(f"{shape!s:<30}{ours}{both}  {shares}")


def splits(partitions: int, rooms: int = 1000) -> dict[str, int]:
    """In how many of so many large rooms each of two workers gets its share, by how they split the partitions."""
    ways = {"alternating": range(0, partitions, 2), "halves": range(partitions // 2)}
    even = dict.fromkeys(ways, 0)
    somebody = {user_shard(user): user for user in map(str, range(1000))}
    for room in range(1, rooms + 1):
        shards = Counter(report_partition(APP, str(room), user, partitions) for user in somebody.values())
        for way, mine in ways.items():
            even[way] += LEAST_SHARE <= sum(shards[place] for place in mine) / USER_SHARDS <= 1 - LEAST_SHARE
    return even


async def all_shapes(rooms: Sequence[int], huge: int, samples: int, seconds: float) -> None:
    """Measure and print."""
    shapes = [*(Shape(count, USERS) for count in sorted(rooms))]
    middle = shapes[len(shapes) // 2]
    results = {shape: await measure(shape, samples, seconds) for shape in shapes}
    if huge:
        for shape in (Shape(huge // USERS, USERS), Shape(1, huge), Shape(1, huge, 2)):
            if shape not in results:
                results[shape] = await measure(shape, samples, seconds)
    table(results, middle)
    if huge:
        alike = results[Shape(1, huge)].processor_us / results[Shape(huge // USERS, USERS)].processor_us
        click.echo(f"one room of {huge:,} beside {huge // USERS:,} rooms of {USERS}: {alike:.2f}")


@click.command()
@click.option("--rooms", multiple=True, type=int, default=(100, 1_000, 10_000), show_default=True)
@click.option("--huge", default=20_000, show_default=True, help="Users of the one room; 0: none.")
@click.option("--samples", default=3_000_000, show_default=True, help="Samples of each row.")
@click.option("--seconds", default=120.0, show_default=True, help="Stop counting a row after this time.")
def bench(rooms: tuple[int, ...], huge: int, samples: int, seconds: float) -> None:
    """CPU time of a sample by number and size of rooms."""
    asyncio.run(all_shapes(rooms, huge, samples, seconds))
    for partitions in (8, 16, 32):
        even = ", ".join(f"{way} {rooms_ / 10:.0f} %" for way, rooms_ in splits(partitions).items())
        click.echo(f"{partitions} partitions: large rooms of which either of two workers gets 40 % or more: {even}")


if __name__ == "__main__":
    bench()
