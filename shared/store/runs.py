"""Runs and their stages. State changes are compare-and-set by the tables in `shared.states`."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, insert, select, update

from shared.procedure.model import Procedure
from shared.states import RUN, STAGE, Happening, RunState, StageState, sources
from shared.store.engine import Connection
from shared.store.paging import newest_of
from shared.store.tables import actions, runs, stages


@dataclass(frozen=True)
class Run:
    """One start of one procedure for one event."""

    id: str
    delivery_id: str
    event_id: str
    receipt_id: str
    procedure_name: str
    definition: Procedure
    state: RunState
    received_at: datetime
    created_at: datetime
    procedure_id: str | None = None
    procedure_version: int | None = None
    reason: str | None = None
    ended_at: datetime | None = None


@dataclass(frozen=True)
class Standing:
    """Which procedure stands how for which event: what a list of deliveries needs of a run."""

    event_id: str
    procedure_name: str
    state: RunState


@dataclass(frozen=True)
class Stage:
    """One stage of a run."""

    run_id: str
    position: int
    name: str
    state: StageState
    reason: str | None = None
    trace: Any = None
    started_at: datetime | None = None
    ended_at: datetime | None = None


_ADD = insert(runs)
_ADD_STAGES = insert(stages)
_ONE = select(runs).where(runs.c.id == bindparam("b_id"))
_STAGES = (
    select(*(column for column in stages.c if column is not stages.c.trace))
    .where(stages.c.run_id == bindparam("b_run_id"))
    .order_by(stages.c.position)
)
_TRACED_STAGES = _STAGES.add_columns(stages.c.trace)
_MOVE_STAGE = update(stages).where(
    stages.c.run_id == bindparam("b_run_id"),
    stages.c.position == bindparam("b_position"),
    stages.c.state == bindparam("b_state"),
)
_NEXT_SEQUENCE = (
    update(runs)
    .where(runs.c.id == bindparam("b_id"))
    .values(sequence=runs.c.sequence + bindparam("b_count"))
    .returning(runs.c.sequence, runs.c.delivery_id, runs.c.procedure_name)
)


async def add(db: Connection, run: Run, *, told: int = 0) -> None:
    """Store a new run with all its stages pending, and with so many results in its stream."""
    row = {
        "id": run.id,
        "delivery_id": run.delivery_id,
        "event_id": run.event_id,
        "receipt_id": run.receipt_id,
        "procedure_name": run.procedure_name,
        "procedure_id": run.procedure_id,
        "procedure_version": run.procedure_version,
        "definition": run.definition.model_dump(mode="json", exclude_defaults=True),
        "state": run.state,
        "sequence": told,
        "received_at": run.received_at,
        "created_at": run.created_at,
    }
    await db.execute(_ADD, row)
    rows = [
        {"run_id": run.id, "position": stage.position, "name": stage.name, "state": stage.state}
        for stage in pending_stages(run)
    ]
    if rows:
        await db.execute(_ADD_STAGES, rows)


def pending_stages(run: Run) -> list[Stage]:
    """The stages of a new run."""
    return [
        Stage(run.id, position, stage.name, StageState.PENDING) for position, stage in enumerate(run.definition.stages)
    ]


async def get(db: Connection, run_id: str) -> Run | None:
    """The run, or None."""
    row = (await db.execute(_ONE, {"b_id": run_id})).first()
    return None if row is None else _run(row)


async def of_event(db: Connection, event_id: str) -> list[Run]:
    """The event's runs, oldest first."""
    rows = await db.execute(select(runs).where(runs.c.event_id == event_id).order_by(runs.c.created_at, runs.c.id))
    return [_run(row) for row in rows]


async def of_delivery(db: Connection, delivery_id: str) -> list[Run]:
    """The delivery's runs, oldest first."""
    rows = await db.execute(
        select(runs).where(runs.c.delivery_id == delivery_id).order_by(runs.c.created_at, runs.c.id)
    )
    return [_run(row) for row in rows]


async def standings_of(db: Connection, delivery_ids: Collection[str]) -> dict[str, list[Standing]]:
    """How the runs of many deliveries stand, each delivery's oldest first."""
    query = select(runs.c.delivery_id, runs.c.event_id, runs.c.procedure_name, runs.c.state)
    found: dict[str, list[Standing]] = {}
    for row in await db.execute(
        query.where(runs.c.delivery_id.in_(delivery_ids)).order_by(runs.c.created_at, runs.c.id)
    ):
        standing = Standing(row.event_id, row.procedure_name, RunState(row.state))
        found.setdefault(row.delivery_id, []).append(standing)
    return found


async def newest(db: Connection, *, limit: int, before: tuple[datetime, str] | None = None) -> list[Run]:
    """Runs, newest first, created before the one whose instant and id that are."""
    return [_run(row) for row in await db.execute(newest_of(runs, runs.c.created_at, limit=limit, before=before))]


async def open_of_receipt(db: Connection, receipt_id: str, event_id: str) -> list[str]:
    """The ids of the runs that this receipt of the event started and that still run."""
    query = select(runs.c.id).where(
        runs.c.event_id == event_id, runs.c.receipt_id == receipt_id, runs.c.state == RunState.RUNNING
    )
    return list((await db.execute(query.order_by(runs.c.id))).scalars())


async def finish(db: Connection, run_id: str, happening: Happening, reason: str | None, *, now: datetime) -> bool:
    """End the run; False when it had ended before."""
    state = RUN[RunState.RUNNING, happening]
    query = update(runs).where(runs.c.id == run_id, runs.c.state.in_(sources(RUN, happening)))
    return (await db.execute(query.values(state=state, reason=reason, ended_at=now))).rowcount == 1


async def next_sequence(db: Connection, run_id: str, count: int) -> tuple[int, str, str]:
    """
    Reserve `count` numbers in the run's stream of results: the last of them, the delivery's id, the procedure's name.

    The row stays locked until commit, so numbers appear in the order in which they become visible.
    """
    row = (await db.execute(_NEXT_SEQUENCE, {"b_id": run_id, "b_count": count})).one()
    return row.sequence, row.delivery_id, row.procedure_name


async def stages_of(db: Connection, run_id: str, *, with_trace: bool = False) -> list[Stage]:
    """The run's stages in order; their traces, which can be long, only when asked for."""
    rows = await db.execute(_TRACED_STAGES if with_trace else _STAGES, {"b_run_id": run_id})
    return [Stage(**{**row._asdict(), "state": StageState(row.state)}) for row in rows]


async def move_stage(
    db: Connection,
    run_id: str,
    position: int,
    source: StageState,
    happening: Happening,
    *,
    now: datetime,
    reason: str | None = None,
    trace: Any = None,
) -> bool:
    """Move the stage out of `source`; False when it is not there any more. `KeyError` when the table does not allow it."""
    state = STAGE[source, happening]
    values: dict[str, Any] = {"state": state, "reason": reason}
    values["started_at" if state is StageState.RUNNING else "ended_at"] = now
    if trace is not None:
        values["trace"] = trace
    seen = {"b_run_id": run_id, "b_position": position, "b_state": source}
    return (await db.execute(_MOVE_STAGE, {**values, **seen})).rowcount == 1


async def stalled(db: Connection, *, before: datetime, limit: int) -> list[str]:
    """Open runs, created before then, of which no action is open: nobody is going to move them unless the reconciler does."""
    open_actions = select(actions.c.run_id).where(
        actions.c.run_id == runs.c.id, actions.c.state.in_(["queued", "waiting", "running"])
    )
    query = select(runs.c.id).where(runs.c.state == RunState.RUNNING, runs.c.created_at < before)
    return list(
        (await db.execute(query.where(~open_actions.exists()).order_by(runs.c.created_at).limit(limit))).scalars()
    )


def _run(row: Any) -> Run:
    return Run(
        id=row.id,
        delivery_id=row.delivery_id,
        event_id=row.event_id,
        receipt_id=row.receipt_id,
        procedure_name=row.procedure_name,
        definition=Procedure.model_validate(row.definition),
        state=RunState(row.state),
        received_at=row.received_at,
        created_at=row.created_at,
        procedure_id=row.procedure_id,
        procedure_version=row.procedure_version,
        reason=row.reason,
        ended_at=row.ended_at,
    )
