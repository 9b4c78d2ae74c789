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
import asyncpg
import pytest
from sqlalchemy import make_url

from dev import host, postgres, rabbitmq
from shared.broker.topology import DELAYS, Exchange, Names, Queue
from shared.store.engine import Store, open_store
from shared.store.migrate import migrate

DATABASES = ("sqlite", "postgres")


@pytest.fixture(scope="session")
def amqp_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A broker that the whole session shares: use `names`, and never stop it."""
    if given := os.environ.get("KGW_TEST_AMQP_URL"):
        yield given
        return
    with broker_of_ones_own(tmp_path_factory.mktemp("broker")) as node:
        yield node.url


@pytest.fixture(scope="session")
def own_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[rabbitmq.Node]:
    """A broker that tests may stop, kill and wipe; a test leaves it running."""
    with broker_of_ones_own(tmp_path_factory.mktemp("own-broker")) as node:
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
    connection = await aio_pika.connect(amqp_url)
    async with connection:
        channel = await connection.channel()
        delays = [mine.delay(name) for name, _ in DELAYS]
        for queue in (*map(mine.queue, Queue), *delays):
            await channel.queue_delete(queue)
        for exchange in (*map(mine.exchange, Exchange), *delays):
            await channel.exchange_delete(exchange)


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a PostgreSQL database whose user may create others."""
    if given := os.environ.get("KGW_TEST_DATABASE_URL"):
        yield given
        return
    state = tmp_path_factory.mktemp("postgres")
    try:
        cluster = postgres.find(state, given=None, host=_without_apt(), durable=False)
    except host.Unavailable as missing:
        _do_without(str(missing))
    with cluster:
        yield cluster.url


@pytest.fixture(scope="session")
def postgres_template(postgres_server: str) -> Iterator[str]:
    """The name of a migrated database that others are copied from; nobody connects to it."""
    name = _new_name()
    _run(_administer(postgres_server, f"CREATE DATABASE {name}"))
    _run(migrate(_url_of(postgres_server, name)))
    yield name
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
async def postgres_url(postgres_server: str, postgres_template: str) -> AsyncIterator[str]:
    """A migrated PostgreSQL store of this test's own."""
    name = _new_name()
    await _administer(postgres_server, f"CREATE DATABASE {name} TEMPLATE {postgres_template}")
    yield _url_of(postgres_server, name)
    await _administer(postgres_server, f"DROP DATABASE {name} WITH (FORCE)")


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


@pytest.fixture(params=DATABASES)
async def empty_store_url(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[str]:
    """A database without any table, on each database in turn."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'empty.db'}"
        return
    server = str(request.getfixturevalue("postgres_server"))
    name = _new_name()
    await _administer(server, f"CREATE DATABASE {name}")
    yield _url_of(server, name)
    await _administer(server, f"DROP DATABASE {name} WITH (FORCE)")


def broker_of_ones_own(state: Path) -> rabbitmq.Node:
    """A private node, not started yet; skips the test when no server is installed."""
    try:
        return rabbitmq.Node(state)
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
