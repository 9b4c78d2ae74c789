"""Which schema this version was written for, told without loading what migrates: a worker is a third smaller for it."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import text

from shared.errors import Misconfigured
from shared.store.engine import Connection, Store, parse_url

REVISION = "0002"


def require_there(url: str) -> None:
    """Raises `Misconfigured` when SQLite's file is not there, which opening the store would make."""
    parsed = parse_url(url)
    if parsed.get_backend_name() == "sqlite" and parsed.database and not Path(parsed.database).exists():
        raise Misconfigured("there is no file at KGW_DATABASE_URL yet: run kgw migrate")


async def require_current(store: Store) -> None:
    """Raises `Misconfigured` when the store has another schema, `StoreUnreachable` when it does not answer."""
    async with store.read() as db:
        found = await _revision(db)
    if found != REVISION:
        raise Misconfigured(f"the store has schema {found or 'none'}, this version needs {REVISION}: run kgw migrate")


async def _revision(db: Connection) -> str | None:
    known = text("SELECT count(*) FROM sqlite_master WHERE name = 'alembic_version'")
    if db.dialect.name == "postgresql":
        known = text("SELECT count(*) FROM pg_tables WHERE tablename = 'alembic_version'")
    if not (await db.execute(known)).scalar_one():
        return None
    return (await db.execute(text("SELECT version_num FROM alembic_version"))).scalar_one_or_none()
