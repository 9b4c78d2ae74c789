"""A procedure that would not do what it says is refused when it is saved, with a text that says what to change."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from shared.komodo.types import STACK_STATES
from shared.procedure.executions import EXECUTIONS
from shared.procedure.model import TARGET_TYPES, Execution, Procedure, Retry, Target, Trigger

BY_TARGET: dict[str, Any] = {"target": {"name": "web"}}


@pytest.mark.parametrize(("kind", "execution"), EXECUTIONS.items(), ids=EXECUTIONS)
def test_every_execution_runs_on_the_resource_that_its_param_names(kind: str, execution: Any) -> None:
    line = Execution.model_validate({"execution": {"type": kind, "params": {execution.param: "x"}}})

    assert line.execution.params == {execution.param: "x"}


@pytest.mark.parametrize("kind", EXECUTIONS)
def test_only_executions_on_stacks_take_a_target(kind: str) -> None:
    line = {"execution": {"type": kind}, **BY_TARGET}

    if EXECUTIONS[kind].resource == "Stack":
        assert Execution.model_validate(line).target == Target(name="web")
    else:
        with pytest.raises(ValidationError, match="a target picks stacks"):
            Execution.model_validate(line)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "an unknown type": ({"execution": {"type": "PruneSystem"}}, "PruneSystem is not an execution that is run here"),
    "a type in another case": ({"execution": {"type": "deploystack"}}, "there are BuildRepo, "),
    "no target and no resource": ({"execution": {"type": "DeployStack"}}, "needs a target, or the param stack"),
    "an empty resource": ({"execution": {"type": "RunSync", "params": {"sync": ""}}}, "or the param sync"),
    "a resource that is no text": ({"execution": {"type": "RunSync", "params": {"sync": 1}}}, "or the param sync"),
    "both": ({"execution": {"type": "PullStack", "params": {"stack": "a"}}, **BY_TARGET}, "keep one of the two"),
    "a key that does nothing": ({"execution": {"type": "PullStack"}, "retires": 3, **BY_TARGET}, "Extra inputs"),
    "a target's key that does nothing": ({"execution": {"type": "PullStack"}, "target": {"nmae": "x"}}, "Extra inputs"),
    "a timeout without a unit": ({"execution": {"type": "PullStack"}, "timeout": "15", **BY_TARGET}, "write 500ms"),
    "a timeout of nothing": ({"execution": {"type": "PullStack"}, "timeout": "0s", **BY_TARGET}, "greater than 0"),
}


@pytest.mark.parametrize(("line", "text"), REFUSED.values(), ids=REFUSED)
def test_an_execution_that_can_not_run_is_refused(line: dict[str, Any], text: str) -> None:
    with pytest.raises(ValidationError, match=text):
        Execution.model_validate(line)


@pytest.mark.parametrize("field", ["name", "server", "repo", "branch", "type", "tag", "state"])
def test_a_pattern_list_of_a_target_that_can_not_be_read_is_refused(field: str) -> None:
    with pytest.raises(ValidationError, match="a backslash escapes only"):
        Target.model_validate({field: r"a\b"})


@pytest.mark.parametrize("field", ["repo", "branch"])
def test_a_pattern_list_of_a_trigger_that_can_not_be_read_is_refused(field: str) -> None:
    with pytest.raises(ValidationError, match="not a pattern"):
        Trigger.model_validate({field: "main, \\(\\"})


@pytest.mark.parametrize(
    ("field", "text"), [("state", "running, stoped"), ("state", "!Down"), ("type", "linked_repo"), ("type", "swarms")]
)
def test_a_word_that_no_stack_can_have_is_refused_with_those_that_there_are(field: str, text: str) -> None:
    with pytest.raises(ValidationError, match="is none of"):
        Target.model_validate({field: text})


def test_every_word_and_a_pattern_of_words_is_taken() -> None:
    target = Target(state=", ".join(STACK_STATES), type=", ".join(f"!{word}" for word in TARGET_TYPES))

    assert Target(state="re*", type=r"\git|repo\ ".strip()) != target


LENGTHS: list[tuple[Any, float]] = [("500ms", 0.5), ("5s", 5.0), ("1.5m", 90.0), ("1h", 3600.0), (12, 12.0)]


@pytest.mark.parametrize(("text", "seconds"), LENGTHS)
def test_a_length_of_time_is_written_with_its_unit(text: Any, seconds: float) -> None:
    assert Retry(initial=text).initial == seconds


def test_a_procedure_survives_being_stored() -> None:
    procedure = Procedure.model_validate(
        {
            "name": "homelab",
            "trigger": {"events": ["push", "tag"], "repo": "github.com/acme/*", "branch": "main, !dev"},
            "stages": [
                {
                    "name": "Databases first",
                    "on_failure": "continue",
                    "executions": [
                        {
                            "execution": {"type": "DeployStackIfChanged"},
                            "target": {"name": "db-*", "repo": "@event", "affected": True},
                            "retry": {"attempts": 5, "initial": "5s", "max": "5m"},
                            "timeout": "15m",
                        }
                    ],
                }
            ],
        }
    )

    assert Procedure.model_validate_json(procedure.model_dump_json()) == procedure
