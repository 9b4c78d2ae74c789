"""
DeployStackIfChanged, done by us so that it has a result: Komodo's own answers with an update that can not be found again, and says nothing
when nothing changed (Komodo v2.3.2, `bin/core/src/api/execute/stack.rs`).

Refresh the stack's files, make sure that they are the pushed commit's, compare as Komodo does, deploy what differs, and check what was deployed.
"""

from __future__ import annotations

from typing import Any

from shared.komodo.types import Change, StackDetail, changes
from shared.matching.repository import key_or_none, keys_of
from shared.states import Happening
from worker.outcome import Outcome, Settled, Unsettled
from worker.retries import Cause
from worker.running import Running, to_be_looked_up


async def run(running: Running) -> Outcome:
    """One attempt; the one after a deploy that left containers to be restarted does just that."""
    stack_id = running.action.params["stack"]
    if _is_restart_due(running):
        params = {"stack": stack_id, "services": running.notes["restart"]}
        return await conclude(running, await running.execute_and_wait("RestartStack", params))
    komodo = running.tools.komodo
    await komodo.write("RefreshStackCache", stack=stack_id)
    stack = await komodo.stack(stack_id)
    if problem := _problem(stack):
        return problem
    if await _follows(running, stack_id) and _is_stale(stack, running):
        return Unsettled(
            Cause.STALE_CHECKOUT, f"Komodo's checkout is at {stack.latest_hash}, not at the pushed commit yet"
        )
    change = changes(stack)
    if not change.deploys:
        detail = {"deployed_hash": stack.deployed_hash, **running.notes}
        if running.previous_outcome == Cause.STALE_DEPLOY:
            return Settled(Happening.SUCCEED, detail=detail)
        return Settled(Happening.UNCHANGE, change.reason, detail)
    await _note(running, stack, change)
    return await conclude(running, await running.execute_and_wait("DeployStack", _params(running, stack_id, change)))


async def conclude(running: Running, outcome: Outcome) -> Outcome:
    """
    Look at what a successful deploy has left: Komodo's agent has a checkout cache of its own, so it can be the commit before, and
    `compose up` leaves a container alone whose mounted file has changed.
    """
    if not isinstance(outcome, Settled) or outcome.happening is not Happening.SUCCEED:
        return outcome
    if _is_restart_due(running):
        return Settled(Happening.SUCCEED, detail={**running.notes, **outcome.detail})
    with to_be_looked_up():
        stack = await running.tools.komodo.stack(running.action.params["stack"])
    if problem := _stale_deploy(running, stack.deployed_hash):
        return problem
    detail = {**running.notes, **outcome.detail, "deployed_hash": stack.deployed_hash}
    if "restart" in running.notes:
        with to_be_looked_up():
            await running.note(**detail)
        return Unsettled(Cause.RESTART_DUE, "deployed, and now its services are restarted for their changed files")
    return Settled(Happening.SUCCEED, detail=detail)


def _is_restart_due(running: Running) -> bool:
    """Whether an earlier attempt has deployed, and left containers to be restarted."""
    return "restart" in running.notes and "deployed_hash" in running.notes


def _stale_deploy(running: Running, deployed: str | None) -> Unsettled | None:
    """
    The deploy itself sets Komodo's latest hash, so what was latest before it is what counts. A worker that has taken over does not know that, and
    refuses the commit from before the push.
    """
    wanted, before = running.notes.get("latest_hash"), running.event.before or ""
    if not deployed or deployed == wanted or (wanted is None and not before.startswith(deployed)):
        return None
    return Unsettled(Cause.STALE_DEPLOY, f"deployed {deployed}, but the branch is at {wanted or 'a later commit'}")


async def _note(running: Running, stack: StackDetail, change: Change) -> None:
    notes: dict[str, Any] = {"reason": change.reason, "latest_hash": stack.latest_hash}
    if change.services:
        notes["services"] = list(change.services)
    running.notes.pop("restart", None)
    if change.restart is None:
        running.notes.update(notes)
    else:
        # Once it is deployed nobody can tell any more that a restart was due.
        await running.note(**notes, restart=list(change.restart))


def _problem(stack: StackDetail) -> Unsettled | None:
    if stack.remote_errors:
        return Unsettled(Cause.FAILED, f"Komodo could not read the stack's files: {stack.remote_errors[0]}")
    if stack.missing_files:
        return Unsettled(Cause.FAILED, f"files are missing: {', '.join(stack.missing_files[:5])}")
    return None


async def _follows(running: Running, stack_id: str) -> bool:
    """Whether the stack follows the branch that was pushed, so that its commit can be compared with the event's."""
    stack = await running.tools.stacks.find(stack_id)
    event = running.event
    if stack is None or stack.pinned_commit or event.branch is None or event.branch != stack.branch:
        return False
    return key_or_none(stack.git_provider, stack.repo) in keys_of(event.repository)


def _is_stale(stack: StackDetail, running: Running) -> bool:
    """
    Whether Komodo's checkout may be older than the push.

    Once Komodo's cache has run out, what it has is the head of the branch, be it this push or a later one; only the commit from before the push
    is then still refused.
    """
    event, latest = running.event, stack.latest_hash
    pushed = event.commit or event.after
    if not latest or not pushed or pushed.startswith(latest):
        return False
    has_waited = running.previous_outcome in (Cause.STALE_CHECKOUT, Cause.STALE_DEPLOY)
    return not has_waited or bool(event.before and event.before.startswith(latest))


def _params(running: Running, stack_id: str, change: Change) -> dict[str, Any]:
    others = {key: value for key, value in running.action.params.items() if key == "stop_time"}
    return {"stack": stack_id, "services": list(change.services), **others}
