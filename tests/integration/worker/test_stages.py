"""Stages one after another, and one action at a time per stack whoever asks for it (I3, I4)."""

from __future__ import annotations

from itertools import pairwise

from demo.core.serve import Core
from shared.states import ActionState, RunState, StageState
from shared.store.runs import Run
from tests.integration.worker.conftest import Start
from tests.integration.worker.scene import Scene, a_procedure, deploy_execution, on_stack
from tests.system import until

SUCCEEDED, FAILED, SKIPPED = StageState.SUCCEEDED, StageState.FAILED, StageState.SKIPPED


def begun(core: Core, variant: str) -> list[str]:
    """The stacks on which Komodo began this, in its order."""
    return [record.resource for record in core.history.executions if record.variant == variant]


async def states_of(scene: Scene, run: Run) -> list[StageState]:
    return [stage.state for stage in await scene.stages_of(run)]


async def test_i4_the_second_stage_begins_when_the_first_has_ended(either_scene: Scene) -> None:
    await either_scene.save(
        a_procedure(
            "ordered",
            [on_stack("RestartStack", "db"), on_stack("RestartStack", "wiki")],
            [on_stack("RestartStack", "web")],
        )
    )
    either_scene.core.state.hold("db")
    delivery = await either_scene.send(either_scene.change("web"))
    await either_scene.started("db")
    await either_scene.started("wiki")
    executions = either_scene.core.history.executions
    await either_scene.when(lambda: any(one.success for one in executions), "the quick one has ended")

    assert "web" not in begun(either_scene.core, "RestartStack")
    either_scene.core.state.release("db")
    run = await either_scene.run_of(delivery)

    assert run.state is RunState.SUCCEEDED
    assert begun(either_scene.core, "RestartStack")[-1] == "web"
    assert await states_of(either_scene, run) == [SUCCEEDED, SUCCEEDED]
    first, second = await either_scene.stages_of(run)
    assert first.ended_at is not None
    assert second.started_at is not None
    assert first.ended_at <= second.started_at


async def test_a_stage_that_failed_stops_the_run(scene: Scene) -> None:
    await scene.save(
        a_procedure("ordered", [deploy_execution("db")], [deploy_execution("web")], [deploy_execution("wiki")])
    )
    scene.knobs.failing_deploys["db"] = "Error"

    run = await scene.deploy(scene.change("db", "web", "wiki"))

    assert (run.state, run.reason) == (RunState.FAILED, "1 of 1 actions failed")
    assert await states_of(scene, run) == [FAILED, SKIPPED, SKIPPED]
    assert begun(scene.core, "DeployStack") == ["db"]


async def test_a_stage_that_failed_does_not_stop_a_run_that_is_told_to_go_on(scene: Scene) -> None:
    await scene.save(a_procedure("ordered", [deploy_execution("db")], [deploy_execution("web")], on_failure="continue"))
    scene.knobs.failing_deploys["db"] = "Error"

    run = await scene.deploy(scene.change("db", "web"))

    assert run.state is RunState.FAILED
    assert await states_of(scene, run) == [FAILED, SUCCEEDED]
    assert begun(scene.core, "DeployStack") == ["db", "web"]


async def test_a_stage_without_anything_to_do_does_not_hold_up_the_next(scene: Scene) -> None:
    nothing = {"execution": {"type": "DeployStack"}, "target": {"name": "nobody-*"}}
    await scene.save(a_procedure("ordered", [nothing], [], [deploy_execution("web")]))

    run = await scene.deploy(scene.change("web"))

    assert run.state is RunState.SUCCEEDED
    assert await states_of(scene, run) == [SUCCEEDED] * 3


async def test_what_is_disabled_is_not_run_and_the_trace_says_so(scene: Scene) -> None:
    definition = a_procedure(
        "partly",
        [on_stack("RestartStack", "db", enabled=False), on_stack("RestartStack", "wiki")],
        [on_stack("RestartStack", "web")],
    )
    stages = (definition.stages[0], definition.stages[1].model_copy(update={"enabled": False}))
    await scene.save(definition.model_copy(update={"stages": stages}))

    run = await scene.deploy(scene.change("web"))

    assert run.state is RunState.SUCCEEDED
    first, second = await scene.stages_of(run)
    assert first.trace["executions"] == [{"execution": 0, "skipped": "the execution is disabled"}]
    assert (second.state, second.reason) == (SKIPPED, "the stage is disabled")
    assert begun(scene.core, "RestartStack") == ["wiki"]


async def test_an_execution_runs_when_its_condition_over_the_stage_before_holds(scene: Scene) -> None:
    first = [on_stack("RestartStack", "db")]
    second = [
        on_stack("RestartStack", "web", condition="previous.succeeded == 1 && previous.failed == 0"),
        on_stack("RestartStack", "wiki", condition="previous.failed > 0"),
    ]
    await scene.save(a_procedure("ordered", first, second))

    run = await scene.deploy(scene.change("web"))

    assert run.state is RunState.SUCCEEDED
    assert begun(scene.core, "RestartStack") == ["db", "web"]
    _, stage = await scene.stages_of(run)
    assert stage.trace["executions"] == [
        {
            "execution": 1,
            "skipped": "the condition does not hold: previous.failed > 0",
        }
    ]


async def test_the_same_stack_in_two_targets_of_a_stage_is_deployed_once(scene: Scene) -> None:
    targets = [{"execution": {"type": "DeployStack"}, "target": {"name": name}} for name in ("w*", "web, db")]
    await scene.save(a_procedure("overlapping", targets))

    run = await scene.deploy(scene.change("wiki"))

    assert run.state is RunState.SUCCEEDED
    assert sorted(begun(scene.core, "DeployStack")) == ["db", "web", "wiki"]


async def test_i3_two_procedures_never_work_on_one_stack_at_once(start: Start) -> None:
    kinds = ("DeployStack", "RestartStack", "PullStack", "StopStack", "StartStack")
    async with start(workers=2) as scene:
        await scene.save(*(a_procedure(kind, [on_stack(kind, "web"), on_stack(kind, "db")]) for kind in kinds))
        scene.knobs.deploy_seconds = scene.knobs.execution_seconds = 0.05

        ended = await scene.system.ended_runs(await scene.send(scene.change("wiki")))

        assert [run.state for run in ended] == [RunState.SUCCEEDED] * len(kinds)
        for stack in ("web", "db"):
            assert scene.core.history.outcomes(stack) == ["ran"] * len(kinds)
            updates = [
                update
                for update in scene.core.state.updates.by_id.values()
                if update.target_id == scene.core.state.stack(stack).id
            ]
            assert all(
                before.end_ts is not None and before.end_ts <= after.start_ts for before, after in pairwise(updates)
            )


async def test_i5_what_waits_is_superseded_by_a_newer_push_and_the_newest_is_deployed(either_scene: Scene) -> None:
    either_scene.core.state.hold("web")
    first = await either_scene.send(either_scene.change("web", version="2.0"))
    await either_scene.started("web")
    second = await either_scene.send(either_scene.change("web", version="2.1"))
    await _waits(either_scene, second)
    newest = either_scene.change("web", version="2.2")
    third = await either_scene.send(newest)
    await _waits(either_scene, third)

    either_scene.core.state.release("web")
    ended = [await either_scene.run_of(delivery) for delivery in (first, second, third)]

    assert [run.state for run in ended] == [RunState.SUCCEEDED, RunState.CANCELLED, RunState.SUCCEEDED]
    assert ended[1].reason == "superseded by a newer event"
    assert (await either_scene.action_of(ended[1])).state is ActionState.SUPERSEDED
    assert either_scene.core.history.deployed("web")[-1].sha == newest.commit.sha


async def test_i5_another_stack_of_the_same_push_is_not_superseded(scene: Scene) -> None:
    scene.core.state.hold("web")
    first = await scene.send(scene.change("web", "db", version="2.0"))
    await scene.started("web")
    second = await scene.send(scene.change("web", version="2.1"))
    await _waits(scene, second)

    scene.core.state.release("web")
    ended = [await scene.run_of(delivery) for delivery in (first, second)]

    assert [run.state for run in ended] == [RunState.SUCCEEDED, RunState.SUCCEEDED]
    assert scene.core.history.ran("db") == 1


async def _waits(scene: Scene, delivery: str) -> None:
    """Until the delivery's only action waits for its stack."""

    async def is_waiting() -> bool:
        return [action.state for action in await scene.actions_so_far(delivery)] == [ActionState.WAITING]

    await until(is_waiting, f"the action of {delivery} waits")
