"""
The store's door: `begin()` for a short writing transaction, `read()` for reading. Nothing here knows a table.

SQLite has one writer, so each process has one writing connection and shares its commits: transactions that wait at the door together
go through one `BEGIN IMMEDIATE … COMMIT`, each in a savepoint of its own, and pay for one fsync. Nobody goes on before that commit.
PostgreSQL uses a pool.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any, Protocol

from sqlalchemy import event, make_url, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from shared.errors import Misconfigured, Transient

GROUP_SIZE = 64
BUSY_SECONDS = 20
POOL_SIZE = 10

# serialization_failure, deadlock_detected (PostgreSQL, Appendix A): the loser may try again.
_CONFLICTS = frozenset({"40001", "40P01"})

Connection = AsyncConnection


class StoreUnreachable(Transient):
    """The store does not answer."""


class Store(Protocol):
    """What every process uses."""

    url: URL

    def begin(self) -> AbstractAsyncContextManager[Connection]:
        """
        A writing transaction, committed at the end of the block; never hold one over an HTTP call.

        Raises `StoreUnreachable` when the database is away.
        """
        ...

    def read(self) -> AbstractAsyncContextManager[Connection]:
        """A connection for reading, without a transaction."""
        ...


def parse_url(url: str) -> URL:
    """Accept `sqlite:///…` and `postgresql://…` with or without the driver; raises `Misconfigured` for anything else."""
    try:
        parsed = make_url(url)
    except SQLAlchemyError:
        raise Misconfigured(
            "KGW_DATABASE_URL is not a URL: write sqlite:///path or postgresql://user:password@host/name"
        ) from None
    drivers = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg", "postgres": "postgresql+asyncpg"}
    backend = parsed.drivername.split("+")[0]
    if backend not in drivers:
        raise Misconfigured(f"KGW_DATABASE_URL: {backend} is not supported: use sqlite or postgresql")
    return parsed.set(drivername=drivers[backend])


@asynccontextmanager
async def open_store(url: str) -> AsyncIterator[Store]:
    """The store at `url`, until the end of the block."""
    parsed = parse_url(url)
    if parsed.get_backend_name() == "sqlite":
        async with _open_sqlite(parsed) as store:
            yield store
        return
    engine = create_async_engine(parsed, pool_size=POOL_SIZE, max_overflow=POOL_SIZE, pool_pre_ping=True)
    try:
        yield _Postgres(parsed, engine)
    finally:
        await engine.dispose()


class _Postgres:
    def __init__(self, url: URL, engine: AsyncEngine) -> None:
        self.url = url
        self._engine = engine

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[Connection]:
        with _reachable():
            async with self._engine.begin() as connection:
                yield connection

    @asynccontextmanager
    async def read(self) -> AsyncIterator[Connection]:
        with _reachable():
            async with self._engine.connect() as connection:
                yield await connection.execution_options(isolation_level="AUTOCOMMIT")


class _Turn:
    """One transaction's place in the queue for the writing connection."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.granted: asyncio.Future[Connection] = loop.create_future()
        self.finished: asyncio.Future[bool] = loop.create_future()
        self.committed: asyncio.Future[None] = loop.create_future()


class _Sqlite:
    def __init__(self, url: URL, writer: Connection, readers: AsyncEngine) -> None:
        self.url = url
        self._writer = writer
        self._readers = readers
        self._turns: asyncio.Queue[_Turn | None] = asyncio.Queue()

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[Connection]:
        turn = _Turn()
        self._turns.put_nowait(turn)
        with _reachable():
            try:
                connection = await turn.granted
                yield connection
            except BaseException:
                turn.granted.cancel()
                turn.finished.set_result(False)
                turn.committed.cancel()
                raise
            turn.finished.set_result(True)
            await turn.committed

    @asynccontextmanager
    async def read(self) -> AsyncIterator[Connection]:
        with _reachable():
            async with self._readers.connect() as connection:
                yield connection

    async def write(self) -> None:
        """Serve the queue until `close()`; the one task that touches the writing connection outside a turn."""
        while (turn := await self._turns.get()) is not None:
            group = [turn]
            try:
                await self._writer.exec_driver_sql("BEGIN IMMEDIATE")
                await self._serve(group)
                await self._writer.exec_driver_sql("COMMIT")
            except DBAPIError as error:
                with suppress(DBAPIError):  # SQLite may have rolled back by itself: disk full, I/O error
                    await self._writer.exec_driver_sql("ROLLBACK")
                for member in group:
                    _settle(member.granted, error)
                    _settle(member.committed, error)
            else:
                for member in group:
                    _settle(member.committed)

    def close(self) -> None:
        """Let `write` end after what is queued."""
        self._turns.put_nowait(None)

    async def _serve(self, group: list[_Turn]) -> None:
        turn: _Turn | None = group[0]
        while turn is not None:
            if not turn.granted.cancelled():
                await self._writer.exec_driver_sql("SAVEPOINT turn")
                turn.granted.set_result(self._writer)
                if not await turn.finished:
                    await self._writer.exec_driver_sql("ROLLBACK TO turn")
                await self._writer.exec_driver_sql("RELEASE turn")
            if len(group) >= GROUP_SIZE or self._turns.empty():
                return
            turn = self._turns.get_nowait()
            if turn is None:
                self.close()
            else:
                group.append(turn)


def _settle(future: asyncio.Future[Any], error: Exception | None = None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)


class _reachable:  # noqa: N801  reads as a phrase in a with statement
    """Turn "the database is away" into `StoreUnreachable`; every other error is a defect and stays what it is."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if isinstance(error, OperationalError | InterfaceError | OSError):
            raise StoreUnreachable(f"the store does not answer: {type(error).__name__}") from error
        if isinstance(error, DBAPIError) and error.connection_invalidated:
            raise StoreUnreachable("the connection to the store was lost") from error
        if getattr(getattr(error, "orig", None), "sqlstate", None) in _CONFLICTS:
            raise StoreUnreachable("two transactions were in each other's way") from error


@asynccontextmanager
async def _open_sqlite(url: URL) -> AsyncIterator[Store]:
    if url.database in (None, "", ":memory:"):
        raise Misconfigured("KGW_DATABASE_URL: SQLite needs a file, so that a restart loses nothing")
    engines = [
        create_async_engine(url, isolation_level="AUTOCOMMIT", connect_args={"timeout": BUSY_SECONDS}, pool_size=size)
        for size in (1, 4)
    ]
    for engine in engines:
        event.listen(engine.sync_engine, "connect", _prepare_sqlite)
    try:
        with _reachable():
            writer = await engines[0].connect()
        store = _Sqlite(url, writer, engines[1])
        serving = asyncio.create_task(store.write(), name="store-writer")
        try:
            yield store
        finally:
            store.close()
            await serving
            await writer.close()
    finally:
        for engine in engines:
            await engine.dispose()


def _prepare_sqlite(connection: object, _: object) -> None:
    cursor = connection.cursor()  # type: ignore[attr-defined]
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "cache_size=-8000"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


async def ping(store: Store) -> None:
    """Raises `StoreUnreachable` when the database does not answer."""
    async with store.read() as db:
        await db.execute(text("SELECT 1"))
