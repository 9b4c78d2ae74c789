"""
A simulated Core on a real port for each test, and a client of its API.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from demo.core.serve import Core, serving
from demo.core.world import World

DEMO_WORLD = Path(__file__).parents[3] / "demo" / "world.toml"


def make_world(**more: list[dict[str, Any]]) -> World:
    """
    Make the demo's world with further entries.
    """
    world = World.load(DEMO_WORLD).model_dump()
    for name, entries in more.items():
        world[name] = [*world[name], *entries]
    return World.model_validate(world)


@dataclass(frozen=True)
class Komodo:
    """
    A client with the core it talks to.
    """

    core: Core
    http: httpx.AsyncClient

    async def post(self, area: str, variant: str, **params: Any) -> httpx.Response:
        return await self.http.post(f"/{area}/{variant}", json=params)

    async def read(self, variant: str, **params: Any) -> Any:
        return await self._answer("read", variant, params)

    async def write(self, variant: str, **params: Any) -> Any:
        return await self._answer("write", variant, params)

    async def execute(self, variant: str, **params: Any) -> Any:
        """
        Start an execution and return the immediate answer.
        """
        return await self._answer("execute", variant, params)

    async def run(self, variant: str, **params: Any) -> Any:
        """
        Execute, wait until Core has nothing to do, and read the Update.
        """
        update = await self.execute(variant, **params)
        await self.core.state.settled()
        return await self.read("GetUpdate", id=update["_id"]["$oid"])

    async def info(self, stack: str) -> Any:
        return (await self.read("GetStack", stack=stack))["info"]

    async def item(self, stack: str) -> Any:
        return (await self.read("ListStacks", query={"names": [stack]}))[0]

    async def _answer(self, area: str, variant: str, params: dict[str, Any]) -> Any:
        response = await self.post(area, variant, **params)
        assert response.status_code == 200, response.text
        return response.json()


@pytest.fixture
def more() -> dict[str, list[dict[str, Any]]]:
    """
    What a test module adds to the demo's world.
    """
    return {}


@pytest.fixture
async def core(more: dict[str, list[dict[str, Any]]]) -> AsyncIterator[Core]:
    async with serving(make_world(**more)) as core:
        yield core


@pytest.fixture
async def komodo(core: Core) -> AsyncIterator[Komodo]:
    """
    The service user kgw, with Execute on stacks and procedures.
    """
    async with httpx.AsyncClient(base_url=core.url, headers=core.headers) as http:
        yield Komodo(core, http)


@pytest.fixture
async def admin(core: Core) -> AsyncIterator[Komodo]:
    account = next(account for account in core.state.accounts.values() if account.admin)
    headers = {"X-Api-Key": account.key, "X-Api-Secret": account.secret}
    async with httpx.AsyncClient(base_url=core.url, headers=headers) as http:
        yield Komodo(core, http)
