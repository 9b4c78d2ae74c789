"""Attempts: one try of an action. It calls Komodo's execute at most once, whoever runs it (I2)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, insert, or_, select, update

from shared.store.engine import Connection
from shared.store.tables import actions, attempts


@dataclass(frozen=True)
class Attempt:
    """One try: the worker that has it, when it must be over, and Komodo's update once it is known."""

    action_id: str
    number: int
    worker: str
    started_at: datetime
    deadline_at: datetime
    update_id: str | None = None
    ended_at: datetime | None = None
    outcome: str | None = None
    reason: str | None = None


_ADD = insert(attempts)
_ONE = select(attempts).where(
    attempts.c.action_id == bindparam("b_action_id"), attempts.c.number == bindparam("b_number")
)
_CHANGE = update(attempts).where(
    attempts.c.action_id == bindparam("b_action_id"), attempts.c.number == bindparam("b_number")
)


async def add(db: Connection, attempt: Attempt) -> None:
    """Store a new attempt."""
    await db.execute(_ADD, vars(attempt))


async def get(db: Connection, action_id: str, number: int) -> Attempt:
    """The attempt; it is there as long as its action runs."""
    return _attempt((await db.execute(_ONE, {"b_action_id": action_id, "b_number": number})).one())


async def of_action(db: Connection, action_id: str) -> list[Attempt]:
    """The action's attempts in order."""
    query = select(attempts).where(attempts.c.action_id == action_id).order_by(attempts.c.number)
    return [_attempt(row) for row in await db.execute(query)]


async def of_run(db: Connection, run_id: str) -> dict[str, list[Attempt]]:
    """The attempts of all of the run's actions, each action's in order."""
    query = select(attempts).join(actions, actions.c.id == attempts.c.action_id).where(actions.c.run_id == run_id)
    found: dict[str, list[Attempt]] = {}
    for row in await db.execute(query.order_by(attempts.c.action_id, attempts.c.number)):
        found.setdefault(row.action_id, []).append(_attempt(row))
    return found


async def note_worker(db: Connection, action_id: str, number: int, worker: str) -> None:
    """The attempt goes on at another worker."""
    await _change(db, action_id, number, worker=worker)


async def note_update(db: Connection, action_id: str, number: int, update_id: str) -> None:
    """Remember Komodo's update, so that whoever goes on finds it."""
    await _change(db, action_id, number, update_id=update_id)


async def end(db: Connection, action_id: str, number: int, *, outcome: str, reason: str | None, now: datetime) -> None:
    """The attempt is over."""
    await _change(db, action_id, number, ended_at=now, outcome=outcome, reason=reason)


async def known_updates(db: Connection, resource: str, *, since: datetime) -> set[str]:
    """
    Komodo's updates that attempts on this resource already own, of those that had not ended before `since`; a look-up must not adopt
    one of them again.
    """
    query = (
        select(attempts.c.update_id)
        .join(actions, actions.c.id == attempts.c.action_id)
        .where(
            actions.c.resource == resource,
            attempts.c.update_id.is_not(None),
            or_(attempts.c.ended_at.is_(None), attempts.c.ended_at >= since),
        )
    )
    return set((await db.execute(query)).scalars())


async def _change(db: Connection, action_id: str, number: int, **values: Any) -> None:
    await db.execute(_CHANGE, {**values, "b_action_id": action_id, "b_number": number})


def _attempt(row: Any) -> Attempt:
    return Attempt(**row._asdict())
