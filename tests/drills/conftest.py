"""Grounds for the drills: the session's broker with SQLite files, or with PostgreSQL databases."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.conftest import _administer, _new_name, _url_of
from tests.drills.ground import Ground


def new_prefix() -> str:
    """Names that no other system on the broker has."""
    return f"d{secrets.token_hex(5)}."


@pytest.fixture
def ground(amqp_url: str, sqlite_template: Path, tmp_path: Path) -> Ground:
    """Systems on the session's broker, each with an SQLite file."""

    @asynccontextmanager
    async def new_database() -> AsyncIterator[str]:
        yield f"sqlite:///{shutil.copy(sqlite_template, tmp_path / f'{secrets.token_hex(5)}.db')}"

    return Ground(amqp_url, new_prefix, new_database, tmp_path)


@pytest.fixture
def postgres_ground(amqp_url: str, postgres_server: str, postgres_template: str, tmp_path: Path) -> Ground:
    """Systems on the session's broker, each with a PostgreSQL database."""

    @asynccontextmanager
    async def new_database() -> AsyncIterator[str]:
        name = _new_name()
        await _administer(postgres_server, f"CREATE DATABASE {name} TEMPLATE {postgres_template}")
        try:
            yield _url_of(postgres_server, name)
        finally:
            await _administer(postgres_server, f"DROP DATABASE {name} WITH (FORCE)")

    return Ground(amqp_url, new_prefix, new_database, tmp_path)
