"""The ways to run an action: a table from execution type to the module that runs one attempt of it."""

from __future__ import annotations

from typing import Protocol

from worker.executions import deploy_if_changed, plain, refresh
from worker.outcome import Outcome
from worker.running import Running


class ExecutionModule(Protocol):
    """What each of these modules offers."""

    async def run(self, running: Running) -> Outcome:
        """One attempt, from its beginning."""

    async def conclude(self, running: Running, outcome: Outcome) -> Outcome:
        """What is left to do once Komodo's update has ended, also when another worker had begun it."""


MODULES: dict[str, ExecutionModule] = {
    "DeployStackIfChanged": deploy_if_changed,
    "RefreshStackCache": refresh,
}


def execution_of(execution_type: str) -> ExecutionModule:
    """How to run the type; what Komodo answers with an update needs nothing of its own."""
    return MODULES.get(execution_type, plain)
