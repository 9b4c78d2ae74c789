"""Catching up by itself: off unless it was asked for, at the start, by one worker at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from starlette.responses import JSONResponse
from structlog.testing import capture_logs

from demo.core.world import World
from shared.broker.connection import connected
from shared.broker.publisher import Publisher
from shared.broker.topology import Names
from shared.komodo.client import KomodoClient
from shared.komodo.stacks import StackCache
from shared.komodo.updates import UpdateWatcher
from shared.store import leases
from shared.store.engine import Store
from shared.store.heads import Branch
from tests.builders import new_id
from tests.integration.catchup.providers import TOKEN, Provider
from tests.integration.worker.scene import Scene, running
from tests.waiting import until
from worker.catchup import missed, schedule
from worker.telling import Telling
from worker.tools import Tools

Build = Callable[..., Awaitable[Tools]]


@pytest.fixture
async def scene(amqp_url: str, names: Names, store: Store) -> AsyncIterator[Scene]:
    """A service with one worker, on each database in turn."""
    async with running(amqp_url, names, store, world=World.monorepo("web")) as scene:
        yield scene


@pytest.fixture
async def build(scene: Scene, github: Provider) -> AsyncIterator[Build]:
    """Make what one more worker has in hand."""
    async with AsyncExitStack() as stack:
        connection = await stack.enter_async_context(connected(scene.system.amqp_url, name="test"))
        core = scene.core
        komodo = await stack.enter_async_context(KomodoClient.connect(core.url, core.key, core.secret))

        async def built(**overrides: Any) -> Tools:
            values = {"provider_api": [github.access()], "catch_up_interval": 3600.0, "lease_seconds": 600.0}
            publisher = await Publisher.open(connection, scene.names)
            return Tools(
                id=new_id(),
                settings=scene.system.worker_settings(**{**values, **overrides}),
                store=scene.store,
                publisher=publisher,
                komodo=komodo,
                stacks=StackCache(komodo, seconds=0),
                updates=UpdateWatcher(komodo, interval=1),
                telling=Telling(scene.store, publisher),
            )

        yield built


@asynccontextmanager
async def scheduled(tools: Tools) -> AsyncIterator[asyncio.Task[None]]:
    """The schedule, until the block ends."""
    stop = asyncio.Event()
    task = asyncio.create_task(schedule.run(tools, stop))
    try:
        yield task
    finally:
        stop.set()
        await task


async def known(scene: Scene, github: Provider) -> None:
    """A branch of which a push is known."""
    push = scene.change("web", version="1.5")
    github.repositories["acme/infra"]["main"] = push.commit.sha
    await scene.deploy(push)


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        ({"catch_up_interval": 0.0}, "KGW_CATCH_UP_INTERVAL is 0"),
        ({"provider_api": []}, "KGW_PROVIDER_API is not set"),
    ],
)
async def test_it_is_off_unless_it_was_asked_for_and_says_so(
    build: Build, github: Provider, overrides: dict[str, Any], reason: str
) -> None:
    tools = await build(**overrides)
    with capture_logs() as logs:
        await schedule.run(tools, asyncio.Event())

    assert [(entry["event"], reason in entry["reason"]) for entry in logs] == [("catch_up_off", True)]
    assert github.asked == []


async def test_i1_what_was_missed_is_deployed_by_itself_by_one_of_the_workers(
    build: Build, scene: Scene, github: Provider
) -> None:
    await known(scene, github)
    push = scene.change("web")
    github.repositories["acme/infra"]["main"] = push.commit.sha
    delivery = missed.delivery_id_of(Branch("github.com/acme/infra", "main"), push.commit.sha)

    first, second = await build(), await build()
    async with scheduled(first):
        await until(lambda: len(github.asked) == 1)
        async with scheduled(second):
            run = await scene.run_of(delivery)

    assert run.state == "succeeded"
    assert scene.core.state.stack("web").info["deployed_hash"] == push.commit.short
    assert len(github.asked) == 1


async def test_who_stops_leaves_its_turn_to_others(build: Build, scene: Scene, github: Provider) -> None:
    async with scheduled(await build()):
        await until(lambda: len(github.asked) == 1)
    async with scene.store.read() as db:
        assert await leases.find(db, schedule.LEASE) is None

    async with scheduled(await build()):
        await until(lambda: len(github.asked) == 2)


async def test_the_turn_of_one_that_is_gone_is_taken_over_before_its_interval_ends(
    build: Build, github: Provider
) -> None:
    gone = await build(lease_seconds=1.0)
    assert await schedule._take(gone, new_id())

    async with scheduled(await build(lease_seconds=1.0)):
        await until(lambda: len(github.asked) == 1)


async def test_it_looks_again_and_again_and_a_provider_that_is_away_is_only_said(
    build: Build, scene: Scene, github: Provider
) -> None:
    github.always = JSONResponse({"message": TOKEN}, 403)
    with capture_logs() as logs:
        async with scheduled(await build(catch_up_interval=0.05)):
            await until(lambda: len(github.asked) >= 3)

    told = [entry for entry in logs if entry["event"] == "not_caught_up"]
    assert {(entry["where"], entry["log_level"]) for entry in told} == {("github.com/acme/infra", "warning")}
    assert TOKEN not in str(logs)


async def test_a_komodo_that_is_away_ends_no_schedule(build: Build, scene: Scene, github: Provider) -> None:
    scene.knobs.down = True
    with capture_logs() as logs:
        async with scheduled(await build(catch_up_interval=0.05)):
            await until(lambda: any(entry["event"] == "not_caught_up" for entry in logs), seconds=30)
            scene.knobs.down = False
            await until(lambda: len(github.asked) > 0, seconds=30)
