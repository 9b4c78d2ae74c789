"""
The procedures that nobody has to write: `global`, which every installation begins with, and those that stand for Komodo's own webhook URLs.
"""

from __future__ import annotations

from shared.event import Kind, Listener, ProcedureListener, StackListener
from shared.procedure.model import EVENT_REF, MAX_NAME, Execution, ExecutionCall, Procedure, Stage, Target, Trigger

# Written out, so that whoever edits it sees it: a webhook must not start what a person has stopped.
NOT_STOPPED = "!down, !stopped, !paused"

GLOBAL = Procedure(
    name="global",
    description="Deploy every stack of the pushed repository and branch that the push affects",
    trigger=Trigger(listen="global", events=(Kind.PUSH,)),
    stages=(
        Stage(
            name="Deploy what changed",
            executions=(
                Execution(
                    execution=ExecutionCall(type="DeployStackIfChanged"),
                    target=Target(repo=EVENT_REF, branch=EVENT_REF, affected=True, state=NOT_STOPPED),
                ),
            ),
        ),
    ),
)

_STACK_EXECUTIONS = {"deploy": "DeployStackIfChanged", "refresh": "RefreshStackCache"}


def for_listener(listener: Listener) -> Procedure | None:
    """What Komodo's own URL asks for, as a procedure of one execution; None for the global URL."""
    match listener:
        case StackListener(name=name, execution=execution):
            return _single(f"stack/{name}/{execution}", _STACK_EXECUTIONS[execution], {"stack": name})
        case ProcedureListener(name=name):
            return _single(f"procedure/{name}", "RunProcedure", {"procedure": name})
        case _:
            return None


def _single(name: str, kind: str, params: dict[str, str]) -> Procedure:
    call = ExecutionCall(type=kind, params=params)
    # A name in a URL may be longer; what is run is in the params.
    return Procedure(name=name[:MAX_NAME], stages=(Stage(name=kind, executions=(Execution(execution=call),)),))
