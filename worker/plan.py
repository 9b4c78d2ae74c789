"""
Plan: from an event to its runs, in one transaction: the delivery, the receipt with its trace, one run per matching procedure.

Nothing is asked of Komodo here, so an event is recorded whether Komodo answers or not; which stacks a run concerns is resolved when its first
stage begins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from uuid_utils import uuid7

from shared import clock
from shared.event import GlobalListener, ProcedureListener, WebhookEvent
from shared.matching import trigger
from shared.matching.trace import TriggerMatch
from shared.procedure import builtin
from shared.results import ResultType
from shared.states import RunState
from shared.store import deliveries, heads, procedures, results, runs
from shared.store.deliveries import ReceiptOutcome
from shared.store.engine import Connection, Store
from shared.store.heads import Branch
from shared.store.procedures import SavedProcedure
from shared.store.runs import Run
from worker.catchup import missed

# How long a delivery may wait in the spool or the broker before it is planned.
OVERTAKING = timedelta(days=1)


@dataclass(frozen=True)
class Planned:
    """What a receipt led to: the runs that it has started, and those that an earlier copy of its message did and that are still open."""

    outcome: ReceiptOutcome
    started: list[Run] = field(default_factory=list)
    open_before: list[str] = field(default_factory=list)


async def plan(store: Store, event: WebhookEvent, *, window: float, catches_up: bool = False) -> Planned:
    """
    Record the event and start its runs.

    A message that the broker delivers again finds its receipt and only returns what is still open; the same delivery sent again is a duplicate
    while its runs run or have succeeded, and starts those anew that failed. So is the same body that came as another delivery in the `window` seconds
    before: some senders give no delivery id, and the others' ids are not signed. Where the service `catches_up`, so is the same commit that came both
    ways.
    """
    now = clock.now()
    async with store.begin() as db:
        is_new = await deliveries.record(db, event)
        if not is_new and (known := await deliveries.find_receipt(db, event.receipt_id, event.id)):
            return Planned(known.outcome, open_before=await runs.open_of_receipt(db, event.receipt_id, event.id))
        candidates = [(saved, trigger.match(saved.definition, event)) for saved in await _candidates(db, event)]
        before = await _same_before(db, event, is_new=is_new, window=window, catches_up=catches_up)
        latest = {} if before is None else {run.procedure_name: run for run in await runs.of_event(db, before)}
        matched = [saved for saved, match in candidates if match.matched]
        fresh = [saved for saved in matched if _may_start(latest.get(saved.definition.name))]
        outcome = _outcome(matched=len(matched), fresh=len(fresh))
        trace = {"procedures": [match.to_trace() for _, match in candidates]}
        await deliveries.add_receipt(db, event, outcome, trace, received_at=event.received_at)
        started = [_run(event, saved, now) for saved in fresh]
        of_started = [(ResultType.RUN_STARTED, _about(event))]
        for run in started:
            await runs.add(db, run, told=len(of_started))
        news = _news(event, outcome, candidates, fresh)
        await results.tell_delivery(db, event.delivery_id, news, now=now, started=started, of_started=of_started)
    return Planned(outcome, started)


async def _same_before(
    db: Connection, event: WebhookEvent, *, is_new: bool, window: float, catches_up: bool
) -> str | None:
    """The id of the event that this one is once more, or None."""
    if not is_new:
        return event.id
    if event.source == missed.SOURCE:
        return await _delivered(db, event)
    if event.body_sha256 is not None and window and event.names_one_state:
        twin = await deliveries.find_twin(db, event, since=event.received_at - timedelta(seconds=window))
        if twin is not None:
            return twin.id
    caught_up = missed.ids_of_its_catch_up(event) if catches_up else []
    return await heads.find_any(db, caught_up) if caught_up else None


async def _delivered(db: Connection, event: WebhookEvent) -> str | None:
    """The delivery that has overtaken a catch-up: it was on its way when the provider was asked."""
    if event.repository is None or event.repository.key is None or event.branch is None or event.after is None:
        return None
    branch = Branch(event.repository.key, event.branch)
    since = event.received_at - OVERTAKING
    return await heads.event_that_brought(db, branch, event.after, since=since, but=event.id)


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
