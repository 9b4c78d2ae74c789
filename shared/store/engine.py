"""
The store's door: `begin()` for a short writing transaction, `read()` for reading. Nothing here knows a table.

SQLite has one writer, so each process has one writing connection and shares its commits: transactions that wait at the door together
go through one `BEGIN IMMEDIATE … COMMIT`, each but the first in a savepoint, and pay for one fsync. Nobody goes on before that commit.
A statement on a local file takes less time than handing it to a thread, so SQLite's run on the event loop; only what waits goes to a
thread: BEGIN for another process's transaction, COMMIT for the disk. PostgreSQL uses a pool for transactions and one for single statements.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from sqlalchemy import Connection as SyncConnection
from sqlalchemy import CursorResult, Dialect, Executable, create_engine, event, make_url, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError, DisconnectionError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from tenacity import retry, retry_if_exception, stop_after_delay, wait_fixed

from shared.errors import Misconfigured, Transient

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

GROUP_SIZE = 64
BUSY_SECONDS = 20
# Connections to PostgreSQL are kept: a new one costs as much as a dozen transactions, and each prepares every statement once. Those for transactions
# are more than two cores can use, because actions of one run wait for each other's commit.
TRANSACTIONS = 12
SINGLE_STATEMENTS = 4

# serialization_failure, deadlock_detected (PostgreSQL, Appendix A): the loser may try again.
_CONFLICTS = frozenset({"40001", "40P01"})
# Connection exception, insufficient resources, operator intervention (the same appendix): the server is starting, stopping or full.
_AWAY = ("08", "53", "57P")

T = TypeVar("T")


class Connection(Protocol):
    """What a transaction's statements go through."""

    @property
    def dialect(self) -> Dialect:
        """Which SQL it speaks."""
        ...

    async def execute(self, statement: Executable, parameters: Any = None) -> CursorResult[Any]:
        """Run the statement."""
        ...

    async def exec_driver_sql(self, statement: str) -> CursorResult[Any]:
        """Run SQL as it is written."""
        ...

    async def run_sync(self, function: Callable[[SyncConnection], T], /) -> T:
        """Hand SQLAlchemy's own connection to a function that knows nothing of coroutines."""
        ...


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

    def begin_one(self) -> AbstractAsyncContextManager[Connection]:
        """A writing transaction of one statement, which needs no word for its beginning and end; otherwise as `begin`."""
        ...

    def read(self) -> AbstractAsyncContextManager[Connection]:
        """A connection for reading, without a transaction."""
        ...


def parse_url(url: str) -> URL:
    """Accept `sqlite:///…` and `postgresql://…` with or without the driver; raises `Misconfigured` for anything else."""
    try:
        parsed = make_url(url)
    except (SQLAlchemyError, ValueError):
        # The ValueError of a port that is none quotes the password's end when that has an @ in it.
        raise Misconfigured(
            "KGW_DATABASE_URL is not a URL: write sqlite:///path or postgresql://user:password@host/name"
        ) from None
    drivers = {"sqlite": "sqlite", "postgresql": "postgresql+asyncpg", "postgres": "postgresql+asyncpg"}
    backend = parsed.drivername.split("+")[0]
    if backend not in drivers:
        raise Misconfigured(f"KGW_DATABASE_URL: {backend} is not supported: use sqlite or postgresql")
    return parsed.set(drivername=drivers[backend])


@asynccontextmanager
async def open_store(
    url: str, *, busy_timeout: float = BUSY_SECONDS, is_migrating: bool = False
) -> AsyncIterator[Store]:
    """
    The store at `url`, until the end of the block. SQLite waits `busy_timeout` seconds for another process's transaction.

    `is_migrating` lets SQLite replace a table that others refer to: https://www.sqlite.org/lang_altertable.html, section 7.
    """
    parsed = parse_url(url)
    if parsed.get_backend_name() == "sqlite":
        async with _open_sqlite(parsed, busy_timeout, is_migrating) as store:
            yield store
        return
    whole, each = _pool(parsed, TRANSACTIONS), _pool(parsed, SINGLE_STATEMENTS, isolation_level="AUTOCOMMIT")
    try:
        yield _Postgres(parsed, whole, each)
    finally:
        await whole.dispose()
        await each.dispose()


class _Postgres:
    """`whole` is for transactions of several statements; on connections of `each` every statement is one."""

    def __init__(self, url: URL, whole: AsyncEngine, each: AsyncEngine) -> None:
        self.url = url
        self._whole = whole
        self._each = each

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[Connection]:
        with _reachable():
            async with self._whole.begin() as connection:
                yield connection

    @asynccontextmanager
    async def read(self) -> AsyncIterator[Connection]:
        with _reachable():
            async with self._each.connect() as connection:
                yield connection

    begin_one = read


def _pool(url: URL, size: int, **options: Any) -> AsyncEngine:
    from sqlalchemy.ext.asyncio import create_async_engine  # with the ORM: 6 MB that SQLite has no use for

    engine = create_async_engine(
        url, pool_size=size, max_overflow=0, pool_use_lifo=True, hide_parameters=True, **options
    )
    event.listen(engine.sync_engine, "checkout", _require_open)
    return engine


def _require_open(connection: Any, *_: object) -> None:
    """Have the pool replace a connection that the server has closed. asyncpg hears of it by itself; asking would cost a roundtrip each time."""
    if connection.driver_connection.is_closed():
        raise DisconnectionError


class _Turn:
    """One transaction's place in the queue for the writing connection."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.granted: asyncio.Future[Connection] = loop.create_future()
        self.finished: asyncio.Future[bool] = loop.create_future()
        self.committed: asyncio.Future[None] = loop.create_future()


class _Direct:
    """On a connection of SQLite's, which answers at once."""

    def __init__(self, connection: SyncConnection) -> None:
        self.sync_connection = connection
        self.dialect = connection.dialect

    async def execute(self, statement: Executable, parameters: Any = None) -> CursorResult[Any]:
        """Run the statement."""
        return self.sync_connection.execute(statement, parameters)

    async def exec_driver_sql(self, statement: str) -> CursorResult[Any]:
        """Run SQL as it is written."""
        return self.sync_connection.exec_driver_sql(statement)

    async def run_sync(self, function: Callable[[SyncConnection], T], /) -> T:
        """Hand the connection to a function that knows nothing of coroutines."""
        return function(self.sync_connection)

    async def wait_for(self, statement: str) -> None:
        """Run SQL that waits for the disk or for another process, in a thread."""
        await asyncio.to_thread(self.sync_connection.exec_driver_sql, statement)


class _Sqlite:
    def __init__(self, url: URL, writer: _Direct, reader: _Direct) -> None:
        self.url = url
        self._writer = writer
        self._reader = reader
        self._turns: asyncio.Queue[_Turn | None] = asyncio.Queue()
        self._is_closed = False

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[Connection]:
        if self._is_closed:
            raise StoreUnreachable("the store is closed")
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

    begin_one = begin

    @asynccontextmanager
    async def read(self) -> AsyncIterator[Connection]:
        with _reachable():
            yield self._reader

    async def write(self) -> None:
        """Serve the queue until `close()`; the one task that touches the writing connection outside a turn."""
        while (turn := await self._turns.get()) is not None:
            group = [turn]
            try:
                await self._begin(group)
                await self._writer.wait_for("COMMIT" if await self._serve(group) else "ROLLBACK")
            except Exception as error:  # whatever it is, whoever waits for this commit must hear of it
                await self._roll_back()
                for member in group:
                    _settle(member.granted, error)
                    _settle(member.committed, error)
            else:
                for member in group:
                    _settle(member.committed)

    def close(self) -> None:
        """Let `write` end after what is queued."""
        self._is_closed = True
        self._turns.put_nowait(None)

    async def _begin(self, group: list[_Turn]) -> None:
        try:
            await self._writer.wait_for("BEGIN IMMEDIATE")
        except DBAPIError:
            # Another process has the file: who came meanwhile has waited too, and must not wait as long again for each one before it.
            while not self._turns.empty():
                turn = self._turns.get_nowait()
                if turn is None:
                    self.close()
                    break
                group.append(turn)
            raise

    async def _roll_back(self) -> None:
        # SQLite may have rolled back by itself: disk full, I/O error. SQLAlchemy's own rollback also lets a lost connection be opened anew.
        with suppress(DBAPIError):
            await asyncio.to_thread(self._writer.sync_connection.rollback)

    async def _serve(self, group: list[_Turn]) -> bool:
        """Let the turns write one after the other; False when there is nothing to commit, because the only one has failed."""
        turn: _Turn | None = group[0]
        while turn is not None:
            if not turn.granted.cancelled() and not await self._let_write(turn, is_first=turn is group[0]):
                return False
            if len(group) >= GROUP_SIZE or self._turns.empty():
                break
            turn = self._turns.get_nowait()
            if turn is None:
                self.close()
            else:
                group.append(turn)
        return True

    async def _let_write(self, turn: _Turn, *, is_first: bool) -> bool:
        """False when all that was written in the transaction is to be taken back. Only what follows others needs a savepoint for that."""
        if not is_first:
            await self._writer.exec_driver_sql("SAVEPOINT turn")
        turn.granted.set_result(self._writer)
        is_good = await turn.finished
        if is_first:
            return is_good
        if not is_good:
            await self._writer.exec_driver_sql("ROLLBACK TO turn")
        await self._writer.exec_driver_sql("RELEASE turn")
        return True


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
        if _is_defect(error):
            return
        if isinstance(error, OperationalError | InterfaceError | PoolTimeout | OSError):
            raise StoreUnreachable(f"the store does not answer: {type(error).__name__}") from error
        if isinstance(error, DBAPIError) and error.connection_invalidated:
            raise StoreUnreachable("the connection to the store was lost") from error
        state = str(getattr(getattr(error, "orig", error), "sqlstate", None))
        if state in _CONFLICTS:
            raise StoreUnreachable("two transactions were in each other's way") from error
        if state.startswith(_AWAY):
            raise StoreUnreachable(f"the store does not answer: SQLSTATE {state}") from error


def _is_defect(error: BaseException | None) -> bool:
    # sqlite3 raises OperationalError for a missing table as for a locked file; the code tells them apart.
    return _sqlite_code(getattr(error, "orig", None)) == sqlite3.SQLITE_ERROR


def _sqlite_code(error: BaseException | None) -> int | None:
    # https://www.sqlite.org/rescode.html: the low byte is the primary code.
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


@asynccontextmanager
async def _open_sqlite(url: URL, busy_timeout: float, is_migrating: bool) -> AsyncIterator[Store]:
    if url.database in (None, "", ":memory:"):
        raise Misconfigured("KGW_DATABASE_URL: SQLite needs a file, so that a restart loses nothing")
    engine = create_engine(
        url.set(drivername="sqlite"),
        isolation_level="AUTOCOMMIT",
        connect_args={"timeout": busy_timeout, "check_same_thread": False},
        hide_parameters=True,
    )
    event.listen(engine, "connect", _prepare_sqlite)
    if is_migrating:
        event.listen(engine, "connect", _ignore_foreign_keys)
    try:
        with _reachable():
            writer, reader = [_Direct(await asyncio.to_thread(engine.connect)) for _ in range(2)]
        store = _Sqlite(url, writer, reader)
        serving = asyncio.create_task(store.write(), name="store-writer")
        try:
            yield store
        finally:
            store.close()
            await serving
            for connection in (writer, reader):
                connection.sync_connection.close()
    finally:
        engine.dispose()


def _prepare_sqlite(connection: sqlite3.Connection, _: object) -> None:
    _use_wal(connection)
    for pragma in ("synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _ignore_foreign_keys(connection: sqlite3.Connection, _: object) -> None:
    connection.execute("PRAGMA foreign_keys=OFF")


def _is_locked(error: BaseException) -> bool:
    return isinstance(error, sqlite3.OperationalError) and _sqlite_code(error) == sqlite3.SQLITE_BUSY


# SQLite's own waiting leaves out the switch of a new file, which processes that start together all want to make.
@retry(retry=retry_if_exception(_is_locked), wait=wait_fixed(0.05), stop=stop_after_delay(BUSY_SECONDS), reraise=True)
def _use_wal(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA journal_mode=WAL")


def padded(values: Collection[str]) -> list[str]:
    """
    At least one value, for an `IN`, filled up to a power of two with copies of the last: so there are few statements to prepare.
    """
    filled = list(values)
    return filled + filled[-1:] * ((1 << (len(filled) - 1).bit_length()) - len(filled))


async def ping(store: Store) -> None:
    """Raises `StoreUnreachable` when the database does not answer."""
    async with store.read() as db:
        await db.execute(text("SELECT 1"))
