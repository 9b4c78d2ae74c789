"""Which actions a stage becomes."""

from __future__ import annotations

from typing import Any

import pytest

from shared.event import StackListener
from shared.komodo.types import Stack
from shared.matching.index import StackIndex
from shared.procedure.model import Procedure
from tests.builders import a_procedure, an_event
from tests.unit.shared.matching.stacks import a_stack
from worker.resolve import PlannedAction, ResolvedStage, needs_stacks, resolve_stage

WEB, DB, WIKI = a_stack("web"), a_stack("db"), a_stack("wiki")
STACKS = StackIndex([WEB, DB, WIKI])


def stage_of(*executions: dict[str, Any], **settings: Any) -> Procedure:
    return a_procedure(stages=({"executions": executions},), **settings)


def resolved(*executions: dict[str, Any], stacks: list[Stack] | None = None, **event: Any) -> ResolvedStage:
    return resolve_stage(stage_of(*executions), 0, an_event(**event), STACKS if stacks is None else StackIndex(stacks))


def on(kind: str = "DeployStack", stack: str = "web", **more: Any) -> dict[str, Any]:
    params = more.pop("params", {})
    return {"execution": {"type": kind, "params": {"stack": stack, **params}}, **more}


def picking(kind: str = "DeployStack", params: dict[str, Any] | None = None, **target: Any) -> dict[str, Any]:
    return {"execution": {"type": kind, "params": params or {}}, "target": target}


def resources(stage: ResolvedStage) -> list[str]:
    return [action.resource_name for action in stage.actions]


def only(stage: ResolvedStage) -> PlannedAction:
    (action,) = stage.actions
    return action


class TestTargets:
    def test_an_execution_with_a_target_runs_on_each_stack_that_it_picks(self) -> None:
        stage = resolved(picking(name="w*"))

        assert resources(stage) == ["web", "wiki"]
        assert [action.resource for action in stage.actions] == [f"Stack:{WEB.id}", f"Stack:{WIKI.id}"]
        assert [action.params for action in stage.actions] == [{"stack": WEB.id}, {"stack": WIKI.id}]

    def test_the_trace_has_a_line_for_every_stack(self) -> None:
        (entry,) = resolved(picking(name="w*")).trace

        assert entry["execution"] == 0
        assert [(line["stack"], line["picked"]) for line in entry["stacks"]] == [
            ("web", True),
            ("db", False),
            ("wiki", True),
        ]

    def test_params_of_the_execution_go_along(self) -> None:
        assert only(resolved(picking(params={"services": ["app"]}, name="web"))).params == {
            "services": ["app"],
            "stack": WEB.id,
        }

    @pytest.mark.parametrize(("unknown", "count"), [("match", 3), ("skip", 0)])
    def test_the_trigger_decides_where_the_paths_are_not_known(self, unknown: str, count: int) -> None:
        procedure = stage_of(picking(affected=True), trigger={"on_unknown_paths": unknown})

        stage = resolve_stage(procedure, 0, an_event(changed_paths=None), STACKS)

        assert len(stage.actions) == count

    def test_two_targets_that_pick_the_same_stack_for_the_same_run_it_once(self) -> None:
        stage = resolved(picking(name="w*"), picking(name="web, db"))

        assert sorted(resources(stage)) == ["db", "web", "wiki"]
        assert {action.execution for action in stage.actions if action.resource_name == "web"} == {0}

    def test_the_same_stack_for_something_else_runs_both(self) -> None:
        stage = resolved(picking(name="web"), picking("RestartStack", name="web"))

        assert [action.type for action in stage.actions] == ["DeployStack", "RestartStack"]

    def test_the_same_stack_with_other_params_runs_both(self) -> None:
        assert len(resolved(picking(name="web"), picking(params={"services": ["app"]}, name="web")).actions) == 2


class TestNamedStacks:
    @pytest.mark.parametrize("name", ["web", WEB.id])
    def test_a_stack_is_found_by_its_name_and_by_its_id(self, name: str) -> None:
        action = only(resolved(on(stack=name)))

        assert (action.resource, action.resource_name, action.params) == (f"Stack:{WEB.id}", "web", {"stack": WEB.id})

    def test_a_stack_that_nobody_has_is_left_to_komodo_to_refuse(self) -> None:
        action = only(resolved(on(stack="nobody")))

        assert (action.resource, action.params) == ("Stack:nobody", {"stack": "nobody"})

    def test_a_named_stack_runs_though_it_is_pinned_muted_or_stopped(self) -> None:
        pinned = a_stack("web", pinned_commit="abc", webhook_enabled=False, state="stopped")

        assert resources(resolved(on(), stacks=[pinned])) == ["web"]

    def test_a_name_and_a_target_for_the_same_stack_run_it_once(self) -> None:
        assert resources(resolved(on(), picking(name="web"))) == ["web"]

    def test_another_kind_of_resource_is_taken_as_it_is_named(self) -> None:
        execution = {"execution": {"type": "RunProcedure", "params": {"procedure": "nightly"}}}

        action = only(resolved(execution, stacks=[]))

        assert (action.resource, action.params) == ("Procedure:nightly", {"procedure": "nightly"})

    def test_a_disabled_execution_is_only_in_the_trace(self) -> None:
        stage = resolved(on(enabled=False), on("RestartStack"))

        assert [action.execution for action in stage.actions] == [1]
        assert stage.trace == [{"execution": 0, "skipped": "the execution is disabled"}]


class TestKomodosOwnUrl:
    DEPLOY = StackListener(name="web", execution="deploy")

    def deploy(self, stack: Stack, **event: Any) -> ResolvedStage:
        return resolved(on("DeployStackIfChanged"), stacks=[stack], **{"listener": self.DEPLOY, **event})

    def test_a_push_to_the_stacks_branch_deploys_if_changed(self) -> None:
        assert only(self.deploy(WEB)).type == "DeployStackIfChanged"

    def test_a_stack_that_forces_is_deployed_in_any_case(self) -> None:
        forcing = a_stack("web", webhook_force_deploy=True)

        assert only(self.deploy(forcing)).type == "DeployStack"

    def test_a_stack_that_forces_is_not_forced_from_elsewhere(self) -> None:
        forcing = a_stack("web", webhook_force_deploy=True)

        assert only(resolved(on("DeployStackIfChanged"), stacks=[forcing])).type == "DeployStackIfChanged"
        assert only(resolved(picking("DeployStackIfChanged"), stacks=[forcing])).type == "DeployStackIfChanged"

    def test_a_refresh_is_never_forced_into_a_deploy(self) -> None:
        forcing = a_stack("web", webhook_force_deploy=True)
        listener = StackListener(name="web", execution="refresh")

        assert only(resolved(on("RefreshStackCache"), stacks=[forcing], listener=listener)).type == "RefreshStackCache"

    def test_a_pinned_stack_is_deployed_as_komodo_would(self) -> None:
        assert resources(self.deploy(a_stack("web", pinned_commit="abc"))) == ["web"]

    def test_another_branch_is_refused_and_the_trace_says_so(self) -> None:
        stage = self.deploy(WEB, branch="staging")

        assert stage.actions == []
        assert stage.trace == [
            {"execution": 0, "skipped": "the event is about branch staging, the stack web follows main"}
        ]

    def test_a_muted_stack_is_refused_and_the_trace_says_so(self) -> None:
        stage = self.deploy(a_stack("web", webhook_enabled=False))

        assert stage.actions == []
        assert stage.trace == [{"execution": 0, "skipped": "webhooks are disabled on the stack web"}]


class TestEffects:
    """Two actions with the same resource and effect do the same, so a newer one supersedes an older (I5)."""

    def test_by_name_or_by_target_it_is_the_same_effect(self) -> None:
        assert only(resolved(on())).effect == only(resolved(picking(name="web"))).effect

    def test_retry_and_timeout_are_no_part_of_it(self) -> None:
        assert only(resolved(on())).effect == only(resolved(on(retry={"attempts": 3}, timeout="1m"))).effect

    def test_the_order_of_params_is_no_part_of_it(self) -> None:
        first = on(params={"services": ["a"], "stop_time": 5})
        second = on(params={"stop_time": 5, "services": ["a"]})

        assert only(resolved(first)).effect == only(resolved(second)).effect

    def test_every_stack_has_the_same_effect(self) -> None:
        assert len({action.effect for action in resolved(picking()).actions}) == 1

    @pytest.mark.parametrize(
        "other", [on("RestartStack"), on("DeployStackIfChanged"), on(params={"services": ["app"]})]
    )
    def test_another_type_or_other_params_are_another_effect(self, other: dict[str, Any]) -> None:
        assert only(resolved(on())).effect != only(resolved(other)).effect


def test_the_policy_is_the_executions() -> None:
    action = only(resolved(on(retry={"attempts": 3, "initial": "2s"}, timeout="5m")))

    assert action.policy == {"timeout": 300.0, "retry": {"attempts": 3, "initial": 2.0, "max": 300.0}}
    assert only(resolved(on())).policy == {"timeout": 1800.0, "retry": None}


@pytest.mark.parametrize(
    ("execution", "expected"),
    [
        (on(), True),
        (picking(), True),
        (on(enabled=False), False),
        ({"execution": {"type": "RunProcedure", "params": {"procedure": "x"}}}, False),
    ],
)
def test_komodos_stacks_are_asked_for_only_where_they_matter(execution: dict[str, Any], expected: bool) -> None:
    assert needs_stacks(stage_of(execution), 0) is expected
