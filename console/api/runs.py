"""`/api/v1/runs`: a run with its stages, actions and attempts."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query
from pydantic import BaseModel

from console.api.cursors import from_cursor, to_cursor
from console.api.events import EventStream, LastEventId, event_stream
from console.api.ids import Id
from console.context import Context
from console.streams import of_run
from shared.states import ActionState, RunState, StageState
from shared.store import actions, attempts, runs
from shared.store.actions import Action
from shared.store.attempts import Attempt
from shared.store.runs import Run, Stage

PAGE = 50


class RunSummary(BaseModel):
    """A run in a list."""

    id: str
    delivery_id: str
    procedure: str
    procedure_version: int | None
    state: RunState
    reason: str | None
    received_at: datetime
    created_at: datetime
    ended_at: datetime | None

    @classmethod
    def from_run(cls, run: Run) -> RunSummary:
        """From the store's."""
        return cls(
            id=run.id,
            delivery_id=run.delivery_id,
            procedure=run.procedure_name,
            procedure_version=run.procedure_version,
            state=run.state,
            reason=run.reason,
            received_at=run.received_at,
            created_at=run.created_at,
            ended_at=run.ended_at,
        )


class RunPage(BaseModel):
    """A part of the list; `next` is the `before` of the part that follows, and null at the end."""

    items: list[RunSummary]
    next: str | None


class AttemptDetail(BaseModel):
    """One try of an action; `update_id` is Komodo's."""

    number: int
    started_at: datetime
    ended_at: datetime | None
    outcome: str | None
    reason: str | None
    update_id: str | None


class ActionDetail(BaseModel):
    """One execution on one resource."""

    id: str
    type: str
    resource: str
    state: ActionState
    attempt: int
    failures: int
    reason: str | None
    outcome: dict[str, Any] | None
    queued_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    attempts: list[AttemptDetail]


class StageDetail(BaseModel):
    """One stage with its actions; `trace` says why each stack was or was not picked, when asked for."""

    position: int
    name: str
    state: StageState
    reason: str | None
    started_at: datetime | None
    ended_at: datetime | None
    actions: list[ActionDetail]
    trace: dict[str, Any] | None


class RunDetail(RunSummary):
    """A run with everything in it."""

    stages: list[StageDetail]


def routes(context: Context) -> APIRouter:
    """The routes of runs."""
    router = APIRouter(prefix="/runs", tags=["runs"])

    @router.get("")
    async def list_runs(limit: Annotated[int, Query(ge=1, le=200)] = PAGE, before: str | None = None) -> RunPage:
        """Newest first; `before` is the `next` of the page before."""
        async with context.store.read() as db:
            found = await runs.newest(db, limit=limit, before=from_cursor(before))
        return RunPage(
            items=[RunSummary.from_run(run) for run in found],
            next=to_cursor(found[-1].created_at, found[-1].id) if len(found) == limit else None,
        )

    @router.get("/{run_id}")
    async def show_run(run_id: Id, *, trace: bool = False) -> RunDetail:
        """A run with its stages, actions and attempts."""
        async with context.store.read() as db:
            run = await runs.get(db, run_id)
            if run is None:
                raise HTTPException(404, "no such run")
            stages = await runs.stages_of(db, run_id, with_trace=trace)
            found = await actions.of_run(db, run_id)
            tries = await attempts.of_run(db, run_id)
        by_stage: dict[int, list[ActionDetail]] = {}
        for action in found:
            by_stage.setdefault(action.stage, []).append(_action(action, tries.get(action.id, [])))
        return RunDetail(
            **RunSummary.from_run(run).model_dump(),
            stages=[_stage(stage, by_stage.get(stage.position, [])) for stage in stages],
        )

    @router.get("/{run_id}/events", response_class=EventStream)
    async def follow_run(run_id: Id, last_event_id: LastEventId = "") -> EventStream:
        """Server-sent events until the run has ended."""
        async with context.store.read() as db:
            if await runs.get(db, run_id) is None:
                raise HTTPException(404, "no such run")
        return event_stream(context, run_id, of_run(run_id), last_event_id)

    return router


def _action(action: Action, tries: list[Attempt]) -> ActionDetail:
    return ActionDetail(
        id=action.id,
        type=action.type,
        resource=action.resource_name,
        state=action.state,
        attempt=action.attempt,
        failures=action.failures,
        reason=action.reason,
        outcome=action.outcome,
        queued_at=action.queued_at,
        started_at=action.started_at,
        ended_at=action.ended_at,
        attempts=[_attempt(attempt) for attempt in tries],
    )


def _attempt(attempt: Attempt) -> AttemptDetail:
    return AttemptDetail(
        number=attempt.number,
        started_at=attempt.started_at,
        ended_at=attempt.ended_at,
        outcome=attempt.outcome,
        reason=attempt.reason,
        update_id=attempt.update_id,
    )


def _stage(stage: Stage, found: list[ActionDetail]) -> StageDetail:
    return StageDetail(
        position=stage.position,
        name=stage.name,
        state=stage.state,
        reason=stage.reason,
        started_at=stage.started_at,
        ended_at=stage.ended_at,
        actions=found,
        trace=stage.trace,
    )
