"""A worker is killed at every edge of its work; another one ends what it had begun, and nothing happens twice (I1, I2)."""

from __future__ import annotations

from demo.core.world import compose_file
from shared.states import RunState
from tests.drills import ground as laws
from tests.drills.ground import FILE, STACK, Ground, every_edge, process, subscribed
from tests.system import System, until


async def test_i1_i2_worker_killed_at_every_edge_of_a_deploy(ground: Ground) -> None:
    edges = await dry_run(ground)
    print(len(edges)); print("\n".join(edges))
    import time
    t=time.time()
    await every_edge(edges, lambda edge: survive(ground, edge), at_once=6)
    print(time.time()-t)


async def dry_run(ground: Ground) -> list[str]:
    async with ground.system() as system, system.ingress() as client:
        push = system.push({FILE: compose_file(STACK, "2.0")})
        async with process(system.worker_settings(), ground.folder) as worker:
            told = await push.send(client)
            (run,) = await system.ended_runs(told["delivery"])
            assert run.state is RunState.SUCCEEDED, run.reason

            async def over() -> bool:
                return "actions: after ack #1" in worker.edges()
            await until(over, "acked")
            return worker.edges()


async def survive(ground: Ground, edge: str) -> None:
    async with ground.system() as system, subscribed(system) as subscriber, system.ingress() as client:
        push = system.push({FILE: compose_file(STACK, "2.0")})
        async with process(system.worker_settings(), ground.folder, dies_at=edge) as doomed:
            told = await push.send(client)
            await doomed.dead()
        async with system.worker():
            (run,) = await system.ended_runs(told["delivery"])
            assert run.state is RunState.SUCCEEDED, run.reason
            await laws.nothing_held(system)
            await laws.all_told(system, subscriber)
        assert [deploy.sha for deploy in system.core.history.deployed(STACK)] == [push.commit.sha]
        await laws.assert_one_effect(system)
        laws.assert_one_at_a_time(system)
