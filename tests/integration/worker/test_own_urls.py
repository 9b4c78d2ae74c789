"""Komodo's own webhook URLs, pointed here: each does what it did at Komodo, by Komodo's own branch rules."""

from __future__ import annotations

import pytest

from demo.core.world import World
from shared.states import ActionState, RunState
from shared.store.deliveries import ReceiptOutcome
from tests.integration.worker.scene import Scene, a_procedure, on_stack

NIGHTLY = {
    "name": "nightly",
    "config": {
        "stages": [{"name": "one", "executions": [{"execution": {"type": "RestartStack", "params": {"stack": "web"}}}]}]
    },
}


@pytest.fixture
def world() -> World:
    world = World.monorepo("web", "db")
    world.git[0].branches += ["staging", "feature/x"]
    muted = {**NIGHTLY, "name": "muted", "config": {**NIGHTLY["config"], "webhook_enabled": False}}  # type: ignore[dict-item]
    return World.model_validate(world.model_dump() | {"procedure": [NIGHTLY, muted]})


class TestProcedures:
    @pytest.mark.parametrize("branch", ["main", "__ANY__"])
    async def test_komodos_procedure_is_run_and_waited_for(self, scene: Scene, branch: str) -> None:
        run = await scene.deploy(scene.change("web"), f"/listener/github/procedure/nightly/{branch}")

        assert (run.state, run.procedure_name) == (RunState.SUCCEEDED, "procedure/nightly")
        assert scene.core.history.ran("nightly", "RunProcedure") == 1
        assert scene.core.history.ran("web", "RestartStack") == 1
        assert (await scene.action_of(run)).resource == "Procedure:nightly"

    async def test_a_push_to_another_branch_than_the_urls_does_nothing(self, scene: Scene) -> None:
        push = scene.change("web", branch="staging")
        delivery = await scene.send(push, "/listener/github/procedure/nightly/main")

        assert await scene.outcome_of(delivery) == (ReceiptOutcome.UNMATCHED, "the URL names another branch")
        assert not scene.core.history.executions

    async def test_a_branch_with_a_slash_is_one_segment(self, scene: Scene) -> None:
        push = scene.change("web", branch="feature/x")

        run = await scene.deploy(push, "/listener/github/procedure/nightly/feature%2Fx")

        assert run.state is RunState.SUCCEEDED

    async def test_ours_of_that_name_wins(self, scene: Scene) -> None:
        ours = a_procedure("nightly", [on_stack("RestartStack", "db")], trigger={"listen": "own"})
        await scene.save(ours, keep_global=True)

        run = await scene.deploy(scene.change("web"), "/listener/github/procedure/nightly/main")

        assert (run.state, run.procedure_name, run.procedure_version) == (RunState.SUCCEEDED, "nightly", 1)
        assert scene.core.history.ran("nightly") == 0
        assert scene.core.history.ran("db", "RestartStack") == 1

    async def test_ours_that_is_disabled_does_not_fall_back_to_komodos(self, scene: Scene) -> None:
        await scene.save(a_procedure("nightly", enabled=False), keep_global=True)

        delivery = await scene.send(scene.change("web"), "/listener/github/procedure/nightly/main")

        assert await scene.outcome_of(delivery) == (ReceiptOutcome.UNMATCHED, "the procedure is disabled")
        assert not scene.core.history.executions

    async def test_one_whose_webhook_is_disabled_at_komodo_is_left_alone_and_says_so(self, scene: Scene) -> None:
        run = await scene.deploy(scene.change("web"), "/listener/github/procedure/muted/main")

        assert (run.state, run.reason) == (RunState.SUCCEEDED, "nothing matched")
        (stage,) = await scene.stages_of(run)
        assert stage.trace["executions"] == [
            {"execution": 0, "skipped": "webhooks are disabled on Komodo's procedure muted"}
        ]

    async def test_one_that_nobody_has_fails_and_names_it(self, scene: Scene) -> None:
        run = await scene.deploy(scene.change("web"), "/listener/github/procedure/nobody/main")

        assert run.state is RunState.FAILED
        assert "Did not find any Procedure matching nobody" in str(run.reason)

    async def test_komodos_procedure_that_fails_is_a_failed_run(self, scene: Scene) -> None:
        scene.knobs.busy.add("web")

        run = await scene.deploy(scene.change("web"), "/listener/github/procedure/nightly/main")

        assert run.state is RunState.FAILED
        assert "Execution not successful" in str((await scene.action_of(run)).reason)


class TestStacks:
    async def test_deploy_deploys_that_stack_alone(self, scene: Scene) -> None:
        push = scene.change("web", "db")

        run = await scene.deploy(push, "/listener/github/stack/web/deploy")

        assert run.state is RunState.SUCCEEDED
        assert [(deploy.stack, deploy.sha) for deploy in scene.core.history.deploys] == [("web", push.commit.sha)]

    async def test_a_stack_is_found_by_its_id_too(self, scene: Scene) -> None:
        stack = scene.core.state.stack("web").id

        action = await scene.action_of(
            await scene.deploy(scene.change("web"), f"/listener/github/stack/{stack}/deploy")
        )

        assert (action.resource, action.resource_name) == (f"Stack:{stack}", "web")
        assert scene.core.history.ran("web") == 1

    async def test_deploy_leaves_an_unchanged_stack_alone(self, scene: Scene) -> None:
        run = await scene.deploy(scene.change("db"), "/listener/github/stack/web/deploy")

        assert (await scene.action_of(run)).state is ActionState.UNCHANGED
        assert not scene.core.history.executions

    async def test_a_stack_that_forces_is_deployed_though_nothing_changed(self, scene: Scene) -> None:
        scene.core.state.stack("web").config["webhook_force_deploy"] = True

        action = await scene.action_of(await scene.deploy(scene.change("db"), "/listener/github/stack/web/deploy"))

        assert (action.type, action.state) == ("DeployStack", ActionState.SUCCEEDED)
        assert scene.core.history.ran("web", "DeployStack") == 1

    async def test_refresh_reads_the_files_and_deploys_nothing(self, scene: Scene) -> None:
        push = scene.change("web")

        action = await scene.action_of(await scene.deploy(push, "/listener/github/stack/web/refresh"))

        assert (action.type, action.state) == ("RefreshStackCache", ActionState.SUCCEEDED)
        assert action.outcome == {"latest_hash": push.commit.short}
        assert scene.core.state.stack("web").info["latest_hash"] == push.commit.short
        assert not scene.core.history.executions

    async def test_a_refresh_that_can_not_read_the_files_fails_with_gits_words(self, scene: Scene) -> None:
        scene.knobs.failing_git["acme/infra"] = "fatal: could not read Username"

        action = await scene.action_of(await scene.deploy(scene.change("web"), "/listener/github/stack/web/refresh"))

        assert action.state is ActionState.FAILED
        assert "could not read Username" in str(action.reason)

    async def test_a_push_to_another_branch_than_the_stacks_does_nothing_and_says_so(self, scene: Scene) -> None:
        run = await scene.deploy(scene.change("web", branch="staging"), "/listener/github/stack/web/deploy")

        assert (run.state, run.reason) == (RunState.SUCCEEDED, "nothing matched")
        (stage,) = await scene.stages_of(run)
        assert stage.trace["executions"][0]["skipped"] == (
            "the event is about branch staging, the stack web follows main"
        )
        assert not scene.core.history.executions

    async def test_a_stack_whose_webhook_is_disabled_is_left_alone_and_says_so(self, scene: Scene) -> None:
        scene.core.state.stack("web").config["webhook_enabled"] = False

        run = await scene.deploy(scene.change("web"), "/listener/github/stack/web/deploy")

        (stage,) = await scene.stages_of(run)
        assert stage.trace["executions"][0]["skipped"] == "webhooks are disabled on the stack web"
        assert not scene.core.history.executions

    async def test_a_stack_that_nobody_has_fails_and_names_it(self, scene: Scene) -> None:
        run = await scene.deploy(scene.change("web"), "/listener/github/stack/nobody/deploy")

        assert run.state is RunState.FAILED
        assert "Did not find any Stack matching nobody" in str((await scene.action_of(run)).reason)

    async def test_a_tag_starts_no_stack(self, scene: Scene) -> None:
        body = {"ref": "refs/tags/main", "after": "b" * 40, "repository": {"id": 1, "full_name": "acme/infra"}}

        delivery = await scene.send_body("push", body, "/listener/github/stack/web/deploy")

        outcome, reason = await scene.outcome_of(delivery)
        assert (outcome, reason) == (ReceiptOutcome.UNMATCHED, "a stack's own URL needs a push to a branch")
