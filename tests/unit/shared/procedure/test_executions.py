"""The table of executions names what Komodo calls things, so that a worker finds the update of what another had begun (I2)."""

from __future__ import annotations

import pytest

from shared.procedure.executions import EXECUTIONS

# From `client/core/rs/src/entities/update.rs` and `api/execute` of Komodo v2.3.2.
OPERATIONS: dict[str, tuple[str, str, set[str]]] = {
    "DeployStack": ("Stack", "stack", {"DeployStack", "DeployStackService"}),
    # Some changes ask for a restart after the deploy, which is an execution of its own.
    "DeployStackIfChanged": (
        "Stack",
        "stack",
        {"DeployStack", "DeployStackService", "RestartStack", "RestartStackService"},
    ),
    "PullStack": ("Stack", "stack", {"PullStack", "PullStackService"}),
    "StartStack": ("Stack", "stack", {"StartStack", "StartStackService"}),
    "RestartStack": ("Stack", "stack", {"RestartStack", "RestartStackService"}),
    "PauseStack": ("Stack", "stack", {"PauseStack", "PauseStackService"}),
    "UnpauseStack": ("Stack", "stack", {"UnpauseStack", "UnpauseStackService"}),
    "StopStack": ("Stack", "stack", {"StopStack", "StopStackService"}),
    "DestroyStack": ("Stack", "stack", {"DestroyStack", "DestroyStackService"}),
    "RefreshStackCache": ("Stack", "stack", set()),
    "RunProcedure": ("Procedure", "procedure", {"RunProcedure"}),
    "RunAction": ("Action", "action", {"RunAction"}),
    "RunBuild": ("Build", "build", {"RunBuild"}),
    "PullRepo": ("Repo", "repo", {"PullRepo"}),
    "CloneRepo": ("Repo", "repo", {"CloneRepo"}),
    "BuildRepo": ("Repo", "repo", {"BuildRepo"}),
    "RunSync": ("ResourceSync", "sync", {"RunSync"}),
}


@pytest.mark.parametrize(("kind", "expected"), OPERATIONS.items(), ids=OPERATIONS)
def test_an_execution_has_komodos_resource_param_and_operations(kind: str, expected: tuple[str, str, set[str]]) -> None:
    row = EXECUTIONS[kind]

    assert (row.resource, row.param, set(row.operations)) == expected


def test_every_execution_is_in_this_table() -> None:
    assert EXECUTIONS.keys() == OPERATIONS.keys()
