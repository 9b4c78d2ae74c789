"""A service on SQLite or on each database, ready for pushes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial

import pytest

from demo.core.world import World
from shared.broker.topology import Names
from shared.store.engine import Store
from tests.integration.worker.scene import Scene, running

Start = Callable[..., AbstractAsyncContextManager[Scene]]


@pytest.fixture
def world() -> World:
    """Three deployed stacks of one repository."""
    return World.monorepo("web", "db", "wiki")


@pytest.fixture
def start(amqp_url: str, names: Names, sqlite_store: Store, world: World) -> Start:
    """Start a service on SQLite, with settings of the scenario's own."""
    return partial(running, amqp_url, names, sqlite_store, world=world)


@pytest.fixture
async def scene(start: Start) -> AsyncIterator[Scene]:
    """A service on SQLite."""
    async with start() as scene:
        yield scene


@pytest.fixture
async def either_scene(amqp_url: str, names: Names, store: Store, world: World) -> AsyncIterator[Scene]:
    """A service on each database in turn."""
    async with running(amqp_url, names, store, world=world) as scene:
        yield scene
