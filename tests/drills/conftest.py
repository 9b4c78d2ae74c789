"""Grounds for the drills: a broker and as many SQLite files or PostgreSQL databases as a drill wants."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from dev.rabbitmq import Node
from shared.store.migrate import migrate
from tests.conftest import _administer, _new_name, _run, _url_of
from tests.drills.ground import Ground

NewDatabase = Callable[[], AbstractAsyncContextManager[str]]


@pytest.fixture
def new_sqlite(sqlite_template: Path, tmp_path: Path) -> NewDatabase:
    """A migrated SQLite file, each time that it is called."""

    @asynccontextmanager
    async def new() -> AsyncIterator[str]:
        yield f"sqlite:///{shutil.copy(sqlite_template, tmp_path / f'{secrets.token_hex(5)}.db')}"

    return new


@pytest.fixture(scope="session")
def postgres_template(postgres_server: str) -> Iterator[str]:
    """The name of a migrated database that others are copied from; nobody connects to it."""
    name = _new_name()
    _run(_administer(postgres_server, f"CREATE DATABASE {name}"))
    _run(migrate(_url_of(postgres_server, name)))
    yield name
    _run(_administer(postgres_server, f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture
def new_postgres(postgres_server: str, postgres_template: str) -> NewDatabase:
    """A migrated PostgreSQL database, each time that it is called."""

    @asynccontextmanager
    async def new() -> AsyncIterator[str]:
        name = _new_name()
        await _administer(postgres_server, f"CREATE DATABASE {name} TEMPLATE {postgres_template}")
        try:
            yield _url_of(postgres_server, name)
        finally:
            await _administer(postgres_server, f"DROP DATABASE {name} WITH (FORCE)")

    return new


@pytest.fixture
def ground(amqp_url: str, new_sqlite: NewDatabase, tmp_path: Path) -> Ground:
    """On the session's broker, with SQLite."""
    return Ground(amqp_url, new_sqlite, tmp_path)


@pytest.fixture
def postgres_ground(amqp_url: str, new_postgres: NewDatabase, tmp_path: Path) -> Ground:
    """On the session's broker, with PostgreSQL."""
    return Ground(amqp_url, new_postgres, tmp_path)


@pytest.fixture
def shaky_ground(own_broker: Node, new_sqlite: NewDatabase, tmp_path: Path) -> Ground:
    """On the broker that a drill may kill, with SQLite."""
    return Ground(own_broker.url, new_sqlite, tmp_path)


@pytest.fixture
def shaky_postgres_ground(own_broker: Node, new_postgres: NewDatabase, tmp_path: Path) -> Ground:
    """On the broker that a drill may kill, with PostgreSQL."""
    return Ground(own_broker.url, new_postgres, tmp_path)
