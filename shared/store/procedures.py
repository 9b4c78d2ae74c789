"""Procedures and their versions; a version never changes once it is saved."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import and_, insert, select
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from uuid_utils import uuid7

from shared.procedure.model import Procedure
from shared.store.engine import Connection
from shared.store.tables import procedure_versions, procedures


@dataclass(frozen=True)
class SavedProcedure:
    """A procedure as it stood at one version; without id and version, one that is not stored but stands for a URL of Komodo's."""

    id: str | None
    version: int | None
    definition: Procedure


async def current(db: Connection) -> list[SavedProcedure]:
    """Every procedure at its newest version, by name."""
    joined = procedures.join(
        procedure_versions,
        and_(
            procedure_versions.c.procedure_id == procedures.c.id, procedure_versions.c.version == procedures.c.version
        ),
    )
    query = select(procedures.c.id, procedures.c.version, procedure_versions.c.definition)
    rows = await db.execute(query.select_from(joined).order_by(procedures.c.name))
    return [SavedProcedure(row.id, row.version, Procedure.model_validate(row.definition)) for row in rows]


async def save(db: Connection, procedure: Procedure, *, now: datetime) -> SavedProcedure:
    """Store the procedure as a new version of the one with its name, or as a new one; two at once become two versions."""
    upsert = sqlite_insert if db.dialect.name == "sqlite" else postgres_insert
    numbered = await db.execute(
        upsert(procedures)
        .values(id=str(uuid7()), name=procedure.name, version=1, created_at=now)
        .on_conflict_do_update(index_elements=["name"], set_={"version": procedures.c.version + 1})
        .returning(procedures.c.id, procedures.c.version)
    )
    row = numbered.one()
    await db.execute(
        insert(procedure_versions).values(
            procedure_id=row.id,
            version=row.version,
            definition=procedure.model_dump(mode="json"),
            saved_at=now,
        )
    )
    return SavedProcedure(row.id, row.version, procedure)
