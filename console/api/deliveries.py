"""`/api/v1/deliveries`: what became of a delivery."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Annotated

from fastapi import APIRouter, HTTPException, Query
from pydantic import BaseModel

from console.api.cursors import from_cursor, to_cursor
from console.api.events import EventStream, LastEventId, event_stream
from console.api.ids import Id
from console.api.runs import RunSummary
from console.context import Context
from console.explain import Told, explain
from console.streams import of_delivery
from shared.event import WebhookEvent
from shared.states import RunState
from shared.store import actions, deliveries, runs
from shared.store.deliveries import Delivery, ReceiptOutcome
from shared.store.engine import Connection
from shared.store.runs import Run, Standing

PAGE = 50
NOT_THERE = "no such delivery; one that was just accepted appears when a worker has planned it"


class Status(StrEnum):
    """How a delivery stands."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    UNMATCHED = "unmatched"
    DUPLICATE = "duplicate"


_BY_RUN = {
    RunState.RUNNING: Status.RUNNING,
    RunState.FAILED: Status.FAILED,
    RunState.CANCELLED: Status.CANCELLED,
    RunState.SUCCEEDED: Status.SUCCEEDED,
}
_BY_RECEIPT = {
    ReceiptOutcome.MATCHED: Status.QUEUED,
    ReceiptOutcome.UNMATCHED: Status.UNMATCHED,
    ReceiptOutcome.DUPLICATE: Status.DUPLICATE,
}


class EventSummary(BaseModel):
    """The event in short; never the provider's payload."""

    id: str
    kind: str
    provider: str
    repository: str | None
    branch: str | None
    tag: str | None
    after: str | None
    commit: str | None
    sender: str | None
    message: str | None


class ReceiptSummary(BaseModel):
    """One arrival of the delivery, and what was decided."""

    id: str
    received_at: datetime
    outcome: ReceiptOutcome
    trace: dict[str, object] | None


class DeliverySummary(BaseModel):
    """A delivery in a list."""

    id: str
    provider: str
    hook: str
    received_at: datetime
    status: Status


class DeliveryPage(BaseModel):
    """A part of the list; `next` is the `before` of the part that follows, and null at the end."""

    items: list[DeliverySummary]
    next: str | None


class DeliveryDetail(DeliverySummary):
    """A delivery with everything that came of it."""

    provider_delivery_id: str | None
    events: list[EventSummary]
    receipts: list[ReceiptSummary]
    runs: list[RunSummary]


class ExplainedRow(BaseModel):
    """One answer: of a procedure's trigger, or of a stage about a stack, or about `count` stacks at once."""

    procedure: str
    stage: int | None
    stack: str | None
    answer: str
    reason: str
    predicate: str | None
    wanted: str | None
    found: str | None
    count: int


class Explained(BaseModel):
    """Why it did or did not: one sentence, and every answer behind it."""

    delivery: str
    stack: str | None
    sentence: str
    rows: list[ExplainedRow]


def status_of(outcomes: Sequence[ReceiptOutcome], found: Iterable[Run | Standing]) -> Status:
    """
    One word for a delivery: how its runs stand, else what was decided when it came last.

    Of several runs of one procedure for one event the latest counts, and over all procedures the worst. Both lists are oldest first.
    """
    states = {(run.event_id, run.procedure_name): run.state for run in found}.values()
    by_run = next((status for state, status in _BY_RUN.items() if state in states), None)
    if by_run is not None:
        return by_run
    return _BY_RECEIPT[outcomes[-1]] if outcomes else Status.QUEUED


def routes(context: Context) -> APIRouter:
    """The routes of deliveries."""
    router = APIRouter(prefix="/deliveries", tags=["deliveries"])

    @router.get("")
    async def list_deliveries(
        limit: Annotated[int, Query(ge=1, le=200)] = PAGE, before: str | None = None
    ) -> DeliveryPage:
        """Newest first; `before` is the `next` of the page before."""
        async with context.store.read() as db:
            found = await deliveries.newest(db, limit=limit, before=from_cursor(before))
            ids = [delivery.id for delivery in found]
            outcomes, standings = await deliveries.outcomes_of(db, ids), await runs.standings_of(db, ids)
        items = [_summary(one, status_of(outcomes.get(one.id, ()), standings.get(one.id, ()))) for one in found]
        return DeliveryPage(
            items=items, next=to_cursor(found[-1].received_at, found[-1].id) if len(found) == limit else None
        )

    @router.get("/{delivery_id}")
    async def show_delivery(delivery_id: Id) -> DeliveryDetail:
        """A delivery, its receipts, and its runs."""
        async with context.store.read() as db:
            delivery = await deliveries.get(db, delivery_id)
            if delivery is None:
                raise HTTPException(404, NOT_THERE)
            receipts = await deliveries.receipts_of(db, delivery_id)
            found = await runs.of_delivery(db, delivery_id)
            events = await deliveries.events_of(db, delivery_id)
        return DeliveryDetail(
            **_summary(delivery, status_of([receipt.outcome for receipt in receipts], found)).model_dump(),
            provider_delivery_id=delivery.provider_delivery_id,
            events=[_event(event) for event in events],
            receipts=[
                ReceiptSummary(
                    id=receipt.id, received_at=receipt.received_at, outcome=receipt.outcome, trace=receipt.trace
                )
                for receipt in receipts
            ],
            runs=[RunSummary.from_run(run) for run in found],
        )

    @router.get("/{delivery_id}/explanation")
    async def explain_delivery(
        delivery_id: Id, stack: Annotated[str | None, Query(max_length=200)] = None
    ) -> Explained:
        """Why procedures and stacks were or were not picked when the delivery came last; for one stack by its name."""
        async with context.store.read() as db:
            if await deliveries.get(db, delivery_id) is None:
                raise HTTPException(404, NOT_THERE)
            receipts = await deliveries.receipts_of(db, delivery_id)
            told = [await _told(db, run) for run in await runs.of_delivery(db, delivery_id)]
        explanation = explain(receipts[-1].trace if receipts else None, told, stack)
        return Explained(
            delivery=delivery_id,
            stack=stack,
            sentence=explanation.sentence,
            rows=[ExplainedRow.model_validate(row, from_attributes=True) for row in explanation.rows],
        )

    @router.get("/{delivery_id}/events", response_class=EventStream)
    async def follow_delivery(delivery_id: Id, last_event_id: LastEventId = "") -> EventStream:
        """Server-sent events until every run has ended; a delivery that is not planned yet is waited for, a minute at most."""
        return event_stream(context, delivery_id, of_delivery(delivery_id), last_event_id)

    return router


async def _told(db: Connection, run: Run) -> Told:
    stages = await runs.stages_of(db, run.id, with_trace=True)
    ended: dict[str, list[str]] = {}
    for action in await actions.of_run(db, run.id):
        ended.setdefault(action.resource_name, []).append(str(action.state))
    return Told(run.procedure_name, run.state, [(stage.position, stage.trace) for stage in stages], ended)


def _summary(delivery: Delivery, status: Status) -> DeliverySummary:
    return DeliverySummary(
        id=delivery.id,
        provider=delivery.provider,
        hook=delivery.hook,
        received_at=delivery.received_at,
        status=status,
    )


def _event(event: WebhookEvent) -> EventSummary:
    return EventSummary(
        id=event.id,
        kind=event.kind,
        provider=event.provider,
        repository=event.repository.full_name if event.repository else None,
        branch=event.branch,
        tag=event.tag,
        after=event.after,
        commit=event.commit,
        sender=event.sender,
        message=event.message,
    )
