"""
The executions: which there are, how they are accepted, and how they are run to their end.

`accept` answers before any permission or busy check; `supervise` then runs the work and turns whatever it raises into
a log "Task Error". The Updates that DeployStackIfChanged makes inside are not supervised: if their work is refused
they stay InProgress, as in Komodo.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from demo.core import params as read
from demo.core import patterns, procedures, work
from demo.core.accounts import PROCEDURE, Account
from demo.core.errors import BadParams, CoreError, not_found
from demo.core.history import ExecutionRecord
from demo.core.resources import Json, Resource
from demo.core.state import State
from demo.core.updates import Update, error_log
from demo.core.work import Execution


@dataclass(frozen=True)
class Kind:
    """
    A row of the table: what an execution is for and how it runs. `field` names the parameter with its target, `also`
    the other texts that it can not do without.

    Without `stored` the answer has no `_id` and the Update is never found.
    """

    target: str
    field: str
    run: Callable[[Execution], Awaitable[None]]
    stored: bool = True
    operation: str = ""
    by_service: bool = False
    also: tuple[str, ...] = ()


def accept(state: State, variant: str, params: Json, account: Account) -> Execution:
    """
    Make the Update of an execution. Raises only for bad parameters and a missing target.
    """
    kind = EXECUTIONS[variant]
    services = read.text_list(params, "services") if kind.by_service else []
    read.optional_object(params, "args")
    for needed in kind.also:
        read.text(params, needed)
    resource = _target(state, kind, params)
    operation = (kind.operation or variant) + ("Service" if services else "")
    update = state.start_update(operation, account, resource, stored=kind.stored)
    record = ExecutionRecord(
        variant=variant,
        params=params,
        user=account.username,
        resource=resource.name if resource else "",
        update_id=update.id or None,
        at_ms=state.now_ms(),
    )
    state.history.executions.append(record)
    return Execution(
        state=state,
        variant=variant,
        params=params,
        account=account,
        resource=resource,
        update=update,
        record=record,
    )


def _target(state: State, kind: Kind, params: Json) -> Resource | None:
    if not kind.field:
        return None
    resource: Resource = state.shelves[kind.target].find(read.text(params, kind.field))
    if resource.name in state.knobs.vanished:
        raise not_found(kind.target, resource.name)
    return resource


async def supervise(execution: Execution) -> None:
    """
    Run an accepted execution to its end. Never raises for a refusal: that is in the Update.
    """
    state, record = execution.state, execution.record
    if state.knobs.loses(record.resource):
        record.outcome = "lost"
        return
    try:
        if execution.resource is not None:
            state.require(execution.account, execution.resource, "Execute")
        await EXECUTIONS[execution.variant].run(execution)
    except CoreError as refusal:
        if record.outcome == "accepted":
            record.outcome = refusal.outcome
        execution.update.logs.append(error_log("Task Error", refusal.message, state.now_ms()))
    execution.ends()
    record.success = execution.update.success


def start(state: State, variant: str, params: Json, account: Account) -> Json:
    """
    Accept, answer, and go on in the background.
    """
    execution = accept(state, variant, params, account)
    state.spawn(supervise(execution), name=f"{variant} {execution.record.resource}")
    return execution.update.wire()


def start_batch(state: State, variant: str, params: Json, account: Account) -> list[Json]:
    """
    Start the single execution on everything that matches; each item has its own outcome.
    """
    single = BATCHES[variant]
    kind = EXECUTIONS[single]
    results: list[Json] = []
    for resource in matching(state, kind.target, params, account):
        try:
            results.append({"status": "Ok", "data": start(state, single, {kind.field: resource.name}, account)})
        except CoreError as error:
            body = {"error": error.message, "trace": list(error.trace)}
            results.append({"status": "Err", "data": {"name": resource.name, "error": body}})
    return results


def matching(state: State, target: str, params: Json, account: Account, *, with_tags: bool = True) -> list[Resource]:
    """
    Pick what the batch pattern and tags mean among all that the user may execute, templates included.
    """
    entries = [patterns.compile_entry(entry) for entry in patterns.split(read.text(params, "pattern"))]
    tags = [state.tag_id(tag) for tag in read.text_list(params, "tags")] if with_tags else []
    return [
        resource
        for resource in state.shelves[target]
        if any(matches(resource.name) for matches in entries)
        and all(tag in resource.tags for tag in tags)
        and state.may(account, resource, "Execute")
    ]


def _expand(state: State, entry: Json) -> list[tuple[str, Json]]:
    """
    Turn a batch into single executions by name, as the admin that Procedures run as. Its tags are ignored.
    """
    variant, params = entry["type"], entry["params"]
    single = BATCHES.get(variant)
    if single is None:
        return [(variant, params)]
    kind = EXECUTIONS[single]
    return [
        (single, {kind.field: resource.name})
        for resource in matching(state, kind.target, params, PROCEDURE, with_tags=False)
    ]


async def _run_single(state: State, variant: str, params: Json) -> Update:
    """
    Run one execution of a Procedure to its end.
    """
    if variant not in EXECUTIONS:
        raise BadParams(f"unknown variant `{variant}`")
    child = accept(state, variant, params, PROCEDURE)
    await supervise(child)
    return child.update


async def _run_procedure(execution: Execution) -> None:
    await procedures.run(execution, expand=_expand, run_single=_run_single)


def _on_stack(run: Callable[[Execution], Awaitable[None]]) -> Kind:
    return Kind("Stack", "stack", run, by_service=True)


EXECUTIONS: dict[str, Kind] = {
    "DeployStack": _on_stack(work.deploy_stack),
    "DeployStackIfChanged": Kind("Stack", "stack", work.deploy_if_changed, stored=False, operation="DeployStack"),
    "PullStack": _on_stack(work.pull_stack),
    **{variant: _on_stack(work.compose_stack) for variant in work.COMPOSE},
    **{variant: Kind("Repo", "repo", work.fetch_repo) for variant in ("CloneRepo", "PullRepo", "BuildRepo")},
    "RunProcedure": Kind("Procedure", "procedure", _run_procedure),
    "RunAction": Kind("Action", "action", work.run_job),
    "RunBuild": Kind("Build", "build", work.run_job),
    "RunSync": Kind("ResourceSync", "sync", work.run_job),
    "SendAlert": Kind("System", "", work.send_alert, also=("message",)),
}

BATCHES = {
    "BatchDeployStack": "DeployStack",
    "BatchDeployStackIfChanged": "DeployStackIfChanged",
    "BatchPullStack": "PullStack",
    "BatchDestroyStack": "DestroyStack",
    "BatchCloneRepo": "CloneRepo",
    "BatchPullRepo": "PullRepo",
    "BatchBuildRepo": "BuildRepo",
    "BatchRunProcedure": "RunProcedure",
    "BatchRunAction": "RunAction",
    "BatchRunBuild": "RunBuild",
}
