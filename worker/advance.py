"""
Advance: a stage can begin or has ended, so move the run on, one small step at a time until there is nothing to do.

`next_step` decides, purely; each step is one compare-and-set in one transaction, so a crash between two of them is mended by whoever calls
`advance` again (I4).
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog
from uuid_utils import uuid7

from shared import clock, metrics
from shared.errors import Permanent, Poison, Transient
from shared.event import ProcedureListener, WebhookEvent
from shared.procedure.model import Procedure
from shared.results import ResultType
from shared.states import (
    FAILED_ACTION,
    OPEN_ACTION,
    STAGE,
    ActionState,
    Happening,
    RunState,
    StageState,
)
from shared.store import actions, results, runs
from shared.store.actions import Action, Due
from shared.store.runs import Run, Stage
from worker.resolve import ResolvedStage, needs_stacks, resolve_stage
from worker.tools import Tools
from worker.work import Work

log = structlog.get_logger()

Counts = Mapping[ActionState, int]


@dataclass(frozen=True)
class Wait:
    """Actions of the current stage are open."""


@dataclass(frozen=True)
class BeginStage:
    """The stage's targets are to be resolved and its actions queued."""

    position: int


@dataclass(frozen=True)
class LeaveStage:
    """The stage's state changes without any action being queued."""

    stage: Stage
    happening: Happening
    reason: str | None = None


@dataclass(frozen=True)
class EndRun:
    """Nothing is left to do."""

    happening: Happening
    reason: str | None


Step = Wait | BeginStage | LeaveStage | EndRun


def next_step(procedure: Procedure, stages: Sequence[Stage], counts: Mapping[int, Counts]) -> Step:
    """What comes next in a run that is still running."""
    stopped = False
    for stage in stages:
        settings = procedure.stages[stage.position]
        match stage.state:
            case StageState.RUNNING:
                return _leave_running(stage, counts.get(stage.position, {}))
            case StageState.PENDING if stopped or not settings.enabled:
                reason = "an earlier stage failed" if stopped else "the stage is disabled"
                return LeaveStage(stage, Happening.SKIP, reason)
            case StageState.PENDING:
                return BeginStage(stage.position)
            case StageState.FAILED:
                stopped = stopped or settings.on_failure == "stop"
            case _:
                continue
    return _end(stages, counts)


def _leave_running(stage: Stage, counts: Counts) -> Step:
    if any(counts.get(state) for state in OPEN_ACTION):
        return Wait()
    failed = sum(counts.get(state, 0) for state in FAILED_ACTION)
    if failed:
        return LeaveStage(stage, Happening.FAIL, f"{failed} of {sum(counts.values())} actions failed")
    return LeaveStage(stage, Happening.SUCCEED)


def _end(stages: Sequence[Stage], counts: Mapping[int, Counts]) -> EndRun:
    total: Counter[ActionState] = Counter()
    for stage_counts in counts.values():
        total.update(stage_counts)
    if any(stage.state is StageState.FAILED for stage in stages):
        reasons = [stage.reason for stage in stages if stage.state is StageState.FAILED and stage.reason]
        return EndRun(Happening.FAIL, "; ".join(reasons) or None)
    if total[ActionState.CANCELLED]:
        return EndRun(Happening.CANCEL, "cancelled")
    if total and total[ActionState.SUPERSEDED] == total.total():
        return EndRun(Happening.CANCEL, "superseded by a newer event")
    return EndRun(Happening.SUCCEED, None if total else "nothing matched")


async def advance(tools: Tools, run_id: str, *, is_repeated: bool = False) -> None:
    """
    Move the run as far as it goes now.

    `is_repeated` says that the caller's message was delivered before: a crash may have come between a commit and its publishing, so what is queued is
    published once more. Raises `Transient` when Komodo does not answer, `Poison` when there is no such run.
    """
    async with tools.store.read() as db:
        run = await runs.get(db, run_id)
    if run is None:
        raise Poison(f"there is no run {run_id} in the store")
    while run.state is RunState.RUNNING:
        async with tools.store.read() as db:
            stages = await runs.stages_of(db, run_id)
            counts = await actions.count_states(db, run_id)
        match next_step(run.definition, stages, counts):
            case Wait():
                if is_repeated:
                    await _publish_queued(tools, run_id)
                return
            case BeginStage(position):
                await _begin_stage(tools, run, position, stages)
            case LeaveStage(stage, happening, reason):
                await _leave_stage(tools, run, stage, happening, reason, counts)
            case EndRun(happening, reason):
                await _end_run(tools, run, happening, reason, counts)
                return


async def _begin_stage(tools: Tools, run: Run, position: int, stages: Sequence[Stage]) -> None:
    async with tools.store.read() as db:
        event = await tools.events.of_run(db, run.id)
    try:
        resolved = await _resolve(tools, run, position, event)
    except Permanent as error:
        await _leave_stage(tools, run, stages[position], Happening.FAIL, error.reason, {})
        return
    except Transient as error:
        since = max((stage.ended_at for stage in stages if stage.ended_at), default=run.created_at)
        if clock.now() < since + timedelta(seconds=tools.settings.komodo_patience):
            raise
        await _leave_stage(tools, run, stages[position], Happening.FAIL, error.reason, {})
        return
    now = clock.now()
    queued = [_queued(run, position, planned, now) for planned in resolved.actions]
    async with tools.store.begin() as db:
        trace = {"executions": resolved.trace}
        if not await runs.move_stage(db, run.id, position, StageState.PENDING, Happening.START, now=now, trace=trace):
            return
        await actions.add(db, queued)
        news = [(ResultType.STAGE_STARTED, _about_stage(run, position) | {"actions": len(queued)})]
        news += [(ResultType.ACTION_QUEUED, about_action(action)) for action in queued]
        await results.tell_run(db, run.id, news, now=now)
    tools.telling.about(run.id)
    await _publish(tools, [Due(action.id, run.id, action.attempt) for action in queued])


async def _resolve(tools: Tools, run: Run, position: int, event: WebhookEvent) -> ResolvedStage:
    if isinstance(event.listener, ProcedureListener) and run.procedure_id is None:
        komodos = await tools.komodo.read("GetProcedure", procedure=event.listener.name)
        if not komodos["config"]["webhook_enabled"]:
            reason = f"webhooks are disabled on Komodo's procedure {event.listener.name}"
            return ResolvedStage(trace=[{"execution": 0, "skipped": reason}])
    stacks = await tools.stacks.get() if needs_stacks(run.definition, position) else ()
    return resolve_stage(run.definition, position, event, stacks)


async def _leave_stage(
    tools: Tools, run: Run, stage: Stage, happening: Happening, reason: str | None, counts: Mapping[int, Counts]
) -> None:
    now = clock.now()
    async with tools.store.begin() as db:
        if not await runs.move_stage(db, run.id, stage.position, stage.state, happening, now=now, reason=reason):
            return
        about = _about_stage(run, stage.position) | {
            "state": STAGE[stage.state, happening],
            "reason": reason,
            "actions": _readable(counts.get(stage.position, {})),
        }
        await results.tell_run(db, run.id, [(ResultType.STAGE_FINISHED, about)], now=now)
    tools.telling.about(run.id)


_RUN_RESULTS = {
    Happening.SUCCEED: ResultType.RUN_SUCCEEDED,
    Happening.FAIL: ResultType.RUN_FAILED,
    Happening.CANCEL: ResultType.RUN_CANCELLED,
}


async def _end_run(
    tools: Tools, run: Run, happening: Happening, reason: str | None, counts: Mapping[int, Counts]
) -> None:
    now = clock.now()
    total: Counter[ActionState] = Counter()
    for stage_counts in counts.values():
        total.update(stage_counts)
    async with tools.store.begin() as db:
        if not await runs.finish(db, run.id, happening, reason, now=now):
            return
        about = {"reason": reason, "actions": _readable(total)}
        await results.tell_run(db, run.id, [(_RUN_RESULTS[happening], about)], now=now)
    metrics.RUNS.labels(outcome=str(happening)).inc()
    log.info("run_ended", run_id=run.id, procedure=run.procedure_name, outcome=happening, reason=reason)
    tools.telling.about(run.id)


async def _publish_queued(tools: Tools, run_id: str) -> None:
    async with tools.store.read() as db:
        queued = await actions.queued_of_run(db, run_id)
    await _publish(tools, queued)


async def _publish(tools: Tools, queued: Sequence[Due]) -> None:
    await asyncio.gather(*(tools.publisher.publish_action(Work.for_action(due).to_message()) for due in queued))


def _queued(run: Run, position: int, planned: Any, now: datetime) -> Action:
    return Action(
        id=str(uuid7()),
        run_id=run.id,
        stage=position,
        execution=planned.execution,
        type=planned.type,
        params=planned.params,
        policy=planned.policy,
        resource=planned.resource,
        resource_name=planned.resource_name,
        effect=planned.effect,
        received_at=run.received_at,
        queued_at=now,
        due_at=now,
    )


def about_action(action: Action) -> dict[str, Any]:
    """What every result about an action says."""
    return {
        "action": action.id,
        "stage": action.stage,
        "type": action.type,
        "resource": action.resource_name,
        "attempt": action.attempt,
    }


def _about_stage(run: Run, position: int) -> dict[str, Any]:
    return {"stage": position, "name": run.definition.stages[position].name}


def _readable(counts: Counts) -> dict[str, int]:
    return {str(state): count for state, count in counts.items() if count}
