"""
Results, written in the transaction of the change that they tell of, published after it.

A row stays unpublished until the broker has confirmed it, so a crash in between publishes it again: the subscriber sees a result at
least once and, first sight by first sight, in order.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import func, insert, select, update
from uuid_utils import uuid7

from shared.results import Result, ResultType
from shared.store import deliveries, runs
from shared.store.engine import Connection
from shared.store.tables import results

_ADD = insert(results)

News = Sequence[tuple[ResultType, dict[str, Any]]]


async def tell_run(db: Connection, run_id: str, news: News, *, now: datetime) -> None:
    """Append results to the run's stream."""
    if not news:
        return
    last, delivery_id, procedure = await runs.next_sequence(db, run_id, len(news))
    told = [(kind, {"procedure": procedure, **data}) for kind, data in news]
    await _append(db, run_id, last, told, delivery_id=delivery_id, run_id=run_id, now=now)


async def tell_delivery(db: Connection, delivery_id: str, news: News, *, now: datetime) -> None:
    """Append results to the delivery's stream."""
    last = await deliveries.next_sequence(db, delivery_id, len(news))
    await _append(db, delivery_id, last, news, delivery_id=delivery_id, run_id=None, now=now)


async def unpublished(db: Connection, streams: Collection[str], *, limit: int = 500) -> list[Result]:
    """What the broker has not confirmed of these streams, in order."""
    query = select(results).where(results.c.published.is_(False), results.c.stream.in_(streams))
    rows = await db.execute(query.order_by(results.c.stream, results.c.sequence).limit(limit))
    return [from_row(row) for row in rows]


async def forgotten(db: Connection, *, before: datetime, limit: int) -> list[str]:
    """Streams with results older than `before` that nobody has published."""
    query = select(results.c.stream).where(results.c.published.is_(False), results.c.created_at < before)
    return list((await db.execute(query.distinct().limit(limit))).scalars())


async def mark_published(db: Connection, ids: Collection[str]) -> None:
    """The broker has confirmed these."""
    await db.execute(update(results).where(results.c.id.in_(ids)).values(published=True))


async def of_stream(db: Connection, stream: str, *, after: int = 0, limit: int = 10_000) -> list[Result]:
    """The stream's results with a sequence above `after`."""
    query = select(results).where(results.c.stream == stream, results.c.sequence > after)
    return [from_row(row) for row in await db.execute(query.order_by(results.c.sequence).limit(limit))]


async def of_delivery(db: Connection, delivery_id: str, *, limit: int = 10_000) -> list[Result]:
    """Everything told about the delivery and its runs, in the order of telling."""
    query = select(results).where(results.c.delivery_id == delivery_id)
    rows = await db.execute(query.order_by(results.c.created_at, results.c.id).limit(limit))
    return [from_row(row) for row in rows]


async def lengths_of(db: Connection, delivery_id: str) -> dict[str, int]:
    """How long the streams of the delivery and of its runs are, in the order in which they began."""
    query = select(results.c.stream, func.max(results.c.sequence).label("length"))
    query = query.where(results.c.delivery_id == delivery_id).group_by(results.c.stream)
    rows = await db.execute(query.order_by(func.min(results.c.created_at), results.c.stream))
    return {row.stream: row.length for row in rows}


async def _append(
    db: Connection, stream: str, last: int, news: News, *, delivery_id: str, run_id: str | None, now: datetime
) -> None:
    first = last - len(news) + 1
    await db.execute(
        _ADD,
        [
            {
                "id": str(uuid7()),
                "stream": stream,
                "sequence": first + offset,
                "type": kind,
                "delivery_id": delivery_id,
                "run_id": run_id,
                "data": data,
                "created_at": now,
                "published": False,
            }
            for offset, (kind, data) in enumerate(news)
        ],
    )


def from_row(row: Any) -> Result:
    """One row of the table as a result."""
    return Result(
        id=row.id,
        type=ResultType(row.type),
        stream=row.stream,
        sequence=row.sequence,
        time=row.created_at,
        delivery_id=row.delivery_id,
        run_id=row.run_id,
        data=row.data,
    )
