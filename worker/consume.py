"""From queue to function: decode, call, and let the consumer ack what has returned."""

from __future__ import annotations

from aio_pika.abc import AbstractIncomingMessage
from pydantic import ValidationError

from shared import logs
from shared.broker.consumer import tries_of
from shared.errors import Poison, Transient
from shared.event import WebhookEvent
from worker.advance import advance, begin
from worker.execute import execute
from worker.plan import plan
from worker.tools import Tools
from worker.work import Work

log = logs.get_logger()


async def on_event(tools: Tools, message: AbstractIncomingMessage) -> None:
    """Plan an event and begin its runs."""
    event = _event(message.body)
    with logs.bound_contextvars(delivery_id=event.delivery_id):
        catches_up = bool(tools.settings.provider_api)
        planned = await plan(tools.store, event, window=tools.settings.duplicate_window, catches_up=catches_up)
        log.info("event_planned", outcome=planned.outcome, kind=event.kind, runs=len(planned.started))
        tools.telling.about(event.delivery_id, *(run.id for run in planned.started), *planned.open_before)
        for run in planned.started:
            tools.events.remember(run.id, event)
            await begin(tools, run)
        for run_id in planned.open_before:
            tools.events.remember(run_id, event)
            await advance(tools, run_id, is_repeated=True)


async def on_action(tools: Tools, message: AbstractIncomingMessage) -> None:
    """Run an action's attempt, or move a run on."""
    work = Work.from_body(message.body)
    is_repeated = bool(message.redelivered) or tries_of(message) > 0
    with logs.bound_contextvars(run_id=work.run_id, action_id=work.action_id, attempt=work.attempt):
        if work.action_id is not None:
            await execute(tools, work, work.action_id, is_repeated=is_repeated)
            return
        try:
            await advance(tools, work.run_id, is_repeated=True)
        except Transient as error:
            # The reconciler asked for it and will ask again: a message of its own for every look would pile up.
            log.info("run_not_advanced", reason=error.reason)


def _event(body: bytes) -> WebhookEvent:
    try:
        return WebhookEvent.from_bytes(body)
    except ValidationError as error:
        problem = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in problem["loc"]) or "body"
        raise Poison(f"not an event: {where}: {problem['msg']}") from error
