"""`RefreshStackCache`: it answers when it is done and has no update; the stack tells whether Komodo could read its files."""

from __future__ import annotations

from shared.states import Happening
from worker.outcome import Outcome, Settled
from worker.running import Running


async def run(running: Running) -> Outcome:
    """Refresh, then look."""
    komodo, stack_id = running.tools.komodo, running.action.params["stack"]
    await komodo.write("RefreshStackCache", stack=stack_id)
    stack = await komodo.stack(stack_id)
    if stack.remote_errors:
        return Settled(Happening.FAIL, f"Komodo could not read the files: {stack.remote_errors[0]}")
    return Settled(Happening.SUCCEED, detail={"latest_hash": stack.latest_hash})


async def conclude(running: Running, outcome: Outcome) -> Outcome:
    """There is no update that could be found."""
    return outcome
