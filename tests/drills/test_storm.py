"""Everything at once: a stream of deliveries while the broker and both workers are killed and come back (I1, I2, I3)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack
from functools import partial

import httpx

from demo.core.faults import Knobs
from dev.rabbitmq import Node
from shared.states import RunState
from shared.store.attempts import Attempt
from tests.drills import broker, laws
from tests.drills.ground import Ground, Worker, accepted, change, path_of, repositories, subscribed, worker_process
from tests.system import Push, System, until

STACKS_OF = {"acme/infra": ["db", "web"], "acme/home": ["wiki", "mail"], "acme/lab": ["ci", "git"]}
DELIVERIES = 60
SECONDS = 10.0

Blow = Callable[[], Awaitable[None]]


async def test_i1_i2_i3_storm_of_deliveries_while_the_broker_and_the_workers_are_killed(
    shaky_ground: Ground, own_broker: Node
) -> None:
    knobs = Knobs(deploy_seconds=1.5, pull_cache_seconds=0.5)
    async with (
        shaky_ground.system(repositories(STACKS_OF), knobs) as system,
        subscribed(system) as subscriber,
        system.ingress(publish_timeout=1.0) as client,
        AsyncExitStack() as stack,
    ):
        left: list[Attempt] = []
        workers = [await start_worker(stack, system, shaky_ground) for _ in range(2)]
        await broker.settled(own_broker, system.prefix, subscriber.queue)

        async def break_broker() -> None:
            await broker.kill(own_broker)
            await broker.start(own_broker)

        async def replace_worker(number: int) -> None:
            await until(partial(is_deploying, system, workers[number]), "the worker waits for a deploy")
            left.extend(await in_hand(system))
            await workers[number].kill()
            workers[number] = await start_worker(stack, system, shaky_ground)

        blows: list[Blow] = [partial(replace_worker, 0), break_broker, partial(replace_worker, 1), break_broker]
        deliveries = await storm(system, client, blows)
        ended = [run for delivery in deliveries for run in await system.ended_runs(delivery, seconds=60)]
        await laws.nothing_held(system)
        await laws.all_told(system, subscriber)

        assert len(ended) == len(deliveries) == DELIVERIES
        assert {run.state for run in ended} <= {RunState.SUCCEEDED, RunState.CANCELLED}
        assert has_changed_hands(left, await laws.all_attempts(system)), "no worker had anything to take over"
        assert_at_newest(system)
        await laws.assert_one_effect(system)
        laws.assert_one_at_a_time(system)


async def start_worker(stack: AsyncExitStack, system: System, ground: Ground) -> Worker:
    """One more worker process until the end of the drill."""
    return await stack.enter_async_context(worker_process(system, ground.folder))


async def is_deploying(system: System, worker: Worker) -> bool:
    """Whether Komodo is at work, and the worker has begun an execution that it has not ended."""
    edges = worker.edges()
    begun = sum("after commit of note_update" in edge for edge in edges)
    ended = sum("before commit of settle" in edge for edge in edges)
    return begun > ended and bool(system.core.state.updates.in_progress())


async def storm(system: System, client: httpx.AsyncClient, blows: Sequence[Blow]) -> list[str]:
    """Send all deliveries, evenly, each as a sender that tries until it is accepted, and strike whenever another part of them is."""
    places = [(repo, name) for repo, stacks in STACKS_OF.items() for name in stacks]
    deliveries: list[str] = []

    async def send(push: Push) -> None:
        deliveries.append(await accepted(push, client))

    async def strike() -> None:
        for number, blow in enumerate(blows, start=1):
            share = DELIVERIES * number // (len(blows) + 1)

            async def enough(share: int = share) -> bool:
                return len(deliveries) >= share

            await until(enough, f"{share} deliveries are accepted")
            await blow()

    async with asyncio.TaskGroup() as group:
        group.create_task(strike(), name="blows")
        for number in range(DELIVERIES):
            repo, name = places[number % len(places)]
            push = change(system, name, number + 2, repo=repo)
            group.create_task(send(push), name=push.delivery)
            await asyncio.sleep(SECONDS / DELIVERIES)
    return deliveries


async def in_hand(system: System) -> list[Attempt]:
    """The attempts that have begun something at Komodo and not ended."""
    return [one for one in await laws.all_attempts(system) if one.update_id and one.ended_at is None]


def has_changed_hands(before: Iterable[Attempt], after: Iterable[Attempt]) -> bool:
    """Whether one of these attempts ended at another worker."""
    workers = {(one.action_id, one.number): one.worker for one in after}
    return any(workers[one.action_id, one.number] != one.worker for one in before)


def assert_at_newest(system: System) -> None:
    """Every stack runs what the head of its branch says."""
    for repo, names in STACKS_OF.items():
        head = system.core.state.git.find("github.com", repo).head("main")
        for name in names:
            (deployed,) = system.core.state.stack(name).info["deployed_contents"]
            assert deployed["contents"] == head.tree[path_of(name)], name
