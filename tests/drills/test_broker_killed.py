"""The broker is killed, or loses its disk, while work is under way: nothing that was answered is lost, and nothing happens twice (I1, I2)."""

from __future__ import annotations

import pytest

from demo.core.faults import Knobs
from demo.core.world import World
from dev.rabbitmq import Node
from shared.states import RunState
from tests.drills import broker, laws
from tests.drills.ground import Ground, accepted, change, repositories, subscribed, worker_process

# Every step of a deploy, in order. Each one's first time is a task of its own here: the first to come there halts, the next ones pass it.
STEPS = (
    "events: {} commit of plan #1",
    "events: {} commit of move_on #1",
    "events: {} publish webhook.actions #1",
    "events: {} ack #1",
    "actions: {} commit of begin #1",
    "actions: {} write/RefreshStackCache #1",
    "actions: {} read/GetStack #1",
    "actions: {} execute/DeployStack #1",
    "actions: {} commit of note_update #1",
    "actions: {} commit of settle #1",
    "actions: {} commit of move_on #1",
    "actions: {} ack #1",
)
EDGES = [step.format(side) for step in STEPS for side in ("before", "after")]
STACKS = [f"stack-{number:02}" for number in range(len(EDGES))]


@pytest.mark.parametrize("goes_on_while", ["down", "up"])
async def test_i1_i2_broker_killed_while_a_delivery_stands_at_each_edge(
    shaky_postgres_ground: Ground, own_broker: Node, goes_on_while: str
) -> None:
    """On PostgreSQL: there a halted transaction keeps nothing from the others."""
    async with (
        shaky_postgres_ground.system(repositories({f"acme/{name}": [name] for name in STACKS})) as system,
        subscribed(system) as subscriber,
        system.ingress() as client,
        worker_process(system, shaky_postgres_ground.folder, halts_at=EDGES, lease_seconds=60.0) as worker,
    ):
        pushes = {name: change(system, name, repo=f"acme/{name}") for name in STACKS}
        deliveries = [(await push.send(client))["delivery"] for push in pushes.values()]
        for edge in EDGES:
            await worker.passed(edge)
        await broker.settled(own_broker, system.prefix, subscriber.queue)

        await broker.kill(own_broker)
        if goes_on_while == "down":
            worker.go_on()
            await broker.start(own_broker)
        else:
            await broker.start(own_broker)
            worker.go_on()
        ended = [run for delivery in deliveries for run in await system.ended_runs(delivery)]
        await laws.nothing_held(system)
        await laws.all_told(system, subscriber)

        assert {run.state for run in ended} == {RunState.SUCCEEDED}
        assert len(ended) == len(STACKS)
        assert {name: [one.sha for one in system.core.history.deployed(name)] for name in STACKS} == {
            name: [pushes[name].commit.sha] for name in STACKS
        }
        await laws.assert_one_effect(system)
        laws.assert_one_at_a_time(system)


async def test_i1_planned_work_goes_on_after_the_broker_has_lost_its_disk(
    shaky_ground: Ground, own_broker: Node
) -> None:
    """
    What was planned is in the store and the reconciler publishes it anew. An event that was answered and not planned is lost with the disk, as
    everything is that only the broker had.
    """
    knobs = Knobs(deploy_seconds=1.0)
    async with shaky_ground.system(World.monorepo("db", "web"), knobs) as system, system.ingress() as client:
        deliveries = [(await change(system, name).send(client))["delivery"] for name in ("db", "web")]
        async with worker_process(system, shaky_ground.folder, dies_at="actions: before commit of begin #2") as doomed:
            await doomed.died()
        async with system.worker():
            await broker.wipe(own_broker)
            ended = [run for delivery in deliveries for run in await system.ended_runs(delivery)]
            later = change(system, "web", 3)
            ended += await system.ended_runs(await accepted(later, client))

        assert [run.state for run in ended] == [RunState.SUCCEEDED] * 3
        await laws.nothing_held(system)
        await laws.assert_one_effect(system)
        laws.assert_one_at_a_time(system)
