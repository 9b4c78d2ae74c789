"""
SQLite's shared commit: transactions that wait together pay for one, and none is touched by another's failure.
"""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event, select, text

from shared.store import leases
from shared.store.engine import GROUP_SIZE, Connection, Store, StoreUnreachable, open_store, ping
from shared.store.leases import Lease
from shared.store.tables import leases as leases_table
from tests.builders import at, new_id

End = Literal["commit", "raise", "cancelled while queued", "cancelled inside", "cancelled at commit"]

BUSY_SECONDS = 0.2


async def write(db: Connection, resource: str) -> None:
    await leases.take(db, Lease(resource, new_id(), new_id(), at(30)))


async def written(store: Store) -> set[str]:
    async with store.read() as db:
        return set((await db.execute(select(leases_table.c.resource))).scalars())


@asynccontextmanager
async def door_held(store: Store) -> AsyncIterator[asyncio.Task[None]]:
    """
    Hold the writing connection, so that whatever comes next queues behind it and shares its commit.

    The holder's task ends with that commit, after the block.
    """
    entered, leave = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        async with store.begin():
            entered.set()
            await leave.wait()

    task = asyncio.create_task(hold())
    await entered.wait()
    try:
        yield task
    finally:
        leave.set()


async def write_alone(store: Store, resource: str) -> None:
    async with store.begin() as db:
        await write(db, resource)


async def queued(store: Store, *resources: str) -> list[asyncio.Task[None]]:
    tasks = [asyncio.create_task(write_alone(store, resource)) for resource in resources]
    await asyncio.sleep(0)  # lets each of them come to the door
    return tasks


@asynccontextmanager
async def held_by_another_process(path: Path) -> AsyncIterator[None]:
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.execute("ROLLBACK")
        other.close()


@pytest.fixture
async def impatient(sqlite_url: str) -> AsyncIterator[Store]:
    """A store that waits only briefly for other processes."""
    async with open_store(sqlite_url, busy_timeout=BUSY_SECONDS) as store:
        yield store


async def test_what_waits_together_is_committed_together(sqlite_store: Store, statements: list[str]) -> None:
    async with door_held(sqlite_store) as holder:
        tasks = await queued(sqlite_store, "a", "b", "c")
    await asyncio.gather(holder, *tasks)

    assert statements.count("COMMIT") == 1
    assert await written(sqlite_store) == {"a", "b", "c"}


async def test_nobody_goes_on_before_the_commit(sqlite_store: Store) -> None:
    """The first block of a group has long ended while the last is still at work; it may tell nobody yet."""
    async with door_held(sqlite_store) as holder:
        (first,) = await queued(sqlite_store, "first")
        last_inside, leave = asyncio.Event(), asyncio.Event()

        async def last() -> None:
            async with sqlite_store.begin() as db:
                last_inside.set()
                await leave.wait()
                await write(db, "last")

        slow = asyncio.create_task(last())
        await asyncio.sleep(0)
    await last_inside.wait()

    assert not first.done()
    assert await written(sqlite_store) == set()
    leave.set()
    await asyncio.gather(holder, first, slow)
    assert await written(sqlite_store) == {"first", "last"}


async def test_a_group_has_an_end_however_many_wait(sqlite_store: Store, statements: list[str]) -> None:
    async with door_held(sqlite_store) as holder:
        tasks = await queued(sqlite_store, *(f"r{number}" for number in range(2 * GROUP_SIZE)))
    await asyncio.gather(holder, *tasks)

    assert statements.count("COMMIT") == 3
    assert len(await written(sqlite_store)) == 2 * GROUP_SIZE


async def test_a_block_that_fails_takes_only_its_own_back(sqlite_store: Store) -> None:
    async def fail() -> None:
        async with sqlite_store.begin() as db:
            await write(db, "failed")
            raise LookupError("ours")

    async with door_held(sqlite_store) as holder:
        before = await queued(sqlite_store, "before")
        failing = asyncio.create_task(fail())
        await asyncio.sleep(0)
        after = await queued(sqlite_store, "after")
    results = await asyncio.gather(*before, failing, *after, return_exceptions=True)
    await holder

    assert [type(result) for result in results] == [type(None), LookupError, type(None)]
    assert await written(sqlite_store) == {"before", "after"}


async def test_a_statement_that_fails_takes_only_its_own_block_back(sqlite_store: Store) -> None:
    async def fail() -> None:
        async with sqlite_store.begin() as db:
            await write(db, "failed")
            await db.execute(text("SELECT 1 FROM no_such_table"))

    async with door_held(sqlite_store) as holder:
        before = await queued(sqlite_store, "before")
        failing = asyncio.create_task(fail())
        await asyncio.sleep(0)
        after = await queued(sqlite_store, "after")
    results = await asyncio.gather(*before, failing, *after, return_exceptions=True)
    await holder

    assert [isinstance(result, Exception) for result in results] == [False, True, False]
    assert await written(sqlite_store) == {"before", "after"}


async def test_who_is_cancelled_in_the_queue_never_enters(sqlite_store: Store) -> None:
    async with door_held(sqlite_store) as holder:
        gone, stays = await queued(sqlite_store, "gone", "stays")
        gone.cancel()
    await asyncio.gather(holder, stays)

    assert gone.cancelled()
    assert await written(sqlite_store) == {"stays"}


async def test_cancelling_while_the_commit_is_awaited_undoes_nothing(sqlite_store: Store) -> None:
    inside, leave = asyncio.Event(), asyncio.Event()

    async def stay() -> None:
        async with sqlite_store.begin() as db:
            inside.set()
            await leave.wait()
            await write(db, "stayed")

    async with door_held(sqlite_store) as holder:
        (awaiting_commit,) = await queued(sqlite_store, "impatient")
        staying = asyncio.create_task(stay())
        await asyncio.sleep(0)
    await inside.wait()  # the block before it has ended by then
    awaiting_commit.cancel()
    leave.set()
    await asyncio.gather(holder, staying)

    assert awaiting_commit.cancelled()
    assert await written(sqlite_store) == {"impatient", "stayed"}


async def test_a_file_that_another_process_holds_too_long_fails_everyone_who_waits_at_once(
    impatient: Store, sqlite_url: str
) -> None:
    """Each waiting as long again for everyone before it would take minutes."""
    path = Path(sqlite_url.removeprefix("sqlite:///"))
    async with held_by_another_process(path):
        tasks = await queued(impatient, *(f"r{number}" for number in range(20)))
        async with asyncio.timeout(10 * BUSY_SECONDS):
            results = await asyncio.gather(*tasks, return_exceptions=True)

    assert {type(result) for result in results} == {StoreUnreachable}
    await write_alone(impatient, "afterwards")
    assert await written(impatient) == {"afterwards"}


async def test_a_commit_that_fails_reaches_every_member_of_its_group(impatient: Store) -> None:
    """A foreign key that is checked at the end alone makes the commit itself fail."""

    async def break_a_key() -> None:
        async with impatient.begin() as db:
            await db.execute(text("PRAGMA defer_foreign_keys = ON"))
            await db.execute(text("INSERT INTO receipts VALUES ('r', 'no such event', 0, 'matched', NULL)"))

    async with door_held(impatient) as holder:
        before = await queued(impatient, "before")
        breaking = asyncio.create_task(break_a_key())
        await asyncio.sleep(0)
        after = await queued(impatient, "after")
    results = await asyncio.gather(holder, *before, breaking, *after, return_exceptions=True)

    assert all(isinstance(result, Exception) for result in results)
    assert await written(impatient) == set()
    await write_alone(impatient, "afterwards")
    assert await written(impatient) == {"afterwards"}


async def test_a_file_that_became_read_only_is_unreachable(impatient: Store) -> None:
    await write_alone(impatient, "before")
    async with impatient.begin() as db:
        await db.execute(text("PRAGMA query_only = ON"))

    with pytest.raises(StoreUnreachable):
        await write_alone(impatient, "refused")

    assert await written(impatient) == {"before"}


async def test_closing_serves_what_is_queued(sqlite_url: str) -> None:
    async with open_store(sqlite_url) as store, door_held(store) as holder:
        tasks = await queued(store, "a", "b")
    await asyncio.gather(holder, *tasks)

    async with open_store(sqlite_url) as store:
        assert await written(store) == {"a", "b"}


async def test_a_closed_store_refuses_instead_of_waiting_for_ever(sqlite_url: str) -> None:
    async with open_store(sqlite_url) as store:
        await ping(store)

    with pytest.raises(StoreUnreachable, match="closed"):
        await write_alone(store, "late")


async def test_two_processes_stores_share_a_file(sqlite_store: Store, sqlite_url: str) -> None:
    async with open_store(sqlite_url) as other:
        await asyncio.gather(
            *(write_alone(sqlite_store, f"a{number}") for number in range(20)),
            *(write_alone(other, f"b{number}") for number in range(20)),
        )

        assert await written(other) == await written(sqlite_store)
        assert len(await written(other)) == 40


@pytest.fixture
def statements(sqlite_store: Store) -> list[str]:
    """What the writing connection executes from now on."""
    executed: list[str] = []

    def note(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        executed.append(statement)

    writer = sqlite_store._writer  # type: ignore[attr-defined]
    event.listen(writer.sync_connection, "before_cursor_execute", note)
    return executed


@given(st.lists(st.sampled_from(get_args(End)), min_size=1, max_size=12))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_becomes_of_the_others_a_block_is_there_entirely_or_not_at_all(
    sqlite_template: Path, ends: list[End]
) -> None:
    """Against the model: who committed is there, who failed is not, who was cancelled at the commit is there or not, but never by half."""
    with TemporaryDirectory() as folder:
        path = shutil.copy(sqlite_template, Path(folder, "store.db"))
        outcomes, found = asyncio.run(_play(f"sqlite:///{path}", ends))

    for number, (end, outcome) in enumerate(zip(ends, outcomes, strict=True)):
        halves = {f"{number}.1", f"{number}.2"} & found
        assert len(halves) in (0, 2)
        if end == "commit":
            assert (outcome, len(halves)) == (None, 2)
        elif end == "raise":
            assert (outcome, len(halves)) == (LookupError, 0)
        elif end != "cancelled at commit":
            assert (outcome, len(halves)) == (asyncio.CancelledError, 0)


async def _play(url: str, ends: list[End]) -> tuple[list[type[BaseException] | None], set[str]]:
    async with open_store(url) as store:
        players = [_Player(store, str(number), end) for number, end in enumerate(ends)]
        async with door_held(store) as holder:
            tasks = [asyncio.create_task(player.play()) for player in players]
            await asyncio.sleep(0)
            for player, task in zip(players, tasks, strict=True):
                player.come_to_cancel(task)
        async with asyncio.timeout(20):
            results = await asyncio.gather(*tasks, return_exceptions=True)
        await holder
        await write_alone(store, "still works")
        found = await written(store)
    assert "still works" in found
    return [None if result is None else type(result) for result in results], found


class _Player:
    """One block: two rows, and an end. The cancelled ones are cancelled from outside, at the point that their end names."""

    def __init__(self, store: Store, name: str, end: End) -> None:
        self._store = store
        self._name = name
        self._end = end
        self._task: asyncio.Task[None] | None = None

    def come_to_cancel(self, task: asyncio.Task[None]) -> None:
        self._task = task
        if self._end == "cancelled while queued":
            task.cancel()

    async def play(self) -> None:
        async with self._store.begin() as db:
            await write(db, f"{self._name}.1")
            await write(db, f"{self._name}.2")
            if self._end == "cancelled inside":
                self._cancel_soon()
                await asyncio.Event().wait()
            if self._end == "raise":
                raise LookupError(self._name)
            if self._end == "cancelled at commit":
                self._cancel_soon()

    def _cancel_soon(self) -> None:
        assert self._task is not None
        asyncio.get_running_loop().call_soon(self._task.cancel)
