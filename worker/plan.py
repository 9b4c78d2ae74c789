"""
Plan: from an event to its runs, in one transaction: the delivery, the receipt with its trace, one run per matching procedure.

Nothing is asked of Komodo here, so an event is recorded whether Komodo answers or not; which stacks a run concerns is resolved when its first
stage begins.
"""

from __future__ import annotations

from dataclasses import dataclass

from shared.matching.trigger import TriggerMatch

from shared import clock
from shared.event import WebhookEvent
from shared.procedure import builtin
from shared.results import ResultType
from shared.store import deliveries, results, runs
from shared.store.deliveries import ReceiptOutcome
from shared.store.engine import Store
from shared.store.procedures import SavedProcedure


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

    A message that the broker delivers again finds its receipt and only returns what is still open; the same delivery sent again is a duplicate while its
    runs run or have succeeded, and starts those anew that failed.
    """
    now = clock.now()
    async with store.begin() as db:
        await deliveries.record(db, event)
        if known := await deliveries.find_receipt(db, event.receipt_id, event.id):
            open_runs = await runs.open_of_receipt(db, event.receipt_id, event.id)
            return Planned(open_runs, [event.delivery_id, *open_runs], known.outcome, is_repeated=True)
        matches = await _match(db, event)
        latest = {run.procedure_name: run for run in await runs.of_event(db, event.id)}
        matched = [match for match in matches if match.matched]
        fresh = [match for match in matched if _may_start(latest.get(match.procedure))]
        outcome = _outcome(matched=len(matched), fresh=len(fresh))
        trace = {"procedures": [match.to_trace() for match in matches]}
        await deliveries.add_receipt(db, event, outcome, trace, received_at=event.received_at)
        started = [_run(event, match.saved, match.definition, now) for match in fresh]
        await _tell_delivery(db, event, outcome, matches, started)
        for run in started:
            await runs.add(db, run)
            await results.tell_run(db, run.id, [(ResultType.RUN_STARTED, _about(event))], now=now)
    ids = [run.id for run in started]
    return Planned(ids, [event.delivery_id, *ids], outcome)


@dataclass(frozen=True)
class _Candidate:
    """A procedure beside what its trigger said; `saved` is None for one that exists for Komodo's own URL alone."""

    definition: builtin.Procedure
    saved: SavedProcedure | None
    verdict: TriggerMatch

    @property
    def matched(self) -> bool:
        return self.verdict.matched

    @property
    def procedure(self) -> str:
        return self.definition.name
