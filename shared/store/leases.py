"""
Leases: one action at a time per resource (I3).

A lease ties a resource to an action; its holder is the worker that runs it, until it expires. An expired lease still ties: only the same action
can be taken over, because what its worker had begun at Komodo may be going on. Nothing here waits or renews on its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import bindparam, delete, or_, select, update
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from shared.store.engine import Connection
from shared.store.tables import leases

NOBODY = ""

_TAKE = {
    "sqlite": sqlite_insert(leases).on_conflict_do_nothing(),
    "postgresql": postgres_insert(leases).on_conflict_do_nothing(),
}
_LOCK = select(leases.c.action_id).where(leases.c.resource == bindparam("b_resource")).with_for_update()
_RELEASE = delete(leases).where(
    leases.c.resource == bindparam("b_resource"),
    leases.c.action_id == bindparam("b_action_id"),
    leases.c.holder == bindparam("b_holder"),
)


@dataclass(frozen=True)
class Lease:
    """Who works on a resource, for which action, until when."""

    resource: str
    action_id: str
    holder: str
    expires_at: datetime


async def take(db: Connection, wanted: Lease) -> bool:
    """
    Take the resource, or return False while another action has it.

    When it returns False the lease's row is locked until the transaction ends: whoever gives the lease back sees what this
    transaction writes, so an action that goes to wait is never overlooked.
    """
    while True:
        if (await db.execute(_TAKE[db.dialect.name], vars(wanted))).rowcount == 1:
            return True
        if (await db.execute(_LOCK, {"b_resource": wanted.resource})).first() is not None:
            return False


async def take_over(db: Connection, wanted: Lease, *, now: datetime) -> Lease | None:
    """
    Go on with an action that another worker has left: None when the lease is now `wanted`, else the lease in the way.

    A running action without a lease gets a new one.
    """
    is_free = or_(leases.c.holder.in_([wanted.holder, NOBODY]), leases.c.expires_at <= now)
    query = update(leases).where(leases.c.resource == wanted.resource, leases.c.action_id == wanted.action_id, is_free)
    moved = await db.execute(query.values(holder=wanted.holder, expires_at=wanted.expires_at))
    if moved.rowcount == 1 or await take(db, wanted):
        return None
    return await find(db, wanted.resource)


async def find(db: Connection, resource: str) -> Lease | None:
    """The resource's lease."""
    row = (await db.execute(select(leases).where(leases.c.resource == resource))).first()
    return None if row is None else Lease(row.resource, row.action_id, row.holder, row.expires_at)


async def renew(db: Connection, holder: str, *, until: datetime) -> set[str]:
    """Move the end of all that `holder` has; the ids of the actions that it still has."""
    query = update(leases).where(leases.c.holder == holder).values(expires_at=until)
    return set((await db.execute(query.returning(leases.c.action_id))).scalars())


async def hand_over(db: Connection, resource: str, action_id: str, holder: str) -> bool:
    """Leave the action to whoever comes next, without waiting for the lease to expire."""
    query = update(leases).where(
        leases.c.resource == resource, leases.c.action_id == action_id, leases.c.holder == holder
    )
    return (await db.execute(query.values(holder=NOBODY))).rowcount == 1


async def hand_over_all(db: Connection, holder: str) -> None:
    """A worker that stops leaves what it has to whoever comes next."""
    await db.execute(update(leases).where(leases.c.holder == holder).values(holder=NOBODY))


async def release(db: Connection, resource: str, action_id: str, holder: str) -> bool:
    """Give the resource back; False when it was not `holder`'s any more."""
    mine = {"b_resource": resource, "b_action_id": action_id, "b_holder": holder}
    return (await db.execute(_RELEASE, mine)).rowcount == 1
