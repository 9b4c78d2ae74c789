"""A worker that stands still for longer than its lease, and one that is asked to stop: another goes on, and nothing happens twice (I1, I2)."""

from __future__ import annotations

import asyncio
import signal

from demo.core.faults import Knobs
from shared.states import RunState
from tests.drills import laws
from tests.drills.ground import Ground, change, subscribed, worker_process

# Those at which the work holds no transaction, whose rows a stopped process would keep from everyone. And not the last moment before an execution is
# sent: no lease can call back a request that is on its way.
STOPS = (
    "actions: after commit of begin #1",
    "actions: before write/RefreshStackCache #1",
    "actions: after read/GetStack #1",
    "actions: after execute/DeployStack #1",
    "actions: after commit of note_update #1",
    "actions: before read/GetStack #2",
    "actions: after commit of settle #1",
)
WORK_OVER = "actions: after ack #1"


async def test_i2_worker_stopped_for_longer_than_its_lease_does_nothing_more_at_komodo(postgres_ground: Ground) -> None:
    """On PostgreSQL: a process that is stopped while it writes keeps SQLite's only writer from everyone."""
    async with asyncio.TaskGroup() as group:
        for edge in STOPS:
            group.create_task(stop_at(postgres_ground, edge), name=edge)


async def stop_at(ground: Ground, edge: str) -> None:
    """SIGSTOP at the edge, let another worker end the run, SIGCONT."""
    async with (
        ground.system() as system,
        subscribed(system) as subscriber,
        system.ingress() as client,
        worker_process(system, ground.folder, halts_at=[edge]) as stopped,
    ):
        told = await change(system, "web").send(client)
        await stopped.passed(edge)
        stopped.send(signal.SIGSTOP)
        stopped.go_on()
        async with system.worker():
            (run,) = await system.ended_runs(told["delivery"])
            stopped.send(signal.SIGCONT)
            await stopped.passed(WORK_OVER)
            await laws.nothing_held(system)
            await laws.all_told(system, subscriber)

        assert run.state is RunState.SUCCEEDED, f"{edge}: {run.reason}"
        assert system.core.history.asked("execute", "DeployStack") == 1, edge
        await laws.assert_one_effect(system)


async def test_i1_i2_worker_asked_to_stop_leaves_its_work_to_another_at_once(ground: Ground) -> None:
    lease = 60.0
    async with ground.system(knobs=Knobs(deploy_seconds=3.0)) as system, system.ingress() as client:
        async with worker_process(system, ground.folder, lease_seconds=lease) as first:
            told = await change(system, "web").send(client)
            await first.passed("actions: after commit of note_update #1")
            async with system.worker(lease_seconds=lease):
                first.send(signal.SIGTERM)
                assert await first.ended(seconds=10) == 0, first.tail()
                assert system.core.state.updates.in_progress()
                (run,) = await system.ended_runs(told["delivery"], seconds=lease / 4)
                await laws.nothing_held(system)

        assert run.state is RunState.SUCCEEDED, run.reason
        assert system.core.history.asked("execute", "DeployStack") == 1
        await laws.assert_one_effect(system)


async def test_i1_worker_asked_to_stop_ends_what_it_can_in_its_grace(ground: Ground) -> None:
    async with ground.system(knobs=Knobs(deploy_seconds=1.0)) as system, system.ingress() as client:
        async with worker_process(system, ground.folder, shutdown_grace=20.0) as worker:
            told = await change(system, "web").send(client)
            await worker.passed("actions: after execute/DeployStack #1")
            worker.send(signal.SIGTERM)
            assert await worker.ended() == 0, worker.tail()
        (run,) = await system.ended_runs(told["delivery"])

        assert run.state is RunState.SUCCEEDED, run.reason
        assert WORK_OVER in worker.edges()
        await laws.nothing_held(system)
        await laws.assert_one_effect(system)
