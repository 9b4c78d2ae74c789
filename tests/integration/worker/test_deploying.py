"""What a push does: the built-in procedure deploys what it affects and nothing else, and says why."""

from __future__ import annotations

from typing import Any

import pytest

from demo.core.world import World
from shared.states import ActionState, RunState, StageState
from shared.store.deliveries import ReceiptOutcome
from tests.integration.worker.scene import Scene

REASONS = {
    "stopped": "excluded by !stopped",
    "down": "excluded by !down",
    "pinned": "the stack is pinned to a commit",
    "disabled": "webhooks are disabled on the stack",
    "template": "a template is never deployed",
    "staging": "another branch",
    "untouched": "no changed path concerns the stack",
}


class TestInAWorldOfManyKinds:
    @pytest.fixture
    def world(self) -> World:
        world = World.monorepo("web", "linked", "elsewhere", *REASONS)
        stacks = {stack.name: stack for stack in world.stack}
        stacks["stopped"].state = "stopped"
        stacks["down"].deployed = False
        stacks["disabled"].config.webhook_enabled = False
        stacks["template"].template = True
        stacks["staging"].config.branch = "staging"
        world.git[0].branches.append("staging")
        other = world.git[0].model_copy(update={"repo": "acme/other"})
        stacks["elsewhere"].config.repo = "acme/other"
        repo = {"name": "infra", "config": {"server": "prod-1", "repo": "acme/infra"}}
        entries = world.model_dump() | {"git": [world.git[0], other], "repo": [repo]}
        made = World.model_validate(entries)
        for stack in made.stack:
            if stack.name == "linked":
                stack.config.repo, stack.config.linked_repo = "", "infra"
        return made

    async def test_exactly_the_affected_stacks_are_deployed_at_the_pushed_commit(self, either_scene: Scene) -> None:
        core = either_scene.core
        pinned = core.state.stack("pinned").config
        pinned["commit"] = core.state.git.find("github.com", "acme/infra").head("main").short
        affected = [name for name in ("web", "linked", "elsewhere", *REASONS) if name != "untouched"]

        push = either_scene.change(*affected)
        run = await either_scene.deploy(push)

        assert run.state is RunState.SUCCEEDED
        assert {deploy.stack: deploy.sha for deploy in core.history.deploys} == {
            "web": push.commit.sha,
            "linked": push.commit.sha,
        }
        trace = await either_scene.trace_of(run)
        assert {name: trace[name]["decision"]["reason"] for name in REASONS} == REASONS
        assert await either_scene.others_of(run) == (1, "repo")
        assert trace["web"] == {"stack": "web", "picked": True, "because": "stacks/web/compose.yaml"}

    async def test_each_action_tells_what_it_has_deployed(self, scene: Scene) -> None:
        push = scene.change("web")
        action = await scene.action_of(await scene.deploy(push))

        assert action.state is ActionState.SUCCEEDED
        assert action.resource_name == "web"
        assert action.outcome["deployed_hash"] == push.commit.short
        assert action.outcome["update"] == scene.core.history.executions[-1].update_id

    async def test_a_push_to_another_branch_deploys_that_branch_s_stacks(self, scene: Scene) -> None:
        run = await scene.deploy(scene.change("staging", "web", branch="staging"))

        assert run.state is RunState.SUCCEEDED
        assert [deploy.stack for deploy in scene.core.history.deploys] == ["staging"]


async def test_a_push_that_concerns_no_stack_succeeds_and_says_so(scene: Scene) -> None:
    run = await scene.deploy(scene.system.push({"README.md": "new words"}))

    assert (run.state, run.reason) == (RunState.SUCCEEDED, "nothing matched")
    assert await scene.system.actions(run) == []
    assert not scene.core.history.executions


async def test_a_change_that_komodo_does_not_track_leaves_the_stack_unchanged(scene: Scene) -> None:
    run = await scene.deploy(scene.system.push({"stacks/web/notes.md": "new words"}))
    action = await scene.action_of(run)

    assert run.state is RunState.SUCCEEDED
    assert (action.state, action.reason) == (ActionState.UNCHANGED, "none of its files changed")
    assert not scene.core.history.executions


async def test_a_push_to_a_repository_that_nobody_has_deploys_nothing(scene: Scene) -> None:
    body = {"ref": "refs/heads/main", "after": "a" * 40, "repository": {"id": 2, "full_name": "acme/nowhere"}}

    run = await scene.run_of(await scene.send_body("push", body))

    assert (run.state, run.reason) == (RunState.SUCCEEDED, "nothing matched")
    assert await scene.trace_of(run) == {}
    assert await scene.others_of(run) == (len(scene.core.state.shelves.stacks), "repo")


async def test_a_stack_that_a_person_stopped_stays_stopped(scene: Scene) -> None:
    scene.core.state.stack("web").state = "stopped"

    await scene.deploy(scene.change("web", "db"))

    assert scene.core.state.stack("web").state == "stopped"
    assert [deploy.stack for deploy in scene.core.history.deploys] == ["db"]


IRRELEVANT: dict[str, tuple[str, dict[str, Any], str]] = {
    "a ping": ("ping", {"zen": "Keep it simple.", "hook_id": 1}, "a ping only says hello"),
    "a deleted branch": (
        "push",
        {"ref": "refs/heads/main", "before": "a" * 40, "after": "0" * 40, "deleted": True},
        "a deletion never deploys",
    ),
    "a tag": (
        "push",
        {"ref": "refs/tags/v1", "before": "0" * 40, "after": "b" * 40, "created": True},
        "not an event that it waits for",
    ),
    "something else": ("star", {"action": "created"}, "not an event that it waits for"),
}


async def test_what_deploys_nothing_is_recorded_with_its_reason(either_scene: Scene) -> None:
    repository = {"id": 1, "full_name": "acme/infra", "clone_url": "https://github.com/acme/infra.git"}
    for name, (event, body, reason) in IRRELEVANT.items():
        delivery = await either_scene.send_body(event, {**body, "repository": repository})

        assert await either_scene.outcome_of(delivery) == (ReceiptOutcome.UNMATCHED, reason), name
        (told,) = await either_scene.results_of(delivery)
        assert (told.type, list(told.data["reasons"])) == ("delivery.unmatched", ["global"])
    assert not either_scene.core.history.executions


async def test_a_file_of_two_stacks_deploys_both(scene: Scene) -> None:
    for name in ("web", "db"):
        scene.core.state.stack(name).config["additional_env_files"] = [{"path": "../shared/all.env", "track": True}]
        scene.core.state.stack(name).config["file_paths"] = ["compose.yaml"]

    run = await scene.deploy(scene.system.push({"stacks/shared/all.env": "LOG=info\n"}))

    assert run.state is RunState.SUCCEEDED
    assert sorted(deploy.stack for deploy in scene.core.history.deploys) == ["db", "web"]


async def test_every_stage_of_an_ended_run_has_ended(scene: Scene) -> None:
    run = await scene.deploy(scene.change("web"))

    stages = await scene.stages_of(run)
    assert [stage.state for stage in stages] == [StageState.SUCCEEDED]
    assert all(stage.started_at and stage.ended_at for stage in stages)


async def test_many_stacks_of_one_push_are_deployed_once_each_by_two_workers(scene: Scene) -> None:
    async with scene.system.worker():
        run = await scene.deploy(scene.change("web", "db", "wiki"))

    assert run.state is RunState.SUCCEEDED
    assert sorted(deploy.stack for deploy in scene.core.history.deploys) == ["db", "web", "wiki"]
