"""
What many tests need: a broker, names of their own on it, and a migrated store on each database.

Servers come from KGW_TEST_AMQP_URL and KGW_TEST_DATABASE_URL, or are private ones that end with the session. Without any, the tests that need them
are skipped and say so; in CI they fail.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
from collections.abc import AsyncIterator, Coroutine, Iterator
from pathlib import Path
from threading import Thread
from typing import Any, NoReturn

import aio_pika
import asyncpg  # type: ignore[import-untyped]
import pytest
import structlog
from sqlalchemy import make_url, text

from dev import host, postgres, rabbitmq
from dev.environment import Checkout
from shared import clock
from shared.broker.topology import DELAYS, Exchange, Names, Queue
from shared.procedure import builtin
from shared.store import procedures
from shared.store.engine import Store, open_store
from shared.store.migrate import migrate
from shared.store.tables import metadata

DATABASES = ("sqlite", "postgres")

# Where `./run` looks for the servers of a session that was killed before it could end them.
STATE = Checkout(Path(__file__).resolve().parent.parent).state


@pytest.fixture(autouse=True)
def _logs_as_they_come() -> Iterator[None]:
    """A test that runs a command configures the logs of this process; the next one must not inherit that."""
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def amqp_url() -> Iterator[str]:
    """A broker that the whole session shares: use `names`, and never stop it."""
    if given := os.environ.get("KGW_TEST_AMQP_URL"):
        yield given
        return
    with _broker() as node:
        yield node.url


@pytest.fixture(scope="session")
def own_broker() -> Iterator[rabbitmq.Node]:
    """A broker that tests may stop, kill and wipe; a test leaves it running."""
    with _broker() as node:
        yield node


@pytest.fixture
def amqp_prefix() -> str:
    """The prefix of this test's exchanges and queues. Whoever uses it without `names` deletes them."""
    return f"t{secrets.token_hex(5)}."


@pytest.fixture
async def names(amqp_url: str, amqp_prefix: str) -> AsyncIterator[Names]:
    """This test's exchanges and queues, deleted in the end."""
    mine = Names(amqp_prefix)
    yield mine
    await delete_topology(amqp_url, mine)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of a PostgreSQL database whose user may create others."""
    if given := os.environ.get("KGW_TEST_DATABASE_URL"):
        yield given
        return
    try:
        cluster = postgres.find(STATE, given=None, host=_without_apt(), durable=False)
    except host.Unavailable as missing:
        _do_without(str(missing))
    with cluster:
        yield cluster.url


@pytest.fixture(scope="session")
def postgres_database(postgres_server: str) -> Iterator[str]:
    """The URL of the migrated database that the tests have one after the other."""
    name = _new_name()
    url = _url_of(postgres_server, name)
    _run(_administer(postgres_server, f"CREATE DATABASE {name}"))
    _run(migrate(url))
    yield url
    _run(_administer(postgres_server, f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated file that others are copied from."""
    path = tmp_path_factory.mktemp("sqlite") / "template.db"
    _run(migrate(f"sqlite:///{path}"))
    return path


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    """A migrated SQLite store of this test's own."""
    return f"sqlite:///{shutil.copy(sqlite_template, tmp_path / 'store.db')}"


@pytest.fixture
async def postgres_url(postgres_database: str) -> AsyncIterator[str]:
    """A migrated PostgreSQL store as new. Emptying it takes a tenth of the time of making another."""
    yield postgres_database
    await _make_as_new(postgres_database)


@pytest.fixture(params=DATABASES)
def store_url(request: pytest.FixtureRequest) -> str:
    """A migrated store of this test's own, on each database in turn."""
    return str(request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture
async def store(store_url: str) -> AsyncIterator[Store]:
    """`store_url`, opened."""
    async with open_store(store_url) as opened:
        yield opened


@pytest.fixture
async def postgres_store(postgres_url: str) -> AsyncIterator[Store]:
    """A store on PostgreSQL alone, for what only happens between transactions that really run at once."""
    async with open_store(postgres_url) as opened:
        yield opened


@pytest.fixture
async def sqlite_store(sqlite_url: str) -> AsyncIterator[Store]:
    """A store on SQLite alone, for what its one writing connection does."""
    async with open_store(sqlite_url) as opened:
        yield opened


@pytest.fixture
async def empty_postgres_url(postgres_server: str) -> AsyncIterator[str]:
    """A PostgreSQL database without any table, of this test's own."""
    name = _new_name()
    await _administer(postgres_server, f"CREATE DATABASE {name}")
    yield _url_of(postgres_server, name)
    await _administer(postgres_server, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def empty_sqlite_url(tmp_path: Path) -> str:
    """The place of an SQLite file that does not exist yet."""
    return f"sqlite:///{tmp_path / 'empty.db'}"


@pytest.fixture(params=DATABASES)
def empty_store_url(request: pytest.FixtureRequest) -> str:
    """A database without any table, on each database in turn; it may be broken at will."""
    return str(request.getfixturevalue(f"empty_{request.param}_url"))


async def delete_topology(amqp_url: str, names: Names) -> None:
    """Delete the exchanges and queues of an installation."""
    async with await aio_pika.connect(amqp_url) as connection:
        channel = await connection.channel()
        delays = [names.delay(name) for name, _ in DELAYS]
        for queue in (*map(names.queue, Queue), *delays):
            await channel.queue_delete(queue)
        for exchange in (*map(names.exchange, Exchange), *delays):
            await channel.exchange_delete(exchange)


def _broker() -> rabbitmq.Node:
    try:
        return rabbitmq.Node(STATE)
    except host.Unavailable as missing:
        _do_without(str(missing))


def _do_without(reason: str) -> NoReturn:
    if os.environ.get("CI", "").lower() in ("true", "1"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def _without_apt() -> host.Host:
    # Running a test must not install anything; `./run` does that.
    here = host.Host.here()
    return host.Host(here.execute, here.answers, here.which, is_root=False, is_debian=here.is_debian)


def _new_name() -> str:
    return f"kgw_test_{secrets.token_hex(6)}"


def _url_of(server: str, database: str) -> str:
    return make_url(server).set(database=database).render_as_string(hide_password=False)


async def _make_as_new(url: str) -> None:
    others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
    async with open_store(url) as store, store.begin() as db:
        await db.execute(text(f"{others} AND pid <> pg_backend_pid()"))
        for table in reversed(metadata.sorted_tables):
            await db.execute(table.delete())
        await procedures.save(db, builtin.GLOBAL, now=clock.now())


async def _administer(server: str, statement: str) -> None:
    url = make_url(server).set(drivername="postgresql").render_as_string(hide_password=False)
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


def _run(work: Coroutine[Any, Any, None]) -> None:
    # A thread of its own, because the test's loop may be running in this one.
    failures: list[BaseException] = []

    def run() -> None:
        try:
            asyncio.run(work)
        except BaseException as error:
            failures.append(error)

    thread = Thread(target=run)
    thread.start()
    thread.join()
    if failures:
        raise failures[0]
