"""Procedures and their versions; a version never changes once it is saved."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import and_, insert, select, update
from uuid_utils import uuid7

from shared.procedure.model import Procedure
from shared.store.engine import Connection
from shared.store.tables import procedure_versions, procedures


@dataclass(frozen=True)
class SavedProcedure:
    """A procedure as it stood at one version."""

    id: str
    version: int
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
    """Store the procedure as a new version of the one with its name, or as a new one."""
    known = (
        await db.execute(select(procedures.c.id, procedures.c.version).where(procedures.c.name == procedure.name))
    ).first()
    if known is None:
        saved = SavedProcedure(str(uuid7()), 1, procedure)
        await db.execute(insert(procedures).values(id=saved.id, name=procedure.name, version=1, created_at=now))
    else:
        saved = SavedProcedure(known.id, known.version + 1, procedure)
        await db.execute(update(procedures).where(procedures.c.id == saved.id).values(version=saved.version))
    await db.execute(
        insert(procedure_versions).values(
            procedure_id=saved.id,
            version=saved.version,
            definition=procedure.model_dump(mode="json"),
            saved_at=now,
        )
    )
    return saved
