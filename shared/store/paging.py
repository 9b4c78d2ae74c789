"""Pages of a table, newest first: each begins after the last row of the one before, so that what comes meanwhile moves nothing."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Column, Select, Table, select, tuple_


def newest_of(
    table: Table, instant: Column[Any], *, limit: int, before: tuple[datetime, str] | None
) -> Select[tuple[Any, ...]]:
    """The rows before the one with that instant and id, or the newest of all."""
    query = select(table).order_by(instant.desc(), table.c.id.desc()).limit(limit)
    if before is None:
        return query
    return query.where(tuple_(instant, table.c.id) < before)
