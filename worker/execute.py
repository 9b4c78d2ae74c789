"""
Execute: one attempt of one action, from lease to outcome.

Begin and end are one transaction each. Between them nothing is held but the lease, and what was begun at Komodo is in the store or can be found there
(`takeover`), so the process may die anywhere (I2, I3).
"""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from shared import clock, logs, metrics
from shared.broker.topology import Queue
from shared.errors import Busy, Permanent, Poison, Transient, Unknown
from shared.procedure.model import Retry
from shared.results import ResultType
from shared.states import ENDED_ACTION, ActionState, Happening
from shared.store import actions, attempts, leases, results
from shared.store.actions import Action, Due
from shared.store.attempts import Attempt
from shared.store.engine import Connection
from shared.store.leases import Lease
from worker import takeover
from worker.advance import about_action, advance
from worker.executions import execution_of
from worker.outcome import Outcome, Settled, Unfinished, Unsettled
from worker.retries import Again, Cause, decide
from worker.running import LeaseLost, Running
from worker.tools import Tools
from worker.work import Work

log = logs.get_logger()

# Long enough for an execution whose answer was lost to show among Komodo's updates.
LOOK_AGAIN_SECONDS = 5.0


@dataclass(frozen=True)
class Begun:
    """The lease is ours; `is_taken_over` says that another worker may have begun the attempt."""

    running: Running
    is_taken_over: bool


@dataclass(frozen=True)
class NotNow:
    """There is nothing to run: the action has ended, waits, or is another worker's until `retry_at`."""

    has_ended: bool = False
    retry_at: datetime | None = None
    again: Due | None = None


async def execute(tools: Tools, work: Work, action_id: str, *, is_repeated: bool) -> None:
    """
    Run the attempt that `work` names, if the store says that it is to be run.

    Raises `Poison` for an action that the store does not know, `Transient` when store or Komodo do not answer, `Unavailable` for the broker.
    """
    async with tools.holding.alone(action_id):
        asked_at = time.monotonic()
        begun = await _begin(tools, work, action_id)
        tools.telling.about(work.run_id)
        if isinstance(begun, Begun):
            tools.holding.begin(action_id, until=asked_at + tools.settings.lease_seconds)
            try:
                await _run(tools, begun)
            finally:
                tools.holding.end(action_id)
            return
    if begun.has_ended:
        await advance(tools, work.run_id, is_repeated=is_repeated)
    if begun.again:
        await tools.publisher.publish_action(Work.for_action(begun.again).to_message())
    if begun.retry_at:
        wait = (begun.retry_at - clock.now()).total_seconds()
        await tools.publisher.publish_later(Queue.ACTIONS, work.to_message(), seconds=max(0.0, wait))


class _Outrun(Exception):
    """Somebody else took the lease at the same time."""


async def _begin(tools: Tools, work: Work, action_id: str) -> Begun | NotNow:
    now = clock.now()
    try:
        async with tools.store.begin() as db:
            begun = await _start_if_free(db, tools, work, action_id, now)
            return begun or await _look(db, tools, work, action_id, now)
    except _Outrun:
        async with tools.store.begin() as db:
            return await _look(db, tools, work, action_id, now)


async def _start_if_free(db: Connection, tools: Tools, work: Work, action_id: str, now: datetime) -> Begun | None:
    """The usual case in as few statements as it takes: the action is queued, and nobody has its resource."""
    action = await actions.start_if_free(db, action_id, work.attempt, now=now)
    if action is None:
        return None
    if not await leases.take(db, _lease(tools, action, now)):
        raise _Outrun
    return await _begun(db, tools, action, now)


async def _look(db: Connection, tools: Tools, work: Work, action_id: str, now: datetime) -> Begun | NotNow:
    action = await actions.get(db, action_id, lock=True)
    if action is None:
        raise Poison(f"there is no action {action_id} in the store")
    if action.state in ENDED_ACTION:
        return NotNow(has_ended=True)
    if work.attempt < action.attempt:
        is_due = action.state is ActionState.QUEUED and action.due_at <= now
        return NotNow(again=Due(action.id, action.run_id, action.attempt) if is_due else None)
    if action.state is ActionState.RUNNING:
        return await _go_on(db, tools, action, now)
    if await actions.is_superseded(db, action):
        if await _supersede(db, action, now):
            await results.tell_run(db, action.run_id, [_superseded(action)], now=now)
        return NotNow(has_ended=True)
    if not await leases.take(db, _lease(tools, action, now)):
        if action.state is ActionState.QUEUED:
            await actions.move(db, action, Happening.WAIT)
        return NotNow()
    return await _start(db, tools, action, now)


def _lease(tools: Tools, action: Action, now: datetime) -> Lease:
    return Lease(action.resource, action.id, tools.id, now + timedelta(seconds=tools.settings.lease_seconds))


async def _start(db: Connection, tools: Tools, action: Action, now: datetime) -> Begun:
    if action.state is ActionState.WAITING:
        await actions.move(db, action, Happening.WAKE)
        action = replace(action, state=ActionState.QUEUED)
    started_at = action.started_at or now
    await actions.move(db, action, Happening.START, started_at=started_at)
    return await _begun(db, tools, replace(action, state=ActionState.RUNNING, started_at=started_at), now)


async def _begun(db: Connection, tools: Tools, action: Action, now: datetime) -> Begun:
    attempt = Attempt(action.id, action.attempt, tools.id, now, now + timedelta(seconds=action.policy["timeout"]))
    await attempts.add(db, attempt)
    running = await _running(db, tools, action, attempt)
    await results.tell_run(db, action.run_id, [(ResultType.ACTION_STARTED, about_action(action))], now=now)
    if attempt.number == 1:
        metrics.PUSH_TO_FIRST_CALL.observe((now - action.received_at).total_seconds())
    return Begun(running, is_taken_over=False)


async def _go_on(db: Connection, tools: Tools, action: Action, now: datetime) -> Begun | NotNow:
    in_the_way = await leases.take_over(db, _lease(tools, action, now), now=now)
    if in_the_way is not None:
        return NotNow(retry_at=in_the_way.expires_at)
    attempt = await attempts.get(db, action.id, action.attempt)
    await attempts.note_worker(db, action.id, action.attempt, tools.id)
    log.info("attempt_taken_over", action_id=action.id, attempt=action.attempt, worker_before=attempt.worker)
    return Begun(await _running(db, tools, action, attempt), is_taken_over=True)


async def _running(db: Connection, tools: Tools, action: Action, attempt: Attempt) -> Running:
    event = await tools.events.of_run(db, action.run_id)
    before = await attempts.get(db, action.id, attempt.number - 1) if attempt.number > 1 else None
    return Running(tools, action, attempt, event, before.outcome if before else None, action.outcome or {})


SUPERSEDED = "a newer event has queued the same for this resource"


async def _supersede(db: Connection, action: Action, now: datetime) -> bool:
    is_ours = await actions.move(db, action, Happening.SUPERSEDE, reason=SUPERSEDED, ended_at=now)
    if is_ours:
        metrics.ACTIONS.labels(type=action.type, outcome="supersede").inc()
    return is_ours


def _superseded(action: Action) -> tuple[ResultType, dict[str, Any]]:
    return ResultType.ACTION_SUPERSEDED, about_action(action) | {"reason": SUPERSEDED}


async def _run(tools: Tools, begun: Begun) -> None:
    running = begun.running
    try:
        match await _outcome(running, is_taken_over=begun.is_taken_over):
            case Unfinished(seconds, _):
                await _leave(tools, running, seconds)
            case Settled() as settled:
                await _settle(tools, running, settled)
            case Unsettled(cause, reason):
                await _decide(tools, running, cause, reason)
    except LeaseLost:
        log.warning("attempt_left_to_another_worker", action_id=running.action.id)


async def _outcome(running: Running, *, is_taken_over: bool) -> Outcome:
    execution = execution_of(running.action.type)
    try:
        if is_taken_over:
            if update_id := await takeover.find_update(running):
                return await execution.conclude(running, await running.wait(update_id))
            if clock.now() >= running.attempt.deadline_at:
                return Settled(Happening.TIME_OUT, "the deadline passed while no worker had the action")
        return await execution.run(running)
    except Unknown as error:
        if clock.now() >= running.attempt.deadline_at:
            return Settled(Happening.TIME_OUT, f"nobody could tell by the deadline how it ended: {error.reason}")
        return Unfinished(LOOK_AGAIN_SECONDS, error.reason)
    except Transient as error:
        return Unsettled(Cause.UNREACHABLE, error.reason)
    except Busy as error:
        return Unsettled(Cause.BUSY, error.reason)
    except Permanent as error:
        return Unsettled(Cause.REJECTED, error.reason)


async def _leave(tools: Tools, running: Running, seconds: float) -> None:
    """The attempt goes on in another message; nobody else may have the resource meanwhile."""
    action = running.action
    async with tools.store.begin() as db:
        if not await leases.hand_over(db, action.resource, action.id, tools.id):
            raise LeaseLost
    work = Work(run_id=action.run_id, action_id=action.id, attempt=action.attempt)
    await tools.publisher.publish_later(Queue.ACTIONS, work.to_message(), seconds=seconds)


async def _decide(tools: Tools, running: Running, cause: Cause, reason: str) -> None:
    action = running.action
    retry = action.policy["retry"]
    now = clock.now()
    again = decide(
        cause,
        failures=action.failures,
        delays=action.delays,
        waited=(now - (action.started_at or now)).total_seconds(),
        patience=tools.settings.komodo_patience,
        retry=Retry.model_validate(retry) if retry else None,
    )
    if again is None:
        await _settle(tools, running, Settled(Happening.FAIL, reason, {"cause": cause}))
    else:
        await _requeue(tools, running, cause, reason, again)


async def _requeue(tools: Tools, running: Running, cause: Cause, reason: str, again: Again) -> None:
    action, now = running.action, clock.now()
    values = {
        "attempt": action.attempt + 1,
        "failures": action.failures + again.counts,
        "delays": action.delays + (not again.counts),
        "reason": reason,
        "due_at": now + timedelta(seconds=again.seconds),
    }
    async with tools.store.begin() as db:
        await _give_back(db, tools, action, Happening.RETRY, **values)
        await attempts.end(db, action.id, action.attempt, outcome=cause, reason=reason, now=now)
        woken = await _wake_next(db, action.resource, now)
        about = about_action(action) | {"cause": cause, "reason": reason, "retry_in": again.seconds}
        await _tell(db, action, ResultType.ACTION_RETRYING, about, woken, now)
    tools.holding.end(action.id)
    metrics.RETRIES.labels(cause=str(cause)).inc()
    log.info("action_retrying", resource=action.resource_name, cause=cause, reason=reason, seconds=again.seconds)
    tools.telling.about(action.run_id)
    work = Work(run_id=action.run_id, action_id=action.id, attempt=action.attempt + 1)
    await tools.publisher.publish_later(Queue.ACTIONS, work.to_message(), seconds=again.seconds)
    await _follow_up(tools, woken)


_ACTION_RESULTS = {
    Happening.SUCCEED: ResultType.ACTION_SUCCEEDED,
    Happening.UNCHANGE: ResultType.ACTION_UNCHANGED,
    Happening.FAIL: ResultType.ACTION_FAILED,
    Happening.TIME_OUT: ResultType.ACTION_TIMED_OUT,
}


async def _settle(tools: Tools, running: Running, outcome: Settled) -> None:
    action, now = running.action, clock.now()
    values = {"reason": outcome.reason, "outcome": outcome.detail, "ended_at": now}
    async with tools.store.begin() as db:
        await _give_back(db, tools, action, outcome.happening, **values)
        await attempts.end(db, action.id, action.attempt, outcome=outcome.happening, reason=outcome.reason, now=now)
        woken = await _wake_next(db, action.resource, now)
        about = about_action(action) | {"reason": outcome.reason, "outcome": outcome.detail}
        await _tell(db, action, _ACTION_RESULTS[outcome.happening], about, woken, now)
        # Telling has locked the run's row, so whoever ends the stage's last action sees that none is open; nobody else need look any further.
        is_stage_open = await actions.is_stage_open(db, action.run_id, action.stage)
    tools.holding.end(action.id)
    metrics.ACTIONS.labels(type=action.type, outcome=str(outcome.happening)).inc()
    log.info("action_ended", action_id=action.id, resource=action.resource_name, outcome=outcome.happening)
    tools.telling.about(action.run_id)
    await _follow_up(tools, woken)
    if not is_stage_open:
        await advance(tools, action.run_id)


async def _give_back(db: Connection, tools: Tools, action: Action, happening: Happening, **values: Any) -> None:
    """
    Move the action on and give the lease back, both or neither: raises `LeaseLost`, which rolls the transaction back.

    The action's row comes before the lease's here as in `_begin`, so that two workers never wait for each other.
    """
    if not await actions.move(db, action, happening, **values):
        raise LeaseLost
    if not await leases.release(db, action.resource, action.id, tools.id):
        raise LeaseLost


@dataclass(frozen=True)
class _Woken:
    """What becomes of those who waited for the resource: the next one may go on, older ones are superseded."""

    due: list[Due]
    superseded: list[Action]


async def _wake_next(db: Connection, resource: str, now: datetime) -> _Woken:
    woken = _Woken([], [])
    for waiting in await actions.waiting_for(db, resource):
        if await actions.is_superseded(db, waiting):
            if await _supersede(db, waiting, now):
                woken.superseded.append(waiting)
            continue
        await actions.move(db, waiting, Happening.WAKE, due_at=now)
        woken.due.append(Due(waiting.id, waiting.run_id, waiting.attempt))
        break
    return woken


async def _follow_up(tools: Tools, woken: _Woken) -> None:
    for due in woken.due:
        await tools.publisher.publish_action(Work.for_action(due).to_message())
    run_ids = {action.run_id for action in woken.superseded}
    tools.telling.about(*run_ids)
    for run_id in run_ids:
        await advance(tools, run_id)


async def _tell(
    db: Connection, action: Action, kind: ResultType, about: dict[str, Any], woken: _Woken, now: datetime
) -> None:
    news = defaultdict(list, {action.run_id: [(kind, about)]})
    for superseded in woken.superseded:
        news[superseded.run_id].append(_superseded(superseded))
    await results.tell_runs(db, news, now=now)
