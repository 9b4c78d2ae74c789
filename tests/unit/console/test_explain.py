"""From stored traces to the sentence that a person wants to hear first."""

from __future__ import annotations

from typing import Any

import pytest

from console.explain import Told, explain
from shared.matching.index import StackIndex
from shared.matching.target import resolve
from shared.matching.trigger import match
from shared.procedure.model import Target, Trigger
from tests.builders import a_procedure, an_event
from tests.unit.shared.matching.stacks import a_stack

STACKS = StackIndex([a_stack("web"), a_stack("db", state="stopped"), a_stack("far", repo="acme/other")])
TARGET = Target(repo="@event", branch="@event", state="!stopped")


def triggers(*procedures: tuple[str, dict[str, Any]], **event: Any) -> dict[str, Any]:
    found = [a_procedure(name, trigger=Trigger.model_validate(trigger)) for name, trigger in procedures]
    return {"procedures": [match(one, an_event(**event)).to_trace() for one in found]}


def run(target: Target = TARGET, *, ended: dict[str, list[str]] | None = None, **event: Any) -> Told:
    trace = {"executions": [{"execution": 0, **resolve(target, an_event(**event), STACKS).to_trace()}]}
    return Told("homelab", "succeeded", [(0, trace)], ended or {})


STARTED = triggers(("homelab", {}))


@pytest.mark.parametrize(
    ("trace", "told", "stack", "sentence"),
    [
        (None, [], None, "No worker has planned this delivery yet."),
        ({"procedures": []}, [], None, "No procedure started: there is none that this URL is for."),
        (
            triggers(("homelab", {"branch": "main"}), branch="dev"),
            [],
            None,
            "No procedure started: homelab did not, because the branch does not match (branch is dev, wanted main).",
        ),
        (
            triggers(("a", {"branch": "main"}), ("b", {"branch": "prod"}), ("c", {"events": ["tag"]}), branch="dev"),
            [],
            None,
            "None of 3 procedures started: the branch does not match (2), not an event that it waits for (1).",
        ),
        (STARTED, [run(ended={"web": ["succeeded"]})], None, "homelab picked web (succeeded)."),
        (
            STARTED,
            [run(branch="dev")],
            None,
            "homelab started and picked no stack: another branch (2), another repository (1).",
        ),
        (STARTED, [Told("homelab", "running")], None, "homelab started, and no stage has been resolved yet."),
        (
            STARTED,
            [run(ended={"web": ["failed"]})],
            "web",
            "web was picked by homelab because of every predicate holds, and ended as failed.",
        ),
        (
            STARTED,
            [run()],
            "db",
            "db was left out by homelab: excluded by !stopped (state is stopped, wanted !stopped).",
        ),
        (
            STARTED,
            [run()],
            "far",
            "far was left out by homelab: another repository (repo is not known, wanted github.com/acme/homelab).",
        ),
    ],
)
def test_the_sentence_says_why(trace: Any, told: list[Told], stack: str | None, sentence: str) -> None:
    assert explain(trace, told, stack).sentence == sentence


def test_every_answer_is_a_row_of_the_table() -> None:
    rows = explain(STARTED, [run(ended={"web": ["succeeded"]})]).rows

    assert [(row.stack, row.answer, row.predicate, row.count) for row in rows] == [
        (None, "started", None, 1),
        ("web", "succeeded", None, 1),
        ("db", "left out", "state", 1),
        (None, "left out", "repo", 1),
    ]


def test_one_stack_has_its_own_rows_alone() -> None:
    rows = explain(STARTED, [run()], "db").rows

    assert [row.stack for row in rows if row.stage is not None] == ["db"]


def test_a_skipped_execution_is_a_row() -> None:
    told = Told(
        "homelab", "succeeded", [(0, {"executions": [{"execution": 0, "skipped": "the execution is disabled"}]})]
    )

    explanation = explain(STARTED, [told])

    assert explanation.sentence == "homelab started and picked no stack: the execution is disabled (1)."
    assert explanation.rows[-1].answer == "skipped"
