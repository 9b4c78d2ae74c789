"""
Resolve: which resources a stage's executions run on. Pure: it is handed Komodo's stacks and returns actions to be.

An execution with a target runs once per stack that the target picks; one without runs as Komodo would run it, on the resource that its params name.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

import orjson

from shared.event import StackListener, WebhookEvent
from shared.komodo.types import Stack
from shared.matching import conditions, target
from shared.matching.conditions import Previous, Scope
from shared.matching.index import StackIndex
from shared.matching.trace import Decision
from shared.procedure.executions import EXECUTIONS
from shared.procedure.model import Execution, Procedure

NOTHING_BEFORE = Previous()


@dataclass(frozen=True)
class PlannedAction:
    """An action before it has a run: one execution on one resource."""

    execution: int
    type: str
    params: dict[str, Any]
    policy: dict[str, Any]
    resource: str
    resource_name: str
    effect: str


@dataclass
class ResolvedStage:
    """The stage's actions, and why each stack was or was not picked (I7)."""

    actions: list[PlannedAction] = field(default_factory=list)
    trace: list[dict[str, Any]] = field(default_factory=list)


def resolve_stage(
    procedure: Procedure,
    position: int,
    event: WebhookEvent,
    stacks: StackIndex,
    previous: Previous = NOTHING_BEFORE,
) -> ResolvedStage:
    """Everything that the stage at `position` does for this event; `previous` is how the stage before it ended."""
    resolved = ResolvedStage()
    unknown_paths = procedure.trigger.on_unknown_paths if procedure.trigger else "match"
    for index, execution in enumerate(procedure.stages[position].executions):
        if not execution.enabled:
            resolved.trace.append({"execution": index, "skipped": "the execution is disabled"})
        elif decision := _unmet(execution, event, previous):
            resolved.trace.append({"execution": index, "skipped": decision.sentence()})
        elif execution.target is not None:
            resolution = target.resolve(execution.target, event, stacks, unknown_paths)
            resolved.actions += [_on_stack(index, execution, stack) for stack in resolution.picked]
            resolved.trace.append({"execution": index, **resolution.to_trace()})
        else:
            _resolve_named(resolved, index, execution, event, stacks)
    # Two targets of one stage may pick the same stack for the same execution: once is enough.
    resolved.actions = list(
        {(action.resource, action.effect): action for action in reversed(resolved.actions)}.values()
    )[::-1]
    return resolved


def _unmet(execution: Execution, event: WebhookEvent, previous: Previous) -> Decision | None:
    if not execution.condition:
        return None
    values = {**conditions.of_event(event), **conditions.of_previous(previous)}
    return conditions.decide(execution.condition, Scope.EXECUTION, values)


def needs_stacks(procedure: Procedure, position: int) -> bool:
    """Whether the stage can be resolved only with Komodo's list of stacks."""
    return any(
        execution.target is not None or EXECUTIONS[execution.execution.type].resource == "Stack"
        for execution in procedure.stages[position].executions
        if execution.enabled
    )


def _resolve_named(
    resolved: ResolvedStage, index: int, execution: Execution, event: WebhookEvent, stacks: StackIndex
) -> None:
    kind = EXECUTIONS[execution.execution.type]
    name = str(execution.execution.params.get(kind.param, ""))
    if kind.resource != "Stack":
        resolved.actions.append(_action(index, execution, f"{kind.resource}:{name}", name, name))
        return
    stack = next((stack for stack in stacks if name in (stack.id, stack.name)), None)
    if stack is None:
        resolved.actions.append(_action(index, execution, f"Stack:{name}", name, name))
        return
    if decision := target.is_filtered(event, stack):
        resolved.trace.append({"execution": index, "skipped": f"{stack.name}: {decision.sentence()}"})
        return
    if isinstance(event.listener, StackListener) and (refusal := _refusal(stack, event)):
        resolved.trace.append({"execution": index, "skipped": refusal})
        return
    resolved.actions.append(_on_stack(index, execution, stack, force=isinstance(event.listener, StackListener)))


def _refusal(stack: Stack, event: WebhookEvent) -> str | None:
    """
    Why Komodo's own stack URL does nothing for this event, or None (Komodo v2.3.2, `bin/core/src/api/listener/resources.rs`).
    """
    if not stack.webhook_enabled:
        return f"webhooks are disabled on the stack {stack.name}"
    if event.branch != stack.branch:
        return f"the event is about branch {event.branch}, the stack {stack.name} follows {stack.branch}"
    return None


def _on_stack(index: int, execution: Execution, stack: Stack, *, force: bool = False) -> PlannedAction:
    kind = execution.execution.type
    if force and stack.webhook_force_deploy and kind == "DeployStackIfChanged":
        kind = "DeployStack"
    return _action(index, execution, f"Stack:{stack.id}", stack.name, stack.id, kind=kind)


def _action(
    index: int, execution: Execution, resource: str, name: str, value: str, *, kind: str | None = None
) -> PlannedAction:
    kind = kind or execution.execution.type
    param = EXECUTIONS[kind].param
    others = {key: value for key, value in execution.execution.params.items() if key != param}
    effect = hashlib.sha256(orjson.dumps([kind, others], option=orjson.OPT_SORT_KEYS)).hexdigest()
    policy = {
        "timeout": execution.timeout,
        "retry": execution.retry.model_dump() if execution.retry else None,
    }
    return PlannedAction(index, kind, {**others, param: value}, policy, resource, name, effect)
