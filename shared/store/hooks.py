"""Named hooks, their secrets sealed. Every change is a compare-and-set on the version that was seen."""

from __future__ import annotations

from typing import Any

from sqlalchemy import delete as delete_from
from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from shared.hook import SealedHook
from shared.store.engine import Connection
from shared.store.tables import hooks


async def every(db: Connection) -> tuple[SealedHook, ...]:
    """All hooks, by name."""
    return tuple(_hook(row) for row in await db.execute(select(hooks).order_by(hooks.c.name)))


async def get(db: Connection, name: str) -> SealedHook | None:
    """The hook, or None."""
    row = (await db.execute(select(hooks).where(hooks.c.name == name))).first()
    return None if row is None else _hook(row)


async def add(db: Connection, hook: SealedHook) -> bool:
    """Store a new hook; False when there is one with its name."""
    upsert = sqlite_insert if db.dialect.name == "sqlite" else postgres_insert
    return (await db.execute(upsert(hooks).values(**_values(hook)).on_conflict_do_nothing())).rowcount == 1


async def change(db: Connection, seen: SealedHook, hook: SealedHook) -> bool:
    """Store the hook in place of the one that was seen; False when that is not there any more, or was changed meanwhile."""
    query = update(hooks).where(hooks.c.name == seen.name, hooks.c.changed_at == seen.changed_at)
    return (await db.execute(query.values(**_values(hook)))).rowcount == 1


async def delete(db: Connection, name: str) -> bool:
    """Delete the hook; False when there is none. What came through it stays."""
    return (await db.execute(delete_from(hooks).where(hooks.c.name == name))).rowcount == 1


def _values(hook: SealedHook) -> dict[str, Any]:
    return {**dict(hook), "secrets": [secret.model_dump(mode="json") for secret in hook.secrets]}


def _hook(row: Any) -> SealedHook:
    return SealedHook.model_validate(row._asdict())
