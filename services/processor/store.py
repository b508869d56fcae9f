"""Writing to ClickHouse: every call returns when the rows are there, however long that takes."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, TypeVar

import aiohttp
import pyarrow as pa
import structlog
from clickhouse_connect.driver.exceptions import ClickHouseError, Error
from clickhouse_connect.driver.external import ExternalData

from services.processor import metrics
from services.processor.tables import SCHEMAS, UNFIT, to_arrow
from services.runtime.clickhouse import connect

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from clickhouse_connect.driver.asyncclient import AsyncClient

    from services.processor.tables import Row
    from services.runtime.settings import Settings

log = structlog.get_logger(__name__)
Result = TypeVar("Result")

_PAUSES_S = (0.2, 0.5, 1.0, 2.0, 5.0)
_TIMEOUT_S = 60
# Late data of many days in one insert is unusual, and right all the same.
_INSERT = {"throw_on_max_partitions_per_insert_block": 0}
_FAILURES = (ClickHouseError, Error, aiohttp.ClientError, OSError, TimeoutError)


class Store:
    """A client that tries again for as long as ClickHouse is away or refuses.

    Giving up would lose what Kafka has; so would an exception in a stream processor, which may count as done. What
    went wrong is logged, counted and shown by readiness.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._client: AsyncClient | None = None
        self._connecting = asyncio.Lock()
        self.failing = False
        """Whether the last try of something failed."""

    async def close(self) -> None:
        """Let the connections go."""
        if self._client is not None:
            await self._client.close()
            self._client = None

    async def insert(self, table: str, rows: Sequence[Row]) -> None:
        """Insert rows in the order of the table's schema."""
        if rows:
            await self.insert_arrow(table, _fitting(table, rows))

    async def insert_arrow(self, table: str, arrow: pa.Table) -> None:
        """Insert rows that are in Arrow already."""
        if not arrow.num_rows:
            return

        await self._until_done(f"insert {table}", lambda client: client.insert_arrow(table, arrow, settings=_INSERT))
        metrics.ROWS.labels(table).inc(arrow.num_rows)

    async def recompute(self, name: str, statement: str, touched: ExternalData) -> None:
        """Run a statement that reads an external table `touched`; see `external`."""
        await self._until_done(name, lambda client: client.command(statement, external_data=touched))

    async def execute(self, name: str, statement: str, parameters: Mapping[str, Any]) -> None:
        """Run a statement with server-side parameters."""
        await self._until_done(name, lambda client: client.command(statement, parameters=dict(parameters)))

    async def query(self, name: str, query: str, parameters: Mapping[str, Any]) -> Sequence[Sequence[Any]]:
        """The rows of a query with server-side parameters."""
        return (
            await self._until_done(name, lambda client: client.query(query, parameters=dict(parameters)))
        ).result_rows

    async def rows(self, name: str, query: str, touched: ExternalData) -> Sequence[Sequence[Any]]:
        """The rows of a query that reads an external table `touched`; see `external`."""
        return (await self._until_done(name, lambda client: client.query(query, external_data=touched))).result_rows

    async def _until_done(self, name: str, work: Callable[[AsyncClient], Awaitable[Result]]) -> Result:
        tries = 0
        while True:
            began = time.perf_counter()
            try:
                result = await work(await self._connected())
            except _FAILURES as error:
                self.failing = True
                metrics.STORE_FAILURES.labels(name).inc()
                pause = _PAUSES_S[min(tries, len(_PAUSES_S) - 1)]
                tries += 1
                log.warning("ClickHouse did not do it, trying again", what=name, error=_first_line(error), wait_s=pause)
                await asyncio.sleep(pause)
            else:
                self.failing = False
                metrics.STORE_SECONDS.labels(name).observe(time.perf_counter() - began)
                return result

    async def _connected(self) -> AsyncClient:
        async with self._connecting:
            if self._client is None:
                self._client = await connect(
                    self._settings, connect_timeout=5, send_receive_timeout=_TIMEOUT_S, query_retries=0
                )
            return self._client


def _fitting(table: str, rows: Sequence[Row]) -> pa.Table:
    """The rows as Arrow, without those that no column can hold: only records that ingest did not make have such."""
    try:
        return to_arrow(table, rows)
    except UNFIT:
        fitting = []
        for row in rows:
            try:
                to_arrow(table, [row])
            except UNFIT as error:
                metrics.UNFIT.labels(table).inc()
                log.error("row does not fit its table, left out", table=table, row=repr(row)[:500], error=str(error))
            else:
                fitting.append(row)
        return to_arrow(table, fitting) if fitting else SCHEMAS[table].empty_table()


def external(structure: str, rows: Sequence[Sequence[Any]]) -> ExternalData:
    """The table `touched` that goes along with queries, of one row at least; any number of them may read it.

    `structure` is columns with ClickHouse's types, as `"SdkAppId UInt32, RoomId String"`.
    """
    names = [column.split()[0] for column in structure.split(", ")]
    columns = pa.table([pa.array(column) for column in zip(*rows, strict=True)], names=names)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, columns.schema) as file:
        file.write_table(columns)
    return ExternalData(file_name="touched", data=sink.getvalue().to_pybytes(), fmt="Arrow", structure=structure)


def _first_line(error: BaseException) -> str:
    lines = str(error).splitlines()
    return (lines[0] if lines else repr(error))[:500]
