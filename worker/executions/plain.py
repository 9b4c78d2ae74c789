"""Executions that are one call to Komodo: the update that it answers with says how it ended."""

from __future__ import annotations

from shared.states import Happening
from worker.outcome import Outcome, Settled
from worker.running import Running


async def run(running: Running) -> Outcome:
    """Call it, wait for its update."""
    return await running.execute_and_wait(running.action.type, running.action.params)


async def refresh(running: Running) -> Outcome:
    """`RefreshStackCache` answers when it is done and has no update; the stack tells whether Komodo could read its files."""
    komodo = running.tools.komodo
    await komodo.write("RefreshStackCache", **running.action.params)
    stack = await komodo.stack(running.action.params["stack"])
    if stack.remote_errors:
        return Settled(Happening.FAIL, f"Komodo could not read the files: {stack.remote_errors[0]}")
    return Settled(Happening.SUCCEED, detail={"latest_hash": stack.latest_hash})
