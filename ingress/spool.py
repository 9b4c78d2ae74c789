"""
The spool: one SQLite file for the events that the broker can not take yet.

One thread writes it. What waits there at one time shares one transaction (WAL, `synchronous=FULL`), and an append returns only after that is on
the disk. The file belongs to one process; others may read it.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, TypeVar

from shared import clock, logs, metrics
from shared.errors import Misconfigured, Unavailable

T = TypeVar("T")
Now = Callable[[], datetime]

log = logs.get_logger()

OFF = "off"
MAX_EVENTS = 1_000_000

_VERSION = 1
_BUSY_SECONDS = 1.0
_VACUUM_PAGES = 2_000
_SHARE_LEFT = 64

_SCHEMA = f"""
CREATE TABLE events (seq INTEGER PRIMARY KEY AUTOINCREMENT, spooled_at INTEGER NOT NULL, body BLOB NOT NULL);
CREATE TABLE aside (
    seq INTEGER PRIMARY KEY, spooled_at INTEGER NOT NULL, set_aside_at INTEGER NOT NULL, reason TEXT NOT NULL, body BLOB NOT NULL
);
CREATE TABLE failure (id INTEGER PRIMARY KEY CHECK (id = 1), at INTEGER NOT NULL, reason TEXT NOT NULL);
PRAGMA user_version = {_VERSION};
"""


class SpoolTaken(Misconfigured):
    """The spool belongs to another process that runs."""


@dataclass(frozen=True, slots=True)
class Record:
    """One spooled event; `seq` grows and is never given twice."""

    seq: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Size:
    """How much waits to be relayed; `bytes` are those of the events, the file is somewhat larger."""

    events: int = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class Aside:
    """An event that was given up, and why."""

    seq: int
    reason: str
    set_aside_at: datetime


@dataclass(frozen=True, slots=True)
class Failure:
    """Why relaying did not go on, the last time that it did not."""

    reason: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Summary:
    """What a person wants to know of a spool."""

    size: Size
    oldest: datetime | None = None
    failure: Failure | None = None
    aside: tuple[Aside, ...] = ()


@dataclass(eq=False, slots=True)
class _Job:
    work: Callable[[sqlite3.Connection], Any]
    future: asyncio.Future[Any]
    body: bytes | None = None
    at: int = 0


@dataclass
class _Kept:
    """What is on the disk and what is on its way there."""

    events: int = 0
    bytes: int = 0
    aside_bytes: int = 0
    coming: int = 0
    coming_bytes: int = 0
    is_refusing: bool = False
    filled: asyncio.Event = field(default_factory=asyncio.Event)


class Spool:
    """Made by `opened`. Every coroutine raises `Unavailable` when the disk refuses."""

    def __init__(
        self, jobs: SimpleQueue[_Job | None], kept: _Kept, *, max_bytes: int, max_events: int, now: Now
    ) -> None:
        self._jobs = jobs
        self._kept = kept
        self._max_bytes = max_bytes
        self._max_events = max_events
        self._now = now

    @property
    def size(self) -> Size:
        """What is on the disk."""
        return Size(self._kept.events, self._kept.bytes)

    @property
    def holds_any(self) -> bool:
        """Whether an event is in the spool or on its way there."""
        return bool(self._kept.events or self._kept.coming)

    @property
    def filled(self) -> asyncio.Event:
        """Set while there is something to relay."""
        return self._kept.filled

    async def append(self, body: bytes) -> None:
        """
        Keep an event; it is on the disk when this returns. Raises `Unavailable` when there is no room, too.

        Whoever calls first comes first, also when two of them wait for one commit.
        """
        self._require_room(len(body))
        self._kept.coming += 1
        self._kept.coming_bytes += len(body)
        job = _Job(_nothing, asyncio.get_running_loop().create_future(), body, clock.to_ms(self._now()))
        self._jobs.put(job)
        await job.future

    async def read(self, limit: int, max_bytes: int, *, after: int = 0) -> list[Record]:
        """The oldest events behind `after`, at least one if there is any, and about `max_bytes` bytes of them at most."""

        def work(db: sqlite3.Connection) -> list[Record]:
            found, size = [], 0
            rows = db.execute("SELECT seq, body FROM events WHERE seq > ? ORDER BY seq LIMIT ?", (after, limit))
            with closing(rows):
                for seq, body in rows:
                    found.append(Record(seq, bytes(body)))
                    size += len(body)
                    if size >= max_bytes:
                        break
            return found

        return await self._call(work)

    async def remove(self, records: Sequence[Record]) -> None:
        """Forget what is safe elsewhere, in one transaction."""

        def work(db: sqlite3.Connection) -> None:
            with _transaction(db):
                db.executemany("DELETE FROM events WHERE seq = ?", [(record.seq,) for record in records])
                db.execute("DELETE FROM failure")

        await self._call(work)
        self._forget(records)

    async def set_aside(self, record: Record, reason: str) -> None:
        """Keep it for a person, out of the way of the others."""

        def work(db: sqlite3.Connection) -> None:
            with _transaction(db):
                db.execute(
                    "INSERT INTO aside SELECT seq, spooled_at, ?, ?, body FROM events WHERE seq = ?",
                    (clock.to_ms(self._now()), reason, record.seq),
                )
                db.execute("DELETE FROM events WHERE seq = ?", (record.seq,))

        await self._call(work)
        self._kept.aside_bytes += len(record.body)
        self._forget([record])
        metrics.SPOOL_SET_ASIDE.inc()
        log.error("spooled_event_set_aside", seq=record.seq, reason=reason)

    async def note_failure(self, reason: str) -> None:
        """Remember why relaying does not go on."""

        def work(db: sqlite3.Connection) -> None:
            with _transaction(db):
                db.execute("INSERT OR REPLACE INTO failure VALUES (1, ?, ?)", (clock.to_ms(self._now()), reason))

        await self._call(work)

    async def shrink(self) -> bool:
        """Give some of the disk back that events have left; whether there is more to give."""
        return await self._call(_shrink)

    async def check(self) -> None:
        """Raises `Unavailable` when an event of some size could not be kept any more."""
        self._require_room(max(1, self._max_bytes // _SHARE_LEFT))
        if self._kept.is_refusing:
            await self._call(_touch)
            self._kept.is_refusing = False

    def _require_room(self, size: int) -> None:
        kept = self._kept
        if kept.events + kept.coming >= self._max_events:
            raise Unavailable(f"the spool is full: {kept.events} events")
        if kept.bytes + kept.coming_bytes + kept.aside_bytes + size > self._max_bytes:
            raise Unavailable(f"the spool is full: {kept.bytes + kept.aside_bytes} bytes")

    async def _call(self, work: Callable[[sqlite3.Connection], T]) -> T:
        job = _Job(work, asyncio.get_running_loop().create_future())
        self._jobs.put(job)
        answer: T = await job.future
        return answer

    def _forget(self, records: Sequence[Record]) -> None:
        self._kept.events -= len(records)
        self._kept.bytes -= sum(len(record.body) for record in records)
        _publish_size(self._kept)


@asynccontextmanager
async def opened(
    path: Path, *, max_bytes: int, max_events: int = MAX_EVENTS, now: Now = clock.now
) -> AsyncIterator[Spool]:
    """
    The spool in that file until the end of the block, with what an earlier process has left in it.

    Raises `SpoolTaken` while another process has it, `Misconfigured` when the file can not be used, `Unavailable` when the disk is full.
    """
    loop = asyncio.get_running_loop()
    jobs: SimpleQueue[_Job | None] = SimpleQueue()
    kept = _Kept()
    ready: asyncio.Future[tuple[int, int, int]] = loop.create_future()
    ended: asyncio.Future[None] = loop.create_future()
    with _locked(path):
        writer = Thread(target=_write, args=(path, loop, jobs, kept, ready, ended), name="spool", daemon=True)
        writer.start()
        try:
            kept.events, kept.bytes, kept.aside_bytes = await ready
            _publish_size(kept)
            yield Spool(jobs, kept, max_bytes=max_bytes, max_events=max_events, now=now)
        finally:
            jobs.put(None)
            await asyncio.shield(ended)
            writer.join()


def summarize(path: Path) -> Summary:
    """
    What is in the file, whoever has it; a file that does not exist holds nothing. Raises `Misconfigured` when it is no spool.
    """
    if not path.exists():
        return Summary(Size())
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=_BUSY_SECONDS)) as db:
            db.execute("BEGIN")
            events, size, oldest = db.execute(
                "SELECT count(*), coalesce(sum(length(body)), 0), min(spooled_at) FROM events"
            ).fetchone()
            failure = db.execute("SELECT reason, at FROM failure").fetchone()
            aside = db.execute("SELECT seq, reason, set_aside_at FROM aside ORDER BY seq").fetchall()
    except sqlite3.Error as error:
        raise Misconfigured(f"KGW_SPOOL: {path} can not be read: {error}") from error
    return Summary(
        Size(events, size),
        None if oldest is None else clock.from_ms(oldest),
        None if failure is None else Failure(failure[0], clock.from_ms(failure[1])),
        tuple(Aside(seq, reason, clock.from_ms(at)) for seq, reason, at in aside),
    )


# The lock


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    # Not the database's own lock: that would keep those out who only want to look. The kernel gives it back when the process is killed.
    try:
        descriptor = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _unusable(path, error) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise SpoolTaken(
                f"KGW_SPOOL: {path} belongs to an ingress that runs (process {_holder(descriptor)}); give each a file of its own"
            ) from error
        except OSError as error:
            raise _unusable(path, error) from error
        with suppress(OSError):  # it is a hint for people, and a full disk has no room for it
            os.ftruncate(descriptor, 0)
            os.write(descriptor, b"%d\n" % os.getpid())
        yield
    finally:
        os.close(descriptor)


def _holder(descriptor: int) -> str:
    text = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip()
    return text if text.isdigit() else "unknown"


def _unusable(path: Path, error: OSError | sqlite3.Error) -> Misconfigured | Unavailable:
    if getattr(error, "errno", None) == errno.ENOSPC or _code(error) == sqlite3.SQLITE_FULL:
        return Unavailable(f"no room on the disk for {path}")
    reason = error.strerror if isinstance(error, OSError) else str(error)
    return Misconfigured(f'KGW_SPOOL: {path} can not be used: {reason}. Name another file, or "{OFF}"')


def _code(error: BaseException) -> int | None:
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return code


# The thread


def _write(
    path: Path,
    loop: asyncio.AbstractEventLoop,
    jobs: SimpleQueue[_Job | None],
    kept: _Kept,
    ready: asyncio.Future[tuple[int, int, int]],
    ended: asyncio.Future[None],
) -> None:
    try:
        try:
            db = _connect(path)
        except (OSError, sqlite3.Error, Misconfigured) as error:
            reason = error if isinstance(error, Misconfigured) else _unusable(path, error)
            loop.call_soon_threadsafe(_fail, ready, reason)
            return
        with closing(db):
            loop.call_soon_threadsafe(_succeed, ready, _measure(db))
            for group in _groups(jobs):
                _serve(db, group, loop, kept)
    finally:
        loop.call_soon_threadsafe(ended.set_result, None)


def _connect(path: Path) -> sqlite3.Connection:
    # SQLite gives its other files the rights of this one.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    db = sqlite3.connect(path, isolation_level=None, timeout=_BUSY_SECONDS)
    try:
        # The first must stand before the file has a page, and so before WAL does.
        db.execute("PRAGMA auto_vacuum = INCREMENTAL")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version == 0:
            db.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} COMMIT;")
        elif version != _VERSION:
            raise Misconfigured(f"KGW_SPOOL: {path} is of version {version}, this is {_VERSION}")  # noqa: TRY301
    except BaseException:
        db.close()
        raise
    return db


def _measure(db: sqlite3.Connection) -> tuple[int, int, int]:
    events, size = db.execute("SELECT count(*), coalesce(sum(length(body)), 0) FROM events").fetchone()
    (aside,) = db.execute("SELECT coalesce(sum(length(body)), 0) FROM aside").fetchone()
    return events, size, aside


def _groups(jobs: SimpleQueue[_Job | None]) -> Iterator[list[_Job]]:
    """All that waits, again and again, until None has come and nothing waits any more."""
    is_open = True
    while is_open:
        group = [jobs.get()]
        with suppress(Empty):
            while True:
                group.append(jobs.get_nowait())
        is_open = None not in group
        yield [job for job in group if job is not None]


def _serve(db: sqlite3.Connection, group: list[_Job], loop: asyncio.AbstractEventLoop, kept: _Kept) -> None:
    """What makes room comes first."""
    for job in group:
        if job.body is None:
            try:
                answer = job.work(db)
            except Exception as error:
                loop.call_soon_threadsafe(_fail, job.future, _as_ours(error))
            else:
                loop.call_soon_threadsafe(_succeed, job.future, answer)
    appends = [job for job in group if job.body is not None]
    if not appends:
        return
    failure = None
    try:
        with _transaction(db):
            db.executemany(
                "INSERT INTO events (spooled_at, body) VALUES (?, ?)", [(job.at, job.body) for job in appends]
            )
    except Exception as error:
        failure = _as_ours(error)
    loop.call_soon_threadsafe(_settle_appends, appends, kept, failure)


@contextmanager
def _transaction(db: sqlite3.Connection) -> Iterator[None]:
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        # A full disk or an I/O error has rolled back by itself.
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def _as_ours(error: Exception) -> Exception:
    return Unavailable(f"the spool can not be used: {error}") if isinstance(error, sqlite3.Error) else error


def _nothing(_: sqlite3.Connection) -> None:
    """An append is more than its own."""


def _touch(db: sqlite3.Connection) -> None:
    with _transaction(db):
        db.execute(f"PRAGMA user_version = {_VERSION}")


def _shrink(db: sqlite3.Connection) -> bool:
    # Each row is a page that has been given back.
    db.execute(f"PRAGMA incremental_vacuum({_VACUUM_PAGES})").fetchall()
    (left,) = db.execute("PRAGMA freelist_count").fetchone()
    if not left:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    return bool(left)


# Back on the loop


def _settle_appends(jobs: list[_Job], kept: _Kept, failure: Exception | None) -> None:
    # Counted here and not where it is awaited: whoever awaited it may have been cancelled, and the event is there all the same.
    size = sum(len(job.body or b"") for job in jobs)
    kept.coming -= len(jobs)
    kept.coming_bytes -= size
    kept.is_refusing = failure is not None
    if failure is None:
        kept.events += len(jobs)
        kept.bytes += size
        metrics.SPOOLED.inc(len(jobs))
        _publish_size(kept)
    for job in jobs:
        if failure is None:
            _succeed(job.future, None)
        else:
            _fail(job.future, failure)


def _publish_size(kept: _Kept) -> None:
    metrics.SPOOL_EVENTS.set(kept.events)
    metrics.SPOOL_BYTES.set(kept.bytes)
    if kept.events:
        kept.filled.set()
    else:
        kept.filled.clear()


def _succeed(future: asyncio.Future[T], answer: T) -> None:
    if not future.done():
        future.set_result(answer)


def _fail(future: asyncio.Future[Any], failure: Exception) -> None:
    if not future.done():
        future.set_exception(failure)
