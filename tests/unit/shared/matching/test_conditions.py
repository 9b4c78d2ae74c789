"""Conditions: wrong ones are refused when they are saved, right ones never raise."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from shared.event import Image, Kind
from shared.matching import conditions
from shared.matching.conditions import Condition, ConditionError, Previous, Scope
from shared.procedure.model import Target, Trigger
from tests.builders import an_event
from tests.unit.shared.matching.stacks import a_stack


@pytest.mark.parametrize(
    ("text", "where", "why"),
    [
        ("evnt.branch == 'main'", "1:5", "undeclared reference to 'evnt.branch'"),
        ("event.branch ==", "1:16", "Syntax error"),
        ("event.branch == 3", "1:14", "no matching overload"),
        ("event.forced &&\n  event.colour == 'red'", "2:8", "undeclared reference to 'event.colour'"),
        ("event.branch", "1:1", "is string"),
        ("stack.name == 'web'", "1:6", "undeclared reference"),
        ("x" * 3_000, "1:2000", "more than 2000 characters"),
    ],
)
def test_a_wrong_condition_is_refused_with_line_and_column(text: str, where: str, why: str) -> None:
    with pytest.raises(ConditionError) as refused:
        Condition.parse(text, Scope.TRIGGER)

    assert str(refused.value).startswith(f"{where}: ")
    assert why in str(refused.value)


def test_a_procedure_with_a_wrong_condition_can_not_be_saved() -> None:
    with pytest.raises(ValidationError, match=r"1:6: undeclared reference to 'stack\.name'"):
        Trigger(condition="stack.name == 'web'")
    with pytest.raises(ValidationError, match=r"1:9: undeclared reference to 'previous\.failed'"):
        Target(condition="previous.failed == 0")


EVENT = an_event(message="Release 1.4", changed_paths=("stacks/web/compose.yaml", "README.md"))


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("event.branch == 'main'", True),
        ("event.tag == ''", True),
        ("!event.forced", True),
        ("event.repo.startsWith('acme/')", True),
        ("event.changed_paths.exists(path, path.endsWith('.md'))", True),
        ("event.changed_paths.all(path, path.endsWith('.md'))", False),
        ("event.message.matches('^Release [0-9]+')", True),
        ("event.kind in ['push', 'tag']", True),
        ("event.image == ''", True),
    ],
)
def test_what_an_event_says(text: str, holds: bool) -> None:
    answer = Condition.parse(text, Scope.TRIGGER).ask(conditions.of_event(EVENT))

    assert (answer.holds, answer.error) == (holds, None)


def test_what_an_image_says() -> None:
    event = an_event(kind=Kind.IMAGE, image=Image(registry="ghcr.io", name="acme/app", tag="1.4"))
    text = "event.image == 'ghcr.io/acme/app' && event.image_tag == '1.4' && event.image_digest == ''"

    assert Condition.parse(text, Scope.TRIGGER).ask(conditions.of_event(event)).holds


def test_what_a_stack_says() -> None:
    stack = a_stack(tags=("prod",))
    text = "stack.name == 'web' && 'prod' in stack.tags && stack.state != 'stopped' && stack.images.size() == 0"
    values = {**conditions.of_event(EVENT), **conditions.of_stack(stack)}

    assert Condition.parse(text, Scope.TARGET).ask(values).holds


@pytest.mark.parametrize(("failed", "holds"), [(0, True), (1, False)])
def test_what_the_stage_before_says(failed: int, holds: bool) -> None:
    values = {**conditions.of_event(EVENT), **conditions.of_previous(Previous(total=3, failed=failed))}

    assert Condition.parse("previous.failed == 0", Scope.EXECUTION).ask(values).holds is holds


def test_a_condition_that_can_not_be_evaluated_does_not_hold_and_says_why() -> None:
    decision = conditions.decide("event.changed_paths[7] == 'x'", Scope.TRIGGER, conditions.of_event(EVENT))

    assert decision is not None
    assert decision.reason == "the condition could not be evaluated"
    assert "index" in (decision.found or "").lower()


@given(
    message=st.text(max_size=80),
    branch=st.none() | st.text(max_size=20),
    paths=st.none() | st.lists(st.text(max_size=20), max_size=5),
)
def test_no_event_makes_it_raise(message: str, branch: str | None, paths: list[str] | None) -> None:
    event = an_event(message=message, branch=branch, changed_paths=None if paths is None else tuple(paths))
    text = "event.message.contains('x') || event.branch == 'main' || event.changed_paths.exists(p, p.matches('^a+$'))"
    expected = "x" in message or branch == "main" or any(path and not path.strip("a") for path in paths or ())

    assert Condition.parse(text, Scope.TRIGGER).ask(conditions.of_event(event)).holds is expected


@given(text=st.text(max_size=40) | st.text(alphabet="event.brach=!&|()[]'\\\"0 \n", max_size=40))
def test_a_text_is_a_condition_or_is_refused(text: str) -> None:
    with contextlib.suppress(ConditionError):
        assert Condition.parse(text, Scope.TARGET).text == text
