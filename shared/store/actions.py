"""
Actions: one execution on one resource inside a run. State changes are compare-and-set by `shared.states.ACTION`.

`effect` names what an action does to its resource; of two actions with the same resource and effect the one received later wins (I5).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import and_, bindparam, exists, func, insert, or_, select, update

from shared.states import ACTION, OPEN_ACTION, ActionState, Happening, sources
from shared.store.engine import Connection
from shared.store.tables import Instant, actions, leases


@dataclass(frozen=True)
class Action:
    """
    One execution on one resource. `attempt` is the one that is under way or comes next; `failures` counts those that count against
    the retry policy, `delays` those that waited for a busy resource. `policy` is the execution's retry and timeout, as JSON.
    """

    id: str
    run_id: str
    stage: int
    execution: int
    type: str
    params: dict[str, Any]
    policy: dict[str, Any]
    resource: str
    resource_name: str
    effect: str
    received_at: datetime
    queued_at: datetime
    due_at: datetime
    state: ActionState = ActionState.QUEUED
    attempt: int = 1
    failures: int = 0
    delays: int = 0
    reason: str | None = None
    outcome: Any = None
    started_at: datetime | None = None
    ended_at: datetime | None = None


@dataclass(frozen=True)
class Due:
    """What a message about an action needs to say."""

    action_id: str
    run_id: str
    attempt: int


# The statements of the hot path are built once: building one costs more than running it.
_ADD = insert(actions)
_ONE = select(actions).where(actions.c.id == bindparam("b_id"))
_ONE_LOCKED = _ONE.with_for_update()
_MOVE = update(actions).where(
    actions.c.id == bindparam("b_id"),
    actions.c.state == bindparam("b_state"),
    actions.c.attempt == bindparam("b_attempt"),
)
_newer = actions.alias("newer")
_IS_SUPERSEDED = (
    exists()
    .where(
        _newer.c.resource == actions.c.resource,
        _newer.c.effect == actions.c.effect,
        _newer.c.run_id != actions.c.run_id,
        or_(
            _newer.c.received_at > actions.c.received_at,
            and_(_newer.c.received_at == actions.c.received_at, _newer.c.id > actions.c.id),
        ),
        _newer.c.state.not_in([ActionState.CANCELLED, ActionState.SKIPPED]),
    )
    .correlate(actions)
)
_SUPERSEDED = select(_IS_SUPERSEDED).where(actions.c.id == bindparam("b_id"))
_START_IF_FREE = (
    update(actions)
    .where(
        actions.c.id == bindparam("b_id"),
        actions.c.attempt == bindparam("b_attempt"),
        actions.c.state.in_(sources(ACTION, Happening.START)),
        ~_IS_SUPERSEDED,
        ~exists().where(leases.c.resource == actions.c.resource).correlate(actions),
    )
    .values(
        state=ActionState.RUNNING, started_at=func.coalesce(actions.c.started_at, bindparam("b_now", type_=Instant))
    )
    .returning(actions)
)
_WAITING = (
    select(actions)
    .where(actions.c.resource == bindparam("b_resource"), actions.c.state == ActionState.WAITING)
    .order_by(actions.c.received_at, actions.c.id)
    .with_for_update(skip_locked=True)
)
_OPEN_IN_STAGE = (
    select(actions.c.id)
    .where(
        actions.c.run_id == bindparam("b_run_id"),
        actions.c.stage == bindparam("b_stage"),
        actions.c.state.in_(OPEN_ACTION),
    )
    .limit(1)
)

_STATES = (
    select(actions.c.stage, actions.c.state, func.count().label("many"))
    .where(actions.c.run_id == bindparam("b_run_id"))
    .group_by(actions.c.stage, actions.c.state)
)


async def add(db: Connection, new: Sequence[Action]) -> None:
    """Store new actions."""
    if new:
        await db.execute(_ADD, [vars(action) for action in new])


async def get(db: Connection, action_id: str, *, lock: bool = False) -> Action | None:
    """The action, or None. With `lock` nobody else changes it until the transaction ends."""
    row = (await db.execute(_ONE_LOCKED if lock else _ONE, {"b_id": action_id})).first()
    return None if row is None else _action(row)


async def of_run(db: Connection, run_id: str) -> list[Action]:
    """The run's actions, stage by stage."""
    query = select(actions).where(actions.c.run_id == run_id)
    return [
        _action(row) for row in await db.execute(query.order_by(actions.c.stage, actions.c.execution, actions.c.id))
    ]


async def move(db: Connection, action: Action, happening: Happening, **values: Any) -> bool:
    """
    Move the action out of the state and attempt in which it was seen; False when somebody else was faster.

    Raises `KeyError` when the table does not allow it.
    """
    values["state"] = ACTION[action.state, happening]
    seen = {"b_id": action.id, "b_state": action.state, "b_attempt": action.attempt}
    return (await db.execute(_MOVE, {**values, **seen})).rowcount == 1


async def start_if_free(db: Connection, action_id: str, attempt: int, *, now: datetime) -> Action | None:
    """
    Start the attempt of a queued action that nothing supersedes and whose resource nobody has; the action as it is then, or None.

    The lease is still to be taken: somebody else may be faster.
    """
    row = (await db.execute(_START_IF_FREE, {"b_id": action_id, "b_attempt": attempt, "b_now": now})).first()
    return None if row is None else _action(row)


async def note(db: Connection, action_id: str, outcome: Any) -> None:
    """Keep what is known of the outcome so far, for whoever goes on with the action."""
    await db.execute(update(actions).where(actions.c.id == action_id).values(outcome=outcome))


async def is_superseded(db: Connection, action: Action) -> bool:
    """Whether a run received later has queued the same effect on the same resource (I5)."""
    return bool((await db.execute(_SUPERSEDED, {"b_id": action.id})).scalar_one())


async def waiting_for(db: Connection, resource: str) -> list[Action]:
    """Who waits for the resource's lease, first come first; not who is just being looked at by another worker."""
    return [_action(row) for row in await db.execute(_WAITING, {"b_resource": resource})]


async def is_stage_open(db: Connection, run_id: str, stage: int) -> bool:
    """Whether an action of the stage is still to end."""
    return (await db.execute(_OPEN_IN_STAGE, {"b_run_id": run_id, "b_stage": stage})).first() is not None


async def count_states(db: Connection, run_id: str) -> dict[int, dict[ActionState, int]]:
    """How many of the run's actions are in which state, by stage."""
    counts: dict[int, dict[ActionState, int]] = {}
    for row in await db.execute(_STATES, {"b_run_id": run_id}):
        counts.setdefault(row.stage, {})[ActionState(row.state)] = row.many
    return counts


async def queued_of_run(db: Connection, run_id: str) -> list[Due]:
    """The run's queued actions: what a crash may have kept from being published."""
    query = select(actions.c.id, actions.c.run_id, actions.c.attempt)
    rows = await db.execute(query.where(actions.c.run_id == run_id, actions.c.state == ActionState.QUEUED))
    return [Due(row.id, row.run_id, row.attempt) for row in rows]


async def lost(db: Connection, *, before: datetime, limit: int) -> list[Due]:
    """
    Open actions that nobody is going to move: queued and due before then, or running or waiting on a lease that has run out.

    Publishing one too many is harmless: the store decides what a message may do.
    """
    query = select(actions.c.id, actions.c.run_id, actions.c.attempt).outerjoin(
        leases, leases.c.resource == actions.c.resource
    )
    no_lease = or_(leases.c.resource.is_(None), leases.c.expires_at < before)
    rows = await db.execute(
        query.where(
            actions.c.state.in_(OPEN_ACTION),
            actions.c.due_at < before,
            or_(
                actions.c.state == ActionState.QUEUED,
                (actions.c.state == ActionState.RUNNING)
                & no_lease
                & (leases.c.action_id == actions.c.id).is_not(False),
                (actions.c.state == ActionState.WAITING) & leases.c.resource.is_(None),
            ),
        )
        .order_by(actions.c.due_at)
        .limit(limit)
    )
    return [Due(row.id, row.run_id, row.attempt) for row in rows]


async def postpone_rescue(db: Connection, ids: Sequence[str], *, until: datetime) -> None:
    """Tell the reconciler not to look at these again before then; what they do meanwhile is their own."""
    if ids:
        query = update(actions).where(actions.c.id.in_(ids), actions.c.state.in_(OPEN_ACTION))
        await db.execute(query.values(due_at=until))


def _action(row: Any) -> Action:
    return Action(**{**row._asdict(), "state": ActionState(row.state)})
