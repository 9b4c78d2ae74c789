"""The ways to run an action: a table from execution type to the function that runs one attempt of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from worker.executions import deploy_if_changed, plain
from worker.outcome import Outcome
from worker.running import Running

RUNNERS: dict[str, Callable[[Running], Awaitable[Outcome]]] = {
    "DeployStackIfChanged": deploy_if_changed.run,
    "RefreshStackCache": plain.refresh,
}


def runner_of(execution_type: str) -> Callable[[Running], Awaitable[Outcome]]:
    """How to run the type; whatever Komodo answers with a plain update needs nothing of its own."""
    return RUNNERS.get(execution_type, plain.run)
