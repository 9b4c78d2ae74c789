"""Without a broker nothing is durable, so nothing is accepted; and what was accepted is planned in the end (I1, I8)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
from sqlalchemy import select

from demo.core.serve import serving
from demo.core.world import World
from dev.rabbitmq import Node
from shared.store.engine import Store
from shared.store.tables import deliveries
from tests.system import System, until

ACCEPTED, AWAY = 202, 503
GLOBAL = "/listener/github/global"


@pytest.fixture
async def system(own_broker: Node, amqp_prefix: str, sqlite_store: Store) -> AsyncIterator[System]:
    """A service on a broker that nobody else uses."""
    async with serving(World.monorepo("web")) as core:
        yield System(own_broker.url, amqp_prefix, core, sqlite_store)


async def test_i1_senders_are_asked_to_come_back_while_the_broker_is_away(own_broker: Node, system: System) -> None:
    accepted: list[str] = []

    async def send(client: httpx.AsyncClient) -> httpx.Response:
        push = system.push({"stacks/web/compose.yaml": f"services: {{app: {{image: 'web:{len(accepted)}'}}}}\n"})
        answer = await client.post(GLOBAL, content=push.body, headers=push.headers)
        if answer.is_success:
            accepted.append(answer.json()["delivery"])
        return answer

    async def is_accepted_again() -> bool:
        return (await send(client)).status_code == ACCEPTED

    async with system.ingress(publish_timeout=0.5) as client:
        assert (await send(client)).status_code == ACCEPTED
        await asyncio.to_thread(own_broker.stop)
        try:
            away = [await send(client) for _ in range(3)]
        finally:
            await asyncio.to_thread(own_broker.start)
        await until(is_accepted_again, "the ingress accepts again")

    assert [answer.status_code for answer in away] == [AWAY] * 3
    assert {answer.headers["retry-after"] for answer in away} == {"30"}
    assert all("delivery" not in answer.json() for answer in away)
    async with system.worker():
        for delivery in accepted:
            await system.ended_runs(delivery)
    async with system.store.read() as db:
        found = set((await db.execute(select(deliveries.c.id))).scalars())
    assert found >= set(accepted)


async def test_i8_an_ingress_that_starts_before_its_broker_listens_and_asks_to_come_back(
    own_broker: Node, system: System
) -> None:
    push = system.push({"stacks/web/compose.yaml": "services: {app: {image: 'web:2'}}\n"})

    async def is_accepted() -> bool:
        return (await client.post(GLOBAL, content=push.body, headers=push.headers)).status_code == ACCEPTED

    await asyncio.to_thread(own_broker.stop)
    async with system.ingress(awaited="/healthz") as client:
        try:
            early = await client.post(GLOBAL, content=push.body, headers=push.headers)
            not_ready = await client.get("/readyz")
        finally:
            await asyncio.to_thread(own_broker.start)
        await until(is_accepted, "the ingress accepts once the broker is there")

    assert (early.status_code, early.headers["retry-after"]) == (AWAY, "30")
    assert not_ready.json() == {"status": "not ready", "dependencies": {"broker": "unreachable"}}
