"""Events, procedures, runs and actions with defaults, so that a test names only what matters to it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from uuid_utils import uuid7

from shared.event import Kind, Repository, WebhookEvent
from shared.procedure.model import Execution, ExecutionCall, Procedure, Stage, Target, Trigger
from shared.results import Result, ResultType
from shared.states import RunState
from shared.store import actions, deliveries, runs
from shared.store.actions import Action
from shared.store.engine import Connection
from shared.store.runs import Run

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def at(seconds: float) -> datetime:
    """That many seconds after noon."""
    return NOON + timedelta(seconds=seconds)


def new_id() -> str:
    """A fresh id, in the form that all rows have."""
    return str(uuid7())


def an_event(**overrides: Any) -> WebhookEvent:
    """A push to `acme/homelab`, branch `main`."""
    defaults = {
        "id": new_id(),
        "delivery_id": new_id(),
        "receipt_id": new_id(),
        "provider": "github",
        "kind": Kind.PUSH,
        "repository": Repository(key="github.com/acme/homelab", full_name="acme/homelab"),
        "ref": "refs/heads/main",
        "branch": "main",
        "before": "a" * 40,
        "after": "b" * 40,
        "commit": "b" * 40,
        "changed_paths": ("stacks/web/compose.yaml",),
        "changed_paths_complete": True,
        "received_at": NOON,
    }
    return WebhookEvent.model_validate(defaults | overrides)


def a_stage(name: str = "Deploy", **overrides: Any) -> Stage:
    """A stage that deploys what the push affects."""
    execution = Execution(execution=ExecutionCall(type="DeployStackIfChanged"), target=Target(affected=True))
    return Stage.model_validate({"name": name, "executions": (execution,)} | overrides)


def a_procedure(name: str = "homelab", **overrides: Any) -> Procedure:
    """A procedure of one stage, started by every push."""
    return Procedure.model_validate({"name": name, "trigger": Trigger(), "stages": (a_stage(),)} | overrides)


def a_run(event: WebhookEvent | None = None, **overrides: Any) -> Run:
    """A run of a procedure for the event."""
    event = event or an_event()
    definition = overrides.get("definition") or a_procedure()
    defaults: dict[str, Any] = {
        "id": new_id(),
        "delivery_id": event.delivery_id,
        "event_id": event.id,
        "receipt_id": event.receipt_id,
        "procedure_name": definition.name,
        "definition": definition,
        "state": RunState.RUNNING,
        "received_at": event.received_at,
        "created_at": event.received_at,
    }
    return Run(**(defaults | overrides))


def an_action(run: Run | None = None, **overrides: Any) -> Action:
    """A queued deployment of the stack `web`."""
    run = run or a_run()
    defaults: dict[str, Any] = {
        "id": new_id(),
        "run_id": run.id,
        "stage": 0,
        "execution": 0,
        "type": "DeployStackIfChanged",
        "params": {"stack": "web"},
        "policy": {"retry": None, "timeout": 1800.0},
        "resource": "Stack:web",
        "resource_name": "web",
        "effect": "deploy",
        "received_at": run.received_at,
        "queued_at": run.created_at,
        "due_at": run.created_at,
    }
    return Action(**(defaults | overrides))


async def store_event(db: Connection, event: WebhookEvent | None = None) -> WebhookEvent:
    """Record an event as planning does."""
    event = event or an_event()
    await deliveries.record(db, event)
    return event


async def store_run(db: Connection, **overrides: Any) -> Run:
    """A run with its event in the store."""
    overrides = dict(overrides)
    event = overrides.pop("event", None) or an_event()
    await deliveries.record(db, event)
    run = a_run(event, **overrides)
    await runs.add(db, run)
    return run


async def store_action(db: Connection, **overrides: Any) -> Action:
    """An action with its run in the store."""
    overrides = dict(overrides)
    run = overrides.pop("run", None)
    if run is None:
        received_at = overrides.get("received_at", NOON)
        run = await store_run(db, event=an_event(received_at=received_at))
    action = an_action(run, **overrides)
    await actions.add(db, [action])
    return action


def a_result(**overrides: Any) -> Result:
    """The first result of a run."""
    run_id = overrides.get("run_id", new_id())
    defaults: dict[str, Any] = {
        "id": new_id(),
        "type": ResultType.RUN_STARTED,
        "stream": run_id,
        "sequence": 1,
        "time": NOON,
        "delivery_id": new_id(),
        "run_id": run_id,
        "data": {"procedure": "homelab"},
    }
    return Result(**(defaults | overrides))
