"""
Advance: a stage can begin or has ended, so move the run on, step by step until there is nothing to do.

`next_step` decides, purely. Each step is a compare-and-set; those that follow one another without anyone being asked are one transaction. So a crash
between two of them is mended by whoever calls `advance` again (I4).
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from uuid_utils import uuid7

from shared import clock, logs, metrics
from shared.errors import Permanent, Poison, Transient
from shared.event import ProcedureListener, WebhookEvent
from shared.matching.conditions import Previous
from shared.matching.index import StackIndex
from shared.procedure.model import Procedure
from shared.results import ResultType
from shared.states import (
    FAILED_ACTION,
    OPEN_ACTION,
    RUN,
    STAGE,
    ActionState,
    Happening,
    RunState,
    StageState,
)
from shared.store import actions, results, runs
from shared.store.actions import Action, Due
from shared.store.engine import Connection
from shared.store.runs import Run, Stage
from worker.resolve import ResolvedStage, needs_stacks, resolve_stage
from worker.tools import Tools
from worker.work import Work

log = logs.get_logger()

Counts = Mapping[ActionState, int]


@dataclass(frozen=True)
class Wait:
    """Actions of the current stage are open."""


@dataclass(frozen=True)
class BeginStage:
    """The stage's targets are to be resolved and its actions queued."""

    position: int


@dataclass(frozen=True)
class StartStage:
    """They are resolved: the stage starts with these actions queued."""

    stage: Stage
    queued: Sequence[Action]
    trace: Any


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
Change = StartStage | LeaveStage | EndRun


@dataclass(frozen=True)
class Standing:
    """How a run stands: what there is to decide by."""

    run: Run
    stages: Sequence[Stage]
    counts: Mapping[int, Counts]

    def after(self, change: Change, now: datetime) -> Standing:
        """How it stands once that has happened."""
        match change:
            case StartStage(stage, queued):
                started = self._with(replace(stage, state=STAGE[stage.state, Happening.START], started_at=now))
                return replace(started, counts={**self.counts, stage.position: {ActionState.QUEUED: len(queued)}})
            case LeaveStage(stage, happening, reason):
                return self._with(replace(stage, state=STAGE[stage.state, happening], reason=reason, ended_at=now))
            case EndRun(happening, reason):
                ended = replace(self.run, state=RUN[self.run.state, happening], reason=reason, ended_at=now)
                return replace(self, run=ended)

    def _with(self, stage: Stage) -> Standing:
        return replace(self, stages=[stage if one.position == stage.position else one for one in self.stages])


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
    total = _total(counts)
    if any(stage.state is StageState.FAILED for stage in stages):
        reasons = [stage.reason for stage in stages if stage.state is StageState.FAILED and stage.reason]
        return EndRun(Happening.FAIL, "; ".join(reasons) or None)
    if total[ActionState.CANCELLED]:
        return EndRun(Happening.CANCEL, "cancelled")
    if total.total() and total[ActionState.SUPERSEDED] == total.total():
        return EndRun(Happening.CANCEL, "superseded by a newer event")
    return EndRun(Happening.SUCCEED, None if total.total() else "nothing matched")


def _total(counts: Mapping[int, Counts]) -> Counter[ActionState]:
    total: Counter[ActionState] = Counter()
    for of_stage in counts.values():
        total.update(of_stage)
    return total


async def advance(tools: Tools, run_id: str, *, is_repeated: bool = False) -> None:
    """
    Move the run as far as it goes now.

    `is_repeated` says that the caller's message was delivered before: a crash may have come between a commit and its publishing, so what is queued is
    published once more. Raises `Transient` when Komodo does not answer, `Poison` when there is no such run.
    """
    await _advance(tools, await _look(tools, run_id), is_repeated=is_repeated)


async def begin(tools: Tools, run: Run) -> None:
    """Move a run on that has just been planned, and of which nobody else knows; raises what `advance` raises."""
    await _advance(tools, Standing(run, runs.pending_stages(run), {}), is_repeated=False)


async def _look(tools: Tools, run_id: str) -> Standing:
    async with tools.store.read() as db:
        run = await runs.get(db, run_id)
        if run is None:
            raise Poison(f"there is no run {run_id} in the store")
        return Standing(run, await runs.stages_of(db, run_id), await actions.count_states(db, run_id))


async def _advance(tools: Tools, standing: Standing, *, is_repeated: bool) -> None:
    while standing.run.state is RunState.RUNNING:
        match _next(standing):
            case Wait():
                if is_repeated:
                    await _publish_queued(tools, standing.run.id)
                return
            case BeginStage(position):
                change = await _resolved(tools, standing, position)
            case LeaveStage() | EndRun() as change:
                pass
        now = clock.now()
        changes = follow(standing, change, now)
        if await _move_on(tools, changes, now):
            before, last = changes[-1]
            standing = before.after(last, now)
        else:
            standing = await _look(tools, standing.run.id)


def _next(standing: Standing) -> Step:
    return next_step(standing.run.definition, standing.stages, standing.counts)


def follow(standing: Standing, change: Change, now: datetime) -> list[tuple[Standing, Change]]:
    """The change and what follows from it by itself, each with how the run stands before it."""
    changes: list[tuple[Standing, Change]] = [(standing, change)]
    while not isinstance(change, EndRun):
        standing = standing.after(change, now)
        match _next(standing):
            case Wait() | BeginStage():
                break
            case change:
                changes.append((standing, change))
    return changes


async def _resolved(tools: Tools, standing: Standing, position: int) -> StartStage | LeaveStage:
    run, stage = standing.run, standing.stages[position]
    async with tools.store.read() as db:
        event = await tools.events.of_run(db, run.id)
    try:
        resolved = await _resolve(tools, standing, position, event)
    except Permanent as error:
        return LeaveStage(stage, Happening.FAIL, error.reason)
    except Transient as error:
        since = max((stage.ended_at for stage in standing.stages if stage.ended_at), default=run.created_at)
        if clock.now() < since + timedelta(seconds=tools.settings.komodo_patience):
            raise
        return LeaveStage(stage, Happening.FAIL, error.reason)
    now = clock.now()
    queued = [_queued(run, position, planned, now) for planned in resolved.actions]
    return StartStage(stage, queued, {"executions": resolved.trace})


async def _resolve(tools: Tools, standing: Standing, position: int, event: WebhookEvent) -> ResolvedStage:
    run = standing.run
    if isinstance(event.listener, ProcedureListener) and run.procedure_id is None:
        komodos = await tools.komodo.read("GetProcedure", procedure=event.listener.name)
        if not komodos["config"]["webhook_enabled"]:
            reason = f"webhooks are disabled on Komodo's procedure {event.listener.name}"
            return ResolvedStage(trace=[{"execution": 0, "skipped": reason}])
    stacks = await tools.stacks.get() if needs_stacks(run.definition, position) else StackIndex()
    return resolve_stage(run.definition, position, event, stacks, previous_of(standing.counts.get(position - 1, {})))


def previous_of(counts: Counts) -> Previous:
    """How a stage's actions ended, as conditions ask for it."""
    succeeded, unchanged = counts.get(ActionState.SUCCEEDED, 0), counts.get(ActionState.UNCHANGED, 0)
    failed, total = sum(counts.get(state, 0) for state in FAILED_ACTION), sum(counts.values())
    return Previous(total, succeeded, unchanged, failed, skipped=total - succeeded - unchanged - failed)


class _Overtaken(Exception):
    """Somebody else has moved the run meanwhile."""


async def _move_on(tools: Tools, changes: Sequence[tuple[Standing, Change]], now: datetime) -> bool:
    """One transaction, then what it has led to is published; False when somebody else was faster and nothing is written."""
    run = changes[0][0].run
    try:
        async with tools.store.begin() as db:
            for _, change in changes:
                await _apply(db, run, change, now)
            news = [told for standing, change in changes for told in _news(standing, change)]
            await results.tell_run(db, run.id, news, now=now)
    except _Overtaken:
        return False
    tools.telling.about(run.id)
    for _, change in changes:
        match change:
            case StartStage(_, queued):
                await _publish(tools, [Due(action.id, run.id, action.attempt) for action in queued])
            case EndRun(happening, reason):
                metrics.RUNS.labels(outcome=str(happening)).inc()
                log.info("run_ended", run_id=run.id, procedure=run.procedure_name, outcome=happening, reason=reason)
    return True


async def _apply(db: Connection, run: Run, change: Change, now: datetime) -> None:
    match change:
        case StartStage(stage, queued, trace):
            is_ours = await _move(db, stage, Happening.START, now, trace=trace)
            await actions.add(db, queued)
        case LeaveStage(stage, happening, reason):
            is_ours = await _move(db, stage, happening, now, reason=reason)
        case EndRun(happening, reason):
            is_ours = await runs.finish(db, run.id, happening, reason, now=now)
    if not is_ours:
        raise _Overtaken


async def _move(db: Connection, stage: Stage, happening: Happening, now: datetime, **values: Any) -> bool:
    return await runs.move_stage(db, stage.run_id, stage.position, stage.state, happening, now=now, **values)


_RUN_RESULTS = {
    Happening.SUCCEED: ResultType.RUN_SUCCEEDED,
    Happening.FAIL: ResultType.RUN_FAILED,
    Happening.CANCEL: ResultType.RUN_CANCELLED,
}


def _news(standing: Standing, change: Change) -> list[tuple[ResultType, dict[str, Any]]]:
    match change:
        case StartStage(stage, queued):
            started = _about_stage(stage) | {"actions": len(queued)}
            return [
                (ResultType.STAGE_STARTED, started),
                *((ResultType.ACTION_QUEUED, about_action(action)) for action in queued),
            ]
        case LeaveStage(stage, happening, reason):
            about = _about_stage(stage) | {
                "state": STAGE[stage.state, happening],
                "reason": reason,
                "actions": _readable(standing.counts.get(stage.position, {})),
            }
            return [(ResultType.STAGE_FINISHED, about)]
        case EndRun(happening, reason):
            total = _total(standing.counts)
            return [(_RUN_RESULTS[happening], {"reason": reason, "actions": _readable(total)})]


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


def _about_stage(stage: Stage) -> dict[str, Any]:
    return {"stage": stage.position, "name": stage.name}


def _readable(counts: Counts) -> dict[str, int]:
    return {str(state): count for state, count in counts.items() if count}
