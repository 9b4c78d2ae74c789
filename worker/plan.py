"""
Plan: from an event to its runs, in one transaction: the delivery, the receipt with its trace, one run per matching procedure.

Nothing is asked of Komodo here, so an event is recorded whether Komodo answers or not; which stacks a run concerns is resolved when its first
stage begins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from uuid_utils import uuid7

from shared import clock
from shared.event import GlobalListener, ProcedureListener, WebhookEvent
from shared.matching import trigger
from shared.matching.trace import TriggerMatch
from shared.procedure import builtin
from shared.results import ResultType
from shared.states import RunState
from shared.store import deliveries, procedures, results, runs
from shared.store.deliveries import ReceiptOutcome
from shared.store.engine import Connection, Store
from shared.store.procedures import SavedProcedure
from shared.store.runs import Run


@dataclass(frozen=True)
class Planned:
    """What a receipt led to: its open runs, and the streams that have something to tell."""

    runs: list[str]
    streams: list[str]
    outcome: ReceiptOutcome
    is_repeated: bool = False


async def plan(store: Store, event: WebhookEvent) -> Planned:
    """
    Record the event and start its runs.

    A message that the broker delivers again finds its receipt and only returns what is still open; the same delivery sent again is a duplicate
    while its runs run or have succeeded, and starts those anew that failed.
    """
    now = clock.now()
    async with store.begin() as db:
        await deliveries.record(db, event)
        if known := await deliveries.find_receipt(db, event.receipt_id, event.id):
            open_runs = await runs.open_of_receipt(db, event.receipt_id, event.id)
            return Planned(open_runs, [event.delivery_id, *open_runs], known.outcome, is_repeated=True)
        candidates = [(saved, trigger.match(saved.definition, event)) for saved in await _candidates(db, event)]
        latest = {run.procedure_name: run for run in await runs.of_event(db, event.id)}
        matched = [saved for saved, match in candidates if match.matched]
        fresh = [saved for saved in matched if _may_start(latest.get(saved.definition.name))]
        outcome = _outcome(matched=len(matched), fresh=len(fresh))
        trace = {"procedures": [match.to_trace() for _, match in candidates]}
        await deliveries.add_receipt(db, event, outcome, trace, received_at=event.received_at)
        await results.tell_delivery(db, event.delivery_id, _news(event, outcome, candidates, fresh), now=now)
        started = [_run(event, saved, now) for saved in fresh]
        for run in started:
            await runs.add(db, run)
            await results.tell_run(db, run.id, [(ResultType.RUN_STARTED, _about(event))], now=now)
    ids = [run.id for run in started]
    return Planned(ids, [event.delivery_id, *ids], outcome)


async def _candidates(db: Connection, event: WebhookEvent) -> list[SavedProcedure]:
    """
    Whom the URL is for: all that listen, one of ours by name, or what Komodo's own URL means.

    A procedure of ours takes precedence over Komodo's of the same name.
    """
    saved = await procedures.current(db)
    match event.listener:
        case GlobalListener():
            return saved
        case ProcedureListener(name=name) if ours := [one for one in saved if one.definition.name == name]:
            return ours
        case _:
            stand_in = builtin.for_listener(event.listener)
            return [] if stand_in is None else [SavedProcedure(None, None, stand_in)]


def _may_start(before: Run | None) -> bool:
    return before is None or before.state is RunState.FAILED


def _outcome(*, matched: int, fresh: int) -> ReceiptOutcome:
    if fresh:
        return ReceiptOutcome.MATCHED
    return ReceiptOutcome.DUPLICATE if matched else ReceiptOutcome.UNMATCHED


def _news(
    event: WebhookEvent,
    outcome: ReceiptOutcome,
    candidates: Sequence[tuple[SavedProcedure, TriggerMatch]],
    fresh: Sequence[SavedProcedure],
) -> list[tuple[ResultType, dict[str, Any]]]:
    match outcome:
        case ReceiptOutcome.MATCHED:
            names = [saved.definition.name for saved in fresh]
            return [(ResultType.DELIVERY_ACCEPTED, _about(event) | {"procedures": names})]
        case ReceiptOutcome.DUPLICATE:
            return [(ResultType.DELIVERY_DUPLICATE, _about(event))]
        case ReceiptOutcome.UNMATCHED:
            reasons = {match.procedure: match.decision.sentence() for _, match in candidates if match.decision}
            return [(ResultType.DELIVERY_UNMATCHED, _about(event) | {"reasons": reasons})]


def _about(event: WebhookEvent) -> dict[str, Any]:
    """What results say about the event: names and commits, never its payload."""
    return {
        "provider": event.provider,
        "kind": event.kind,
        "repository": event.repository.full_name if event.repository else None,
        "branch": event.branch,
        "tag": event.tag,
        "commit": event.commit or event.after,
        "sender": event.sender,
    }


def _run(event: WebhookEvent, saved: SavedProcedure, now: datetime) -> Run:
    return Run(
        id=str(uuid7()),
        delivery_id=event.delivery_id,
        event_id=event.id,
        receipt_id=event.receipt_id,
        procedure_name=saved.definition.name,
        procedure_id=saved.id,
        procedure_version=saved.version,
        definition=saved.definition,
        state=RunState.RUNNING,
        received_at=event.received_at,
        created_at=now,
    )
