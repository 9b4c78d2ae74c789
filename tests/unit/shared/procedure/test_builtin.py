"""The procedures that nobody has to write do what the URL says."""

from __future__ import annotations

import pytest

from shared.event import GlobalListener, Kind, Listener, ProcedureListener, StackListener
from shared.procedure.builtin import GLOBAL, for_listener
from shared.procedure.model import ExecutionCall, Procedure

ROWS: list[tuple[Listener, ExecutionCall]] = [
    (
        StackListener(name="web", execution="deploy"),
        ExecutionCall(type="DeployStackIfChanged", params={"stack": "web"}),
    ),
    (StackListener(name="web", execution="refresh"), ExecutionCall(type="RefreshStackCache", params={"stack": "web"})),
    (
        ProcedureListener(name="Nightly, all of it", branch="main"),
        ExecutionCall(type="RunProcedure", params={"procedure": "Nightly, all of it"}),
    ),
]


@pytest.mark.parametrize(("listener", "call"), ROWS)
def test_komodos_own_urls_are_procedures_of_one_execution(listener: Listener, call: ExecutionCall) -> None:
    stand_in = for_listener(listener)

    assert stand_in is not None
    assert [[line.execution for line in stage.executions] for stage in stand_in.stages] == [[call]]
    assert stand_in.trigger is None


def test_deploy_and_refresh_of_one_stack_are_different_procedures() -> None:
    names = {for_listener(listener).name for listener, _ in ROWS}  # type: ignore[union-attr]

    assert len(names) == len(ROWS)


def test_the_global_url_has_no_stand_in() -> None:
    assert for_listener(GlobalListener()) is None


def test_the_built_in_procedure_listens_for_pushes_and_leaves_alone_what_was_stopped() -> None:
    assert GLOBAL.trigger is not None
    assert (GLOBAL.trigger.listen, GLOBAL.trigger.events) == ("global", (Kind.PUSH,))
    ((line,),) = (stage.executions for stage in GLOBAL.stages)
    assert line.execution.type == "DeployStackIfChanged"
    assert line.target is not None
    assert line.target.state == "!down, !stopped, !paused"


def test_the_built_in_procedure_survives_being_stored() -> None:
    assert Procedure.model_validate_json(GLOBAL.model_dump_json()) == GLOBAL


def test_a_name_of_any_length_that_a_url_can_have_is_run() -> None:
    name = "x" * 255

    procedure = for_listener(ProcedureListener(name=name, branch="main"))

    assert procedure is not None
    assert procedure.stages[0].executions[0].execution.params == {"procedure": name}
