"""Executions that are one call to Komodo: the update that it answers with says how it ended."""

from __future__ import annotations

from worker.outcome import Outcome
from worker.running import Running


async def run(running: Running) -> Outcome:
    """Call it, wait for its update."""
    return await conclude(running, await running.execute_and_wait(running.action.type, running.action.params))


async def conclude(running: Running, outcome: Outcome) -> Outcome:
    """The update has said it all."""
    return outcome
