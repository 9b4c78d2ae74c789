"""A service in front of a broker, for those who follow a delivery to its end."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from demo.core.serve import serving
from demo.core.world import World
from shared.broker.topology import Names
from shared.store.engine import Store
from tests.system import System


@pytest.fixture
async def system(amqp_url: str, names: Names, sqlite_store: Store) -> AsyncIterator[System]:
    """A service of which nothing runs yet."""
    async with serving(World.monorepo("web")) as core:
        yield System(amqp_url, names.prefix, core, sqlite_store)
