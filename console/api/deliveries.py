"""`/api/v1/deliveries`: what became of a delivery."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Header, HTTPException, Query
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from console.api.runs import RunSummary
from console.context import Context
from console.streams import of_delivery, stream
from shared.event import WebhookEvent
from shared.states import RunState
from shared.store import deliveries, runs
from shared.store.deliveries import Delivery, Receipt, ReceiptOutcome
from shared.store.runs import Run

PAGE = 50


class EventSummary(BaseModel):
    """The event in short; never the provider's payload."""

    id: str
    kind: str
    repository: str | None
    branch: str | None
    tag: str | None
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
    status: str


class DeliveryDetail(DeliverySummary):
    """A delivery with everything that came of it."""

    provider_delivery_id: str | None
    events: list[EventSummary]
    receipts: list[ReceiptSummary]
    runs: list[RunSummary]


def status_of(receipts: list[Receipt], found: list[Run]) -> str:
    """One word for a delivery: how its latest runs stand, else what was decided when it came."""
    latest: dict[tuple[str, str], Run] = {(run.event_id, run.procedure_name): run for run in found}
    states = {run.state for run in latest.values()}
    for state in (RunState.RUNNING, RunState.FAILED, RunState.CANCELLED, RunState.SUCCEEDED):
        if state in states:
            return str(state)
    return str(receipts[-1].outcome) if receipts else "queued"


def routes(context: Context) -> APIRouter:
    """The routes of deliveries."""
    router = APIRouter(prefix="/deliveries", tags=["deliveries"])

    @router.get("")
    async def list_deliveries(
        limit: Annotated[int, Query(ge=1, le=200)] = PAGE, before: datetime | None = None
    ) -> list[DeliverySummary]:
        """Newest first; `before` is the `received_at` of the last one of the page before."""
        async with context.store.read() as db:
            found = await deliveries.newest(db, limit=limit, before=before)
            return [
                _summary(
                    delivery, await deliveries.receipts_of(db, delivery.id), await runs.of_delivery(db, delivery.id)
                )
                for delivery in found
            ]

    @router.get("/{delivery_id}")
    async def show_delivery(delivery_id: str) -> DeliveryDetail:
        """A delivery, its receipts, and its runs."""
        async with context.store.read() as db:
            delivery = await deliveries.get(db, delivery_id)
            if delivery is None:
                raise HTTPException(
                    404, "no such delivery; one that was just accepted appears when a worker has planned it"
                )
            receipts = await deliveries.receipts_of(db, delivery_id)
            found = await runs.of_delivery(db, delivery_id)
            events = await deliveries.events_of(db, delivery_id)
        return DeliveryDetail(
            **_summary(delivery, receipts, found).model_dump(),
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

    @router.get("/{delivery_id}/events", response_class=StreamingResponse)
    async def follow_delivery(delivery_id: str, last_event_id: Annotated[str, Header()] = "") -> StreamingResponse:
        """Server-sent events until every run has ended; a delivery that is not planned yet is waited for."""
        events = stream(
            context.store,
            context.following,
            delivery_id,
            of_delivery(delivery_id),
            last_event_id=last_event_id,
            stop=context.stop,
        )
        return StreamingResponse(events, media_type="text/event-stream", headers={"Cache-Control": "no-store"})

    return router


def _summary(delivery: Delivery, receipts: list[Receipt], found: list[Run]) -> DeliverySummary:
    return DeliverySummary(
        id=delivery.id,
        provider=delivery.provider,
        hook=delivery.hook,
        received_at=delivery.received_at,
        status=status_of(receipts, found),
    )


def _event(event: WebhookEvent) -> EventSummary:
    return EventSummary(
        id=event.id,
        kind=event.kind,
        repository=event.repository.full_name if event.repository else None,
        branch=event.branch,
        tag=event.tag,
        commit=event.commit or event.after,
        sender=event.sender,
        message=event.message,
    )
