"""A worker is killed at every edge of its work; another one ends what it had begun, and nothing is lost or happens twice (I1, I2, I4)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from demo.core.faults import Fault, Knobs
from demo.core.world import World, compose_file
from shared import clock
from shared.procedure import builtin
from shared.procedure.model import Execution, ExecutionCall, Procedure, Stage, Target
from shared.states import RunState
from shared.store import procedures
from tests.drills import laws
from tests.drills.ground import Ground, path_of, subscribed, worker_process
from tests.system import System

AT_ONCE = 12
LAST_EDGE = "actions: after ack"


@dataclass(frozen=True)
class Story:
    """What happens while a worker dies: one push that changes these stacks, at a Core with these knobs and faults."""

    stacks: Sequence[str] = ("web",)
    procedure: Procedure | None = None
    knobs: dict[str, Any] = field(default_factory=dict)
    fault: Fault | None = None
    # As many messages on `actions` as the story takes without a crash.
    messages: int = 1

    async def prepare(self, system: System) -> None:
        """Save the procedure and place the fault."""
        if self.procedure is not None:
            async with system.store.begin() as db:
                await procedures.save(db, self.procedure, now=clock.now())
        if self.fault is not None:
            system.core.knobs.faults.append(replace(self.fault))

    def files(self) -> dict[str, str | None]:
        """What the push changes."""
        return {path_of(name): compose_file(name, "2.0") for name in self.stacks}


async def test_i1_i2_worker_killed_at_every_edge_of_a_deploy(ground: Ground) -> None:
    await survive_every_edge(ground, Story())


async def test_i1_i2_worker_killed_at_every_third_edge_on_postgres(postgres_ground: Ground) -> None:
    await survive_every_edge(postgres_ground, Story(), choose=lambda edges: edges[::3])


async def test_i2_worker_killed_around_a_deploy_that_takes_longer_than_its_death(ground: Ground) -> None:
    story = Story(knobs={"deploy_seconds": 1.5})

    await survive_every_edge(ground, story, choose=around("execute/DeployStack", "commit of note_update"))


async def test_i2_worker_killed_while_it_waits_for_the_update(ground: Ground) -> None:
    async with ground.system(knobs=Knobs(deploy_seconds=1.5)) as system, system.ingress() as client:
        push = system.push(Story().files())
        async with worker_process(system, ground.folder) as worker:
            told = await push.send(client)
            await worker.passed("actions: after commit of note_update #1")
            assert system.core.state.updates.in_progress()
            await worker.kill()
        async with system.worker():
            (run,) = await system.ended_runs(told["delivery"])

        assert run.state is RunState.SUCCEEDED, run.reason
        assert len(system.core.history.deployed("web")) == 1
        await laws.assert_one_effect(system)


async def test_i2_worker_killed_around_an_execution_whose_answer_is_lost(ground: Ground) -> None:
    lost = Fault(kind="reset", area="execute", variant="DeployStack", after=True)
    story = Story(fault=lost, messages=2)

    await survive_every_edge(ground, story, choose=from_edge("actions: before execute/DeployStack #1"))


async def test_i4_worker_killed_at_every_edge_between_two_stages(ground: Ground) -> None:
    story = Story(stacks=("db", "web"), procedure=DB_FIRST, knobs={"deploy_seconds": 0.3}, messages=2)

    async def in_order(system: System) -> None:
        deploys = {deploy.stack: deploy for deploy in system.core.history.deploys}
        updates = system.core.state.updates.by_id
        ended = updates[deploys["db"].update_id or ""].end_ts
        assert ended is not None
        assert ended <= updates[deploys["web"].update_id or ""].start_ts

    choose = from_edge("actions: after execute/DeployStack #1", to="actions: before execute/DeployStack #2")
    await survive_every_edge(ground, story, choose=choose, also=in_order)


def _deploy(name: str) -> Stage:
    target = Target(name=name, repo="@event", branch="@event", affected=True)
    return Stage(
        name=name, executions=(Execution(execution=ExecutionCall(type="DeployStackIfChanged"), target=target),)
    )


DB_FIRST = builtin.GLOBAL.model_copy(update={"stages": (_deploy("db"), _deploy("!db"))})

Choose = Callable[[list[str]], list[str]]


def around(*steps: str) -> Choose:
    """The edges of these steps alone."""
    return lambda edges: [edge for edge in edges if any(step in edge for step in steps)]


def from_edge(first: str, *, to: str | None = None) -> Choose:
    """From one edge to another, or to the end."""
    return lambda edges: edges[edges.index(first) : edges.index(to) + 1 if to else None]


async def survive_every_edge(
    ground: Ground,
    story: Story,
    *,
    choose: Choose = lambda edges: edges,
    also: Callable[[System], Awaitable[None]] | None = None,
) -> None:
    """List the story's edges in a run without a crash, then let a worker die at each that is chosen, several at once."""
    edges = choose(stable(await list_edges(ground, story)))
    assert edges
    places = asyncio.Semaphore(AT_ONCE)
    failures: list[Exception] = []

    async def drill(edge: str) -> None:
        async with places:
            try:
                await survive(ground, story, edge, also)
            except Exception as error:
                error.add_note(f"the worker died at the edge {edge!r}")
                failures.append(error)

    async with asyncio.TaskGroup() as group:
        for edge in edges:
            group.create_task(drill(edge), name=edge)
    if failures:
        raise ExceptionGroup(f"{len(failures)} of {len(edges)} edges", failures)


async def list_edges(ground: Ground, story: Story) -> list[str]:
    """Every edge that a worker passes when nobody kills it."""
    async with ground.system(World.monorepo(*story.stacks), Knobs(**story.knobs)) as system, system.ingress() as client:
        await story.prepare(system)
        push = system.push(story.files())
        async with worker_process(system, ground.folder) as worker:
            told = await push.send(client)
            (run,) = await system.ended_runs(told["delivery"])
            assert run.state is RunState.SUCCEEDED, run.reason
            await worker.passed(f"{LAST_EDGE} #{story.messages}")
            return worker.edges()


def stable(edges: list[str]) -> list[str]:
    """
    The edges that every worker passes in this story.

    How many results are told at once hangs on time: only the first and the last publication of one and the first commit are sure.
    """
    published = [edge for edge in edges if edge.startswith("telling: after publish")]
    sure = {
        f"telling: {side} {step}"
        for side in ("before", "after")
        for step in ("publish webhook.results #1", f"publish webhook.results #{len(published)}", "commit of tell #1")
    }
    return [edge for edge in edges if not edge.startswith("telling") or edge in sure]


async def survive(ground: Ground, story: Story, edge: str, also: Callable[[System], Awaitable[None]] | None) -> None:
    """One worker dies at the edge, the next one goes on, and every law holds."""
    async with (
        ground.system(World.monorepo(*story.stacks), Knobs(**story.knobs)) as system,
        subscribed(system) as subscriber,
        system.ingress() as client,
    ):
        await story.prepare(system)
        push = system.push(story.files())
        async with worker_process(system, ground.folder, dies_at=edge) as doomed:
            told = await push.send(client)
            await doomed.died()
        async with system.worker():
            (run,) = await system.ended_runs(told["delivery"])
            await laws.nothing_held(system)
            await laws.all_told(system, subscriber)

        assert run.state is RunState.SUCCEEDED, run.reason
        deployed = {name: [one.sha for one in system.core.history.deployed(name)] for name in story.stacks}
        assert deployed == {name: [push.commit.sha] for name in story.stacks}
        await laws.assert_one_effect(system)
        laws.assert_one_at_a_time(system)
        if also is not None:
            await also(system)
