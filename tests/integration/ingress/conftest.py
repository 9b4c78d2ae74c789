"""An ingress on a real port, with a broker behind it, and the whole service for those who follow a delivery to its end."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
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


@pytest.fixture
async def ingress(system: System) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a running ingress that takes bodies of up to 64 KiB."""
    async with system.ingress(max_body_bytes=64 * 1024) as client:
        yield client
