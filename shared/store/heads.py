"""
Which commits the stored pushes have brought to which branches.

Read out of the events themselves: what was recorded is what is known. An event that nothing may start for says nothing of its branch, unless it is
a catch-up's own note of a branch that it saw for the first time.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import JSON, ColumnElement, Row, Select, Text, cast, func, or_, select, type_coerce

from shared.event import Kind, Repository
from shared.matching.repository import keys_of
from shared.store.engine import Connection, Store
from shared.store.paging import newest_of
from shared.store.tables import deliveries, events

# Few enough for one read not to be felt by whoever else uses the store.
PAGE = 500


class Branch(NamedTuple):
    """A branch of the repository with that key."""

    repository: str
    name: str


@dataclass(frozen=True)
class Seen:
    """What is known of a branch: the commit of its last push, and whether any push has brought the one that was asked about."""

    last: str | None = None
    has_brought: bool = False


async def look(store: Store, heads: Mapping[Branch, str]) -> dict[Branch, Seen]:
    """
    What is known of these branches and of the commit of each.

    Pages are read from the newest on, until all commits are found; for one that nobody has brought that is down to the first event of all.
    """
    seen = {branch: Seen() for branch in heads}
    before: tuple[datetime, str] | None = None
    while open_ := [branch for branch in heads if not seen[branch].has_brought]:
        async with store.read() as db:
            query = newest_of(deliveries, deliveries.c.received_at, limit=PAGE, before=before)
            page = (await db.execute(query)).all()
            if not page:
                break
            pushes = await _pushes(db, [row.id for row in page], {branch.name for branch in open_})
        before = page[-1].received_at, page[-1].id
        for branch, commit in pushes:
            if branch in heads:
                known = seen[branch]
                seen[branch] = Seen(known.last or commit, known.has_brought or commit == heads[branch])
    return seen


async def event_that_brought(db: Connection, branch: Branch, commit: str, *, since: datetime, but: str) -> str | None:
    """The id of a push received since then that has brought the commit to the branch, other than the event `but`."""
    body = _body(db)
    query = _select(db).where(
        events.c.id != but,
        deliveries.c.received_at >= since,
        body["branch"].as_string() == branch.name,
        body["after"].as_string() == commit,
    )
    rows = (await db.execute(query)).all()
    return next((str(row.id) for row in rows if branch.repository in _keys(row)), None)


async def find_any(db: Connection, event_ids: Collection[str]) -> str | None:
    """The first of these events that is recorded."""
    found: str | None = (await db.execute(select(events.c.id).where(events.c.id.in_(event_ids)).limit(1))).scalar()
    return found


async def _pushes(db: Connection, delivery_ids: Collection[str], names: Collection[str]) -> list[tuple[Branch, str]]:
    """The branches and commits of the pushes in these deliveries, the newest first."""
    query = _select(db).where(deliveries.c.id.in_(delivery_ids), _body(db)["branch"].as_string().in_(names))
    return [pair for row in await db.execute(query) for pair in _branches(row)]


def _select(db: Connection) -> Select[Any]:
    body = _body(db)
    is_heeded = or_(body["ignored"].as_string().is_(None), body["source"].as_string() == "catch-up")
    return (
        select(
            events.c.id,
            body["repository"].as_json().label("repository"),
            body["branch"].as_string().label("branch"),
            body["after"].as_string().label("after"),
        )
        .join(deliveries, deliveries.c.id == events.c.delivery_id)
        .where(body["kind"].as_string() == Kind.PUSH.value, body["after"].as_string().is_not(None), is_heeded)
        .order_by(deliveries.c.received_at.desc(), deliveries.c.id.desc())
    )


def _branches(row: Row[Any]) -> Iterator[tuple[Branch, str]]:
    return ((Branch(key, row.branch), row.after) for key in _keys(row))


def _keys(row: Row[Any]) -> frozenset[str]:
    return frozenset() if row.repository is None else keys_of(Repository.model_validate(row.repository))


def _body(db: Connection) -> Any:
    return _BODIES[db.dialect.name]


# Stored as text on both; SQLite looks into text, PostgreSQL wants to be told that it is JSON, and can not read a NUL in it: a payload may have one.
# What takes its place is as long, so that an escaped backslash before it stays one.
_BODIES: dict[str, ColumnElement[Any]] = {
    "sqlite": type_coerce(events.c.body, JSON),
    "postgresql": cast(func.replace(type_coerce(events.c.body, Text), r"\u0000", r"\ufffd"), JSON),
}
