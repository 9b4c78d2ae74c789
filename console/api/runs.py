"""`/api/v1/runs`: a run with its stages, actions and attempts."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Header, HTTPException, Query
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from console.context import Context
from console.streams import of_run, stream
from shared.store import actions, attempts, runs
from shared.store.actions import Action
from shared.store.attempts import Attempt
from shared.store.engine import Connection
from shared.store.runs import Run, Stage

PAGE = 50


class RunSummary(BaseModel):
    """A run in a list."""

    id: str
    delivery_id: str
    procedure: str
    procedure_version: int | None
    state: str
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
    state: str
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
    state: str
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
    async def list_runs(
        limit: Annotated[int, Query(ge=1, le=200)] = PAGE, before: datetime | None = None
    ) -> list[RunSummary]:
        """Newest first; `before` is the `created_at` of the last one of the page before."""
        async with context.store.read() as db:
            return [RunSummary.from_run(run) for run in await runs.newest(db, limit=limit, before=before)]

    @router.get("/{run_id}")
    async def show_run(run_id: str, *, trace: bool = False) -> RunDetail:
        """A run with its stages, actions and attempts."""
        async with context.store.read() as db:
            run = await runs.get(db, run_id)
            if run is None:
                raise HTTPException(404, "no such run")
            stages = await runs.stages_of(db, run_id, with_trace=trace)
            details = [await _action(db, action) for action in await actions.of_run(db, run_id)]
        by_stage: dict[int, list[ActionDetail]] = {}
        for position, detail in details:
            by_stage.setdefault(position, []).append(detail)
        return RunDetail(
            **RunSummary.from_run(run).model_dump(),
            stages=[_stage(stage, by_stage.get(stage.position, [])) for stage in stages],
        )

    @router.get("/{run_id}/events", response_class=StreamingResponse)
    async def follow_run(run_id: str, last_event_id: Annotated[str, Header()] = "") -> StreamingResponse:
        """Server-sent events until the run has ended."""
        async with context.store.read() as db:
            if await runs.get(db, run_id) is None:
                raise HTTPException(404, "no such run")
        events = stream(
            context.store, context.following, run_id, of_run(run_id), last_event_id=last_event_id, stop=context.stop
        )
        return StreamingResponse(events, media_type="text/event-stream", headers={"Cache-Control": "no-store"})

    return router


async def _action(db: Connection, action: Action) -> tuple[int, ActionDetail]:
    tries = await attempts.of_action(db, action.id)
    detail = ActionDetail(
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
    return action.stage, detail


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
