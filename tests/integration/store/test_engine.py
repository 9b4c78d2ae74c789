"""The store's door on both databases: commit, rollback, what readers see, and how an absent database is told."""

from __future__ import annotations

import asyncio
import secrets
from pathlib import Path

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from dev import postgres
from dev.host import Host
from shared.errors import Misconfigured
from shared.store import actions, deliveries, leases
from shared.store.engine import Store, StoreUnreachable, open_store, padded, parse_url, ping
from shared.store.leases import Lease
from shared.store.tables import deliveries as deliveries_table
from shared.store.tables import leases as leases_table
from tests.builders import an_action, an_event, at, new_id
from tests.waiting import until, until_blocked


def a_lease(resource: str) -> Lease:
    return Lease(resource, new_id(), new_id(), at(30))


async def resources(store: Store) -> set[str]:
    async with store.read() as db:
        return set((await db.execute(select(leases_table.c.resource))).scalars())


async def test_a_block_that_ends_is_committed(store: Store) -> None:
    async with store.begin() as db:
        await leases.take(db, a_lease("kept"))

    assert await resources(store) == {"kept"}


async def test_a_block_that_fails_is_rolled_back_and_its_error_stays_what_it_is(store: Store) -> None:
    async def fail() -> None:
        async with store.begin() as db:
            await leases.take(db, a_lease("lost"))
            raise LookupError("ours")

    with pytest.raises(LookupError, match="ours"):
        await fail()

    assert await resources(store) == set()


async def test_readers_see_only_what_is_committed(store: Store) -> None:
    async with store.begin() as db:
        await leases.take(db, a_lease("later"))
        assert await resources(store) == set()

    assert await resources(store) == {"later"}


async def test_a_reading_connection_holds_no_snapshot(store: Store) -> None:
    async with store.read() as reader:
        assert (await reader.execute(select(leases_table))).all() == []
        async with store.begin() as db:
            await leases.take(db, a_lease("new"))

        assert len((await reader.execute(select(leases_table))).all()) == 1


async def test_a_violated_constraint_is_a_defect_and_not_an_absent_store(store: Store) -> None:
    with pytest.raises(IntegrityError):
        async with store.begin() as db:
            await actions.add(db, [an_action(run_id=new_id())])


async def test_a_wrong_statement_is_a_defect_and_not_an_absent_store(store: Store) -> None:
    """sqlite3 has one class of error for a missing table and a locked file."""
    with pytest.raises(DBAPIError):
        async with store.begin() as db:
            await db.execute(text("SELECT 1 FROM no_such_table"))

    with pytest.raises(DBAPIError):
        async with store.read() as db:
            await db.execute(text("SELECT 1 FROM no_such_table"))


async def test_no_value_stands_in_the_text_of_an_error(store: Store) -> None:
    event = an_event(hook="the-secret-value")
    async with store.begin() as db:
        await deliveries.record(db, event)

    with pytest.raises(IntegrityError) as raised:
        async with store.begin() as db:
            await db.execute(
                deliveries_table.insert().values(
                    id=event.delivery_id, hook="the-secret-value", provider="p", received_at=at(0), sequence=0
                )
            )

    assert "the-secret-value" not in str(raised.value)


async def test_ping_answers(store: Store) -> None:
    await ping(store)


async def test_many_blocks_at_once_are_all_committed(store: Store) -> None:
    async def take(number: int) -> None:
        async with store.begin() as db:
            await leases.take(db, a_lease(f"r{number}"))

    await asyncio.gather(*(take(number) for number in range(150)))

    assert await resources(store) == {f"r{number}" for number in range(150)}


async def test_cancelling_a_block_rolls_it_back_and_leaves_the_store_usable(store: Store) -> None:
    inside = asyncio.Event()

    async def hang() -> None:
        async with store.begin() as db:
            await leases.take(db, a_lease("cancelled"))
            inside.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(hang())
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    async with store.begin() as db:
        await leases.take(db, a_lease("after"))
    assert await resources(store) == {"after"}


async def test_one_of_two_transactions_in_each_others_way_is_told_to_try_again(postgres_store: Store) -> None:
    one, other = a_lease("one"), a_lease("other")
    async with postgres_store.begin() as db:
        await leases.take(db, one)
        await leases.take(db, other)
    both_hold_one = asyncio.Barrier(2)

    async def lock(first: Lease, second: Lease) -> bool:
        try:
            async with postgres_store.begin() as db:
                await leases.renew(db, first.holder, until=at(60))
                await both_hold_one.wait()
                await leases.renew(db, second.holder, until=at(60))
        except StoreUnreachable:
            return False
        return True

    assert sorted(await asyncio.gather(lock(one, other), lock(other, one))) == [False, True]


@pytest.fixture
def cluster(tmp_path: Path, postgres_server: str) -> postgres.Cluster:
    """A PostgreSQL server that the test starts and stops itself; not started yet."""
    binaries = postgres.installed(Host.here())
    if binaries is None:
        pytest.skip("the PostgreSQL server in use is not installed on this machine, so none can be stopped")
    return postgres.Cluster(tmp_path, binaries, durable=False)


async def test_a_server_that_goes_away_is_unreachable_and_the_pool_recovers(cluster: postgres.Cluster) -> None:
    with cluster:
        async with open_store(cluster.url) as store:
            await ping(store)
            with pytest.raises(StoreUnreachable):
                await lose_the_server(store, cluster)
            with pytest.raises(StoreUnreachable):
                await ping(store)
            with pytest.raises(StoreUnreachable):
                async with store.begin():
                    pytest.fail("the server is away")

            await asyncio.to_thread(cluster.start)
            await ping(store)


async def test_a_server_that_was_restarted_meanwhile_is_not_noticed(cluster: postgres.Cluster) -> None:
    with cluster:
        async with open_store(cluster.url) as store:
            await ping(store)
            async with store.begin() as db:
                await db.execute(text("SELECT 1"))

            await asyncio.to_thread(cluster.stop)
            await asyncio.to_thread(cluster.start)

            async with store.begin() as db:
                await db.execute(text("SELECT 1"))
            await ping(store)


async def test_a_single_statement_is_committed(store: Store) -> None:
    async with store.begin_one() as db:
        await leases.take(db, a_lease("single"))

    assert await resources(store) == {"single"}


@pytest.mark.parametrize(("count", "filled"), [(1, 1), (2, 2), (3, 4), (4, 4), (5, 8), (500, 512)])
def test_values_are_filled_up_with_copies_of_the_last(count: int, filled: int) -> None:
    values = [str(number) for number in range(count)]

    assert padded(values) == values + [values[-1]] * (filled - count)


async def lose_the_server(store: Store, cluster: postgres.Cluster) -> None:
    async with store.begin() as db:
        await db.execute(text("SELECT 1"))
        await asyncio.to_thread(cluster.kill)
        await db.execute(text("SELECT 1"))


async def test_a_server_that_refuses_further_connections_is_unreachable(empty_postgres_url: str) -> None:
    role = f"kgw_test_{secrets.token_hex(4)}"
    async with open_store(empty_postgres_url) as store, store.read() as db:
        await db.execute(text(f"ALTER DATABASE {store.url.database} CONNECTION LIMIT 0"))
        await db.execute(text(f"CREATE ROLE {role} LOGIN"))
        try:
            as_role = store.url.set(username=role).render_as_string(hide_password=False)
            async with open_store(as_role) as refused:
                with pytest.raises(StoreUnreachable):
                    await ping(refused)
        finally:
            await db.execute(text(f"DROP ROLE {role}"))


async def test_a_cancelled_wait_for_a_lock_gives_the_connection_back(postgres_store: Store) -> None:
    lease = a_lease("contended")
    async with postgres_store.begin() as db:
        await leases.take(db, lease)

        async def contend() -> None:
            async with postgres_store.begin() as other:
                await leases.take(other, a_lease("contended"))

        waiting = asyncio.create_task(contend())
        await until_blocked(postgres_store)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    async def is_free() -> bool:
        async with postgres_store.read() as reader:
            waits = await reader.execute(
                text(
                    "SELECT count(*) FROM pg_locks WHERE NOT granted AND database = (SELECT oid FROM pg_database "
                    "WHERE datname = current_database())"
                )
            )
            return int(waits.scalar_one()) == 0

    await until(is_free)


@pytest.mark.parametrize(
    ("written", "driver"),
    [
        ("sqlite:///kgw.db", "sqlite"),
        ("sqlite+pysqlite:///kgw.db", "sqlite"),
        ("postgres://u@h/d", "postgresql+asyncpg"),
        ("postgresql://u@h/d", "postgresql+asyncpg"),
        ("postgresql+psycopg://u@h/d", "postgresql+asyncpg"),
    ],
)
def test_a_url_needs_no_driver(written: str, driver: str) -> None:
    assert parse_url(written).drivername == driver


@pytest.mark.parametrize(
    "written",
    ["", "kgw.db", "mysql://u:hunter2@h/d", "postgresql://u:hun@ter:hunter2@h/d", "postgresql://u:hunter2@h:hunter2/d"],
)
def test_any_other_url_is_refused_without_its_password(written: str) -> None:
    with pytest.raises(Misconfigured, match="KGW_DATABASE_URL") as raised:
        parse_url(written)

    assert "hunter2" not in str(raised.value)
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__ or raised.value.__context__ is None


@pytest.mark.parametrize("written", ["sqlite://", "sqlite:///:memory:"])
async def test_sqlite_needs_a_file(written: str) -> None:
    with pytest.raises(Misconfigured, match="needs a file"):
        async with open_store(written):
            pytest.fail("a store in memory loses everything")


def test_a_stores_url_shows_no_password_in_its_repr() -> None:
    assert "hunter2" not in repr(parse_url("postgresql://u:hunter2@h/d"))
