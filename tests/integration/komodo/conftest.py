"""A simulated Core on a real port for each test, and our client of it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from demo.core.serve import Core, serving
from demo.core.world import World
from shared.komodo.client import KomodoClient


@pytest.fixture
async def core() -> AsyncIterator[Core]:
    async with serving(World.monorepo("web", "db", "wiki")) as core:
        yield core


@pytest.fixture
async def komodo(core: Core) -> AsyncIterator[KomodoClient]:
    async with KomodoClient.connect(core.url, core.key, core.secret) as client:
        yield client
