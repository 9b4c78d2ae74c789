"""Many pushes to one stack: the running deploy ends, the newest is never dropped, those in between give way (I5)."""

from __future__ import annotations

import aio_pika

from demo.core.faults import Knobs
from shared.broker.topology import Exchange, Names, Queue
from shared.states import ActionState, RunState
from shared.store import actions, runs
from tests.drills import laws
from tests.drills.ground import Ground, change
from tests.system import System, until


async def deploying(system: System) -> None:
    """Await that Komodo is at work."""

    async def is_at_work() -> bool:
        return bool(system.core.state.updates.in_progress())

    await until(is_at_work, "Komodo deploys")


async def state_of(system: System, delivery: str) -> ActionState | None:
    """Where the delivery's only action is, or None while it has none."""
    async with system.store.read() as db:
        found = [action for run in await runs.of_delivery(db, delivery) for action in await actions.of_run(db, run.id)]
    return found[0].state if found else None


async def test_i5_pushes_between_the_running_deploy_and_the_newest_are_superseded(ground: Ground) -> None:
    knobs = Knobs(pull_cache_seconds=0)
    async with ground.system(knobs=knobs) as system, system.ingress() as client, system.worker(), system.worker():
        system.core.state.hold("web")
        pushes = [change(system, "web", 2)]
        deliveries = [(await pushes[0].send(client))["delivery"]]
        await deploying(system)
        for version in (3, 4, 5, 6):
            pushes.append(change(system, "web", version))
            deliveries.append((await pushes[-1].send(client))["delivery"])

        async def all_planned() -> bool:
            return None not in [await state_of(system, delivery) for delivery in deliveries]

        await until(all_planned, "all five are planned")
        system.core.state.release("web")
        ended = [(await system.ended_runs(delivery))[0] for delivery in deliveries]

        assert [run.state for run in ended] == [
            RunState.SUCCEEDED,
            *[RunState.CANCELLED] * 3,
            RunState.SUCCEEDED,
        ]
        states = [await state_of(system, delivery) for delivery in deliveries]
        assert states == [ActionState.SUCCEEDED, *[ActionState.SUPERSEDED] * 3, ActionState.SUCCEEDED]
        shas = [deploy.sha for deploy in system.core.history.deployed("web")]
        assert shas == [pushes[0].commit.sha, pushes[-1].commit.sha]
        await laws.nothing_held(system)
        await laws.assert_one_effect(system)
        laws.assert_one_at_a_time(system)


async def test_i5_an_old_event_that_is_planned_late_supersedes_nothing_and_is_superseded(ground: Ground) -> None:
    knobs = Knobs(pull_cache_seconds=0)
    async with ground.system(knobs=knobs) as system, system.ingress() as client:
        old = (await change(system, "web", 2).send(client))["delivery"]
        held_back = await take_event(system)
        async with system.worker():
            system.core.state.hold("web")
            first = change(system, "web", 3)
            running = (await first.send(client))["delivery"]
            await deploying(system)
            newest = change(system, "web", 4)
            waiting = (await newest.send(client))["delivery"]

            async def waits() -> bool:
                return await state_of(system, waiting) is ActionState.WAITING

            await until(waits, "the newest waits for the stack")
            await publish_event(system, held_back)
            (late,) = await system.ended_runs(old)
            assert await state_of(system, waiting) is ActionState.WAITING
            system.core.state.release("web")
            ended = [(await system.ended_runs(delivery))[0].state for delivery in (running, waiting)]

        assert late.state is RunState.CANCELLED
        assert await state_of(system, old) is ActionState.SUPERSEDED
        assert ended == [RunState.SUCCEEDED, RunState.SUCCEEDED]
        shas = [deploy.sha for deploy in system.core.history.deployed("web")]
        assert shas == [first.commit.sha, newest.commit.sha]
        await laws.assert_one_effect(system)


async def take_event(system: System) -> bytes:
    """Take the only message off the queue of events, as if it was under way for long."""
    async with await aio_pika.connect(system.amqp_url) as connection:
        channel = await connection.channel()
        queue = await channel.get_queue(Names(system.prefix).queue(Queue.EVENTS))
        message = await queue.get()
        await message.ack()
        return message.body


async def publish_event(system: System, body: bytes) -> None:
    """Let the message arrive after all."""
    async with await aio_pika.connect(system.amqp_url) as connection:
        channel = await connection.channel()
        exchange = await channel.get_exchange(Names(system.prefix).exchange(Exchange.EVENTS))
        await exchange.publish(aio_pika.Message(body), "github.push.acme.infra")
