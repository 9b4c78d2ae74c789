"""Deliveries, the events they hold, and the receipts: one for each time that an event arrived."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import orjson
from sqlalchemy import bindparam, insert, select, update
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from shared.event import WebhookEvent
from shared.store.engine import Connection
from shared.store.paging import newest_of
from shared.store.tables import deliveries, events, receipts, runs

MAX_TWINS = 20


class ReceiptOutcome(StrEnum):
    """What became of one receipt of an event."""

    MATCHED = "matched"
    UNMATCHED = "unmatched"
    DUPLICATE = "duplicate"


@dataclass(frozen=True)
class Receipt:
    """One arrival of an event; a message that the broker delivers again carries the same receipt."""

    id: str
    event_id: str
    received_at: datetime
    outcome: ReceiptOutcome
    trace: Any = None


@dataclass(frozen=True)
class Delivery:
    """One delivery as the store knows it."""

    id: str
    hook: str
    provider: str
    provider_delivery_id: str | None
    received_at: datetime


_UPSERTS: dict[str, Any] = {"sqlite": sqlite_insert, "postgresql": postgres_insert}
_ADD_DELIVERY = {name: upsert(deliveries).on_conflict_do_nothing() for name, upsert in _UPSERTS.items()}
_SEE_EVENT = {
    name: upsert(events)
    .on_conflict_do_update(index_elements=["id"], set_={"seen": events.c.seen + 1})
    .returning(events.c.seen)
    for name, upsert in _UPSERTS.items()
}
_ADD_RECEIPT = insert(receipts)
_NEXT_SEQUENCE = (
    update(deliveries)
    .where(deliveries.c.id == bindparam("b_id"))
    .values(sequence=deliveries.c.sequence + bindparam("b_count"))
    .returning(deliveries.c.sequence)
)


async def record(db: Connection, event: WebhookEvent) -> bool:
    """
    Record the delivery and the event, once; False when the event was known before.

    The event's row is locked until the transaction ends, so that two receipts of one event are planned one after the other on any
    number of workers.
    """
    delivery = {
        "id": event.delivery_id,
        "hook": event.hook,
        "provider": event.provider,
        "provider_delivery_id": event.provider_delivery_id,
        "received_at": event.received_at,
        "body_sha256": event.body_sha256,
        "sequence": 0,
    }
    await db.execute(_ADD_DELIVERY[db.dialect.name], delivery)
    row = {
        "id": event.id,
        "delivery_id": event.delivery_id,
        "seen": 1,
        "received_at": event.received_at,
        "body": orjson.loads(event.to_bytes()),
    }
    return bool((await db.execute(_SEE_EVENT[db.dialect.name], row)).scalar_one() == 1)


async def add_receipt(
    db: Connection, event: WebhookEvent, outcome: ReceiptOutcome, trace: Any, *, received_at: datetime
) -> None:
    """Store how this receipt ended."""
    row = {
        "id": event.receipt_id,
        "event_id": event.id,
        "received_at": received_at,
        "outcome": outcome,
        "trace": trace,
    }
    await db.execute(_ADD_RECEIPT, row)


async def find_twin(db: Connection, event: WebhookEvent, *, since: datetime) -> WebhookEvent | None:
    """
    The event of another delivery of the same body at the same URL that says the same and was received from `since` on but before this one: the
    newest, or None.
    """
    query = (
        select(events.c.body)
        .join(deliveries, deliveries.c.id == events.c.delivery_id)
        .where(
            deliveries.c.hook == event.hook,
            deliveries.c.body_sha256 == event.body_sha256,
            deliveries.c.id != event.delivery_id,
            deliveries.c.received_at.between(since, event.received_at),
        )
        .order_by(deliveries.c.received_at.desc())
        .limit(MAX_TWINS)
    )
    twins = (WebhookEvent.model_validate(row.body) for row in await db.execute(query))
    return next((twin for twin in twins if twin.says_the_same_as(event)), None)


async def find_receipt(db: Connection, receipt_id: str, event_id: str) -> Receipt | None:
    """The receipt of this event, if it was planned before."""
    query = select(receipts).where(receipts.c.id == receipt_id, receipts.c.event_id == event_id)
    row = (await db.execute(query)).first()
    return None if row is None else _receipt(row)


async def receipts_of(db: Connection, delivery_id: str) -> list[Receipt]:
    """Every receipt of the delivery's events, oldest first."""
    query = select(receipts).join(events, events.c.id == receipts.c.event_id)
    rows = await db.execute(query.where(events.c.delivery_id == delivery_id).order_by(receipts.c.received_at))
    return [_receipt(row) for row in rows]


async def get(db: Connection, delivery_id: str) -> Delivery | None:
    """The delivery, or None."""
    row = (await db.execute(select(deliveries).where(deliveries.c.id == delivery_id))).first()
    return None if row is None else _delivery(row)


async def outcomes_of(db: Connection, delivery_ids: Collection[str]) -> dict[str, list[ReceiptOutcome]]:
    """What became of the receipts of many deliveries, oldest first."""
    query = select(events.c.delivery_id, receipts.c.outcome).join(events, events.c.id == receipts.c.event_id)
    found: dict[str, list[ReceiptOutcome]] = {}
    for row in await db.execute(
        query.where(events.c.delivery_id.in_(delivery_ids)).order_by(receipts.c.received_at, receipts.c.id)
    ):
        found.setdefault(row.delivery_id, []).append(ReceiptOutcome(row.outcome))
    return found


async def newest(db: Connection, *, limit: int, before: tuple[datetime, str] | None = None) -> list[Delivery]:
    """Deliveries, newest first, received before the one whose instant and id that are."""
    query = newest_of(deliveries, deliveries.c.received_at, limit=limit, before=before)
    return [_delivery(row) for row in await db.execute(query)]


async def events_of(db: Connection, delivery_id: str) -> list[WebhookEvent]:
    """The events that the delivery held."""
    rows = await db.execute(select(events.c.body).where(events.c.delivery_id == delivery_id).order_by(events.c.id))
    return [WebhookEvent.model_validate_json(orjson.dumps(row.body)) for row in rows]


async def event_of_run(db: Connection, run_id: str) -> WebhookEvent:
    """The event that the run was started for; it is there as long as the run is."""
    query = select(events.c.body).join(runs, runs.c.event_id == events.c.id).where(runs.c.id == run_id)
    body = (await db.execute(query)).scalar_one()
    return WebhookEvent.model_validate_json(orjson.dumps(body))


async def next_sequence(db: Connection, delivery_id: str, count: int) -> int:
    """Reserve `count` numbers in the delivery's stream of results and return the last; the row stays locked until commit."""
    return int((await db.execute(_NEXT_SEQUENCE, {"b_id": delivery_id, "b_count": count})).scalar_one())


def _delivery(row: Any) -> Delivery:
    return Delivery(row.id, row.hook, row.provider, row.provider_delivery_id, row.received_at)


def _receipt(row: Any) -> Receipt:
    return Receipt(row.id, row.event_id, row.received_at, ReceiptOutcome(row.outcome), row.trace)
