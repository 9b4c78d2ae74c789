"""
The execution types that are run here: which resource each one concerns, the param that names it, and the operations of the updates that Komodo
answers with.

Facts: Komodo v2.3.2, `client/core/rs/src/api/execute/*.rs`.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ExecutionKind:
    """
    `resource` is Komodo's resource type, `param` the param that holds its name or id. `operations` is empty where no update is made.
    """

    resource: str
    param: str
    operations: tuple[str, ...]


def _on_stack(name: str) -> ExecutionKind:
    return ExecutionKind("Stack", "stack", (name, f"{name}Service"))


EXECUTIONS: dict[str, ExecutionKind] = {
    **{
        name: _on_stack(name)
        for name in (
            "DeployStack",
            "PullStack",
            "StartStack",
            "RestartStack",
            "PauseStack",
            "UnpauseStack",
            "StopStack",
            "DestroyStack",
        )
    },
    "DeployStackIfChanged": ExecutionKind(
        "Stack", "stack", (*_on_stack("DeployStack").operations, *_on_stack("RestartStack").operations)
    ),
    "RefreshStackCache": ExecutionKind("Stack", "stack", ()),
    "RunProcedure": ExecutionKind("Procedure", "procedure", ("RunProcedure",)),
    "RunAction": ExecutionKind("Action", "action", ("RunAction",)),
    "RunBuild": ExecutionKind("Build", "build", ("RunBuild",)),
    "PullRepo": ExecutionKind("Repo", "repo", ("PullRepo",)),
    "CloneRepo": ExecutionKind("Repo", "repo", ("CloneRepo",)),
    "BuildRepo": ExecutionKind("Repo", "repo", ("BuildRepo",)),
    "RunSync": ExecutionKind("ResourceSync", "sync", ("RunSync",)),
}
