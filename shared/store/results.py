"""
Results, written in the transaction of the change that they tell of, published after it.

A row stays unpublished until the broker has confirmed it, so a crash in between publishes it again: the subscriber sees a result at
least once and, first sight by first sight, in order.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, func, insert, select, update
from uuid_utils import uuid7

from shared.results import Result, ResultType
from shared.store import deliveries, runs
from shared.store.engine import Connection, padded
from shared.store.runs import Run
from shared.store.tables import results

_ADD = insert(results)
_UNPUBLISHED = (
    select(results)
    .where(results.c.published.is_(False), results.c.stream.in_(bindparam("b_streams", expanding=True)))
    .order_by(results.c.stream, results.c.sequence)
    .limit(bindparam("b_limit"))
)
_MARK = update(results).where(results.c.id.in_(bindparam("b_ids", expanding=True))).values(published=True)

News = Sequence[tuple[ResultType, dict[str, Any]]]


async def tell_run(db: Connection, run_id: str, news: News, *, now: datetime) -> None:
    """Append results to the run's stream."""
    await tell_runs(db, {run_id: news}, now=now)


async def tell_runs(db: Connection, news: Mapping[str, News], *, now: datetime) -> None:
    """Append results to the streams of several runs, which are locked in the order of their ids."""
    rows: list[dict[str, Any]] = []
    for run_id, told in sorted(news.items()):
        if told:
            last, delivery_id, procedure = await runs.next_sequence(db, run_id, len(told))
            rows += _of_run(run_id, told, last - len(told), delivery_id, procedure, now)
    await _add(db, rows)


async def tell_delivery(
    db: Connection, delivery_id: str, news: News, *, now: datetime, started: Iterable[Run] = (), of_started: News = ()
) -> None:
    """
    Append results to the delivery's stream, and `of_started` to that of each run in `started`, which is new.

    Those runs are stored with as many results told (`runs.add`).
    """
    last = await deliveries.next_sequence(db, delivery_id, len(news))
    rows = _rows(delivery_id, news, last - len(news), delivery_id, None, now)
    for run in started:
        rows += _of_run(run.id, of_started, 0, delivery_id, run.procedure_name, now)
    await _add(db, rows)


async def unpublished(db: Connection, streams: Collection[str], *, limit: int = 500) -> list[Result]:
    """What the broker has not confirmed of these streams, in order."""
    if not streams:
        return []
    rows = await db.execute(_UNPUBLISHED, {"b_streams": padded(streams), "b_limit": limit})
    return [from_row(row) for row in rows]


async def forgotten(db: Connection, *, before: datetime, limit: int) -> list[str]:
    """Streams with results older than `before` that nobody has published."""
    query = select(results.c.stream).where(results.c.published.is_(False), results.c.created_at < before)
    return list((await db.execute(query.distinct().limit(limit))).scalars())


async def mark_published(db: Connection, ids: Collection[str]) -> None:
    """The broker has confirmed these."""
    if ids:
        await db.execute(_MARK, {"b_ids": padded(ids)})


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


async def _add(db: Connection, rows: list[dict[str, Any]]) -> None:
    if rows:
        await db.execute(_ADD, rows)


def _of_run(
    run_id: str, news: News, before: int, delivery_id: str, procedure: str, now: datetime
) -> list[dict[str, Any]]:
    told = [(kind, {"procedure": procedure, **data}) for kind, data in news]
    return _rows(run_id, told, before, delivery_id, run_id, now)


def _rows(
    stream: str, news: News, before: int, delivery_id: str, run_id: str | None, now: datetime
) -> list[dict[str, Any]]:
    """Rows that follow the number `before`."""
    return [
        {
            "id": str(uuid7()),
            "stream": stream,
            "sequence": number,
            "type": kind,
            "delivery_id": delivery_id,
            "run_id": run_id,
            "data": data,
            "created_at": now,
            "published": False,
        }
        for number, (kind, data) in enumerate(news, before + 1)
    ]


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
