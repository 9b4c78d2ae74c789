"""Bring the store to the newest schema."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection as SyncConnection
from sqlalchemy import func, select

from shared import clock
from shared.procedure import builtin
from shared.store import procedures
from shared.store.engine import open_store, parse_url

MIGRATION_SECONDS = 120.0

_SCRIPTS = Path(__file__).parent / "migrations"
# The advisory lock under which PostgreSQL lets one process migrate at a time: "kgw" in ASCII.
_TURN = 0x6B6777


async def migrate(url: str) -> None:
    """
    Apply every migration that is missing, then make sure that the built-in procedure exists.

    Safe to repeat, and safe while other processes do the same: they take turns. Raises `StoreUnreachable` when the database is away.
    """
    parsed = parse_url(url)
    if parsed.get_backend_name() == "sqlite" and parsed.database:
        Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
    async with open_store(url, busy_timeout=MIGRATION_SECONDS, is_migrating=True) as store, store.begin() as db:
        if db.dialect.name == "postgresql":
            await db.execute(select(func.pg_advisory_xact_lock(_TURN)))
        await db.run_sync(_upgrade)
        known = {saved.definition.name for saved in await procedures.current(db)}
        if builtin.GLOBAL.name not in known:
            await procedures.save(db, builtin.GLOBAL, now=clock.now())


def _upgrade(connection: SyncConnection) -> None:
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS))
    return config
