"""What comes next in a run, for every mix of stage states and action counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.procedure.model import Procedure
from shared.states import (
    ENDED_ACTION,
    FAILED_ACTION,
    OPEN_ACTION,
    STAGE,
    ActionState,
    Happening,
    RunState,
    StageState,
)
from shared.store.runs import Stage, pending_stages
from tests.builders import a_procedure, a_run, a_stage, an_action, at
from worker.advance import (
    BeginStage,
    Change,
    Counts,
    EndRun,
    LeaveStage,
    Standing,
    StartStage,
    Step,
    Wait,
    follow,
    next_step,
)

PENDING, RUNNING, SUCCEEDED, FAILED, SKIPPED = (
    StageState.PENDING,
    StageState.RUNNING,
    StageState.SUCCEEDED,
    StageState.FAILED,
    StageState.SKIPPED,
)


def stages_in(*states: StageState) -> list[Stage]:
    return [Stage("run", position, f"stage {position}", state) for position, state in enumerate(states)]


def procedure_of(*settings: Mapping[str, Any]) -> Procedure:
    return a_procedure(stages=tuple(a_stage(f"stage {number}", **entry) for number, entry in enumerate(settings)))


def step_for(*states: StageState, counts: Mapping[int, Counts] | None = None, **settings: Any) -> Step:
    """The next step of a run whose stages all have the same settings."""
    return next_step(procedure_of(*[settings] * len(states)), stages_in(*states), counts or {})


def test_a_run_begins_with_its_first_stage() -> None:
    assert step_for(PENDING, PENDING) == BeginStage(0)


@pytest.mark.parametrize("state", sorted(OPEN_ACTION))
def test_a_stage_with_an_open_action_is_waited_for(state: ActionState) -> None:
    counts = {0: {state: 1, ActionState.FAILED: 3, ActionState.SUCCEEDED: 2}}

    assert step_for(RUNNING, PENDING, counts=counts) == Wait()


@pytest.mark.parametrize("state", sorted(ENDED_ACTION - FAILED_ACTION))
def test_a_stage_whose_actions_ended_without_a_failure_has_succeeded(state: ActionState) -> None:
    step = step_for(RUNNING, counts={0: {state: 2}})

    assert isinstance(step, LeaveStage)
    assert (step.happening, step.reason) == (Happening.SUCCEED, None)


@pytest.mark.parametrize("state", sorted(FAILED_ACTION))
def test_a_stage_with_a_failed_action_has_failed_and_says_how_many(state: ActionState) -> None:
    step = step_for(RUNNING, counts={0: {state: 1, ActionState.SUCCEEDED: 2}})

    assert isinstance(step, LeaveStage)
    assert (step.happening, step.reason) == (Happening.FAIL, "1 of 3 actions failed")


def test_a_stage_that_resolved_to_nothing_has_succeeded() -> None:
    step = step_for(RUNNING)

    assert isinstance(step, LeaveStage)
    assert step.happening is Happening.SUCCEED


@pytest.mark.parametrize("ended", [SUCCEEDED, SKIPPED])
def test_the_next_stage_begins_after_one_that_ended_well(ended: StageState) -> None:
    assert step_for(ended, PENDING) == BeginStage(1)


def test_stages_after_a_failed_one_are_skipped() -> None:
    step = step_for(FAILED, PENDING, PENDING)

    assert isinstance(step, LeaveStage)
    assert (step.stage.position, step.happening, step.reason) == (1, Happening.SKIP, "an earlier stage failed")


def test_stages_after_a_failed_one_go_on_where_its_policy_says_so() -> None:
    assert step_for(FAILED, PENDING, on_failure="continue") == BeginStage(1)


def test_a_failure_that_stops_is_not_forgotten_behind_a_stage_that_was_skipped() -> None:
    procedure = procedure_of({"on_failure": "stop"}, {"on_failure": "continue"}, {"on_failure": "continue"})

    step = next_step(procedure, stages_in(FAILED, SKIPPED, PENDING), {})

    assert isinstance(step, LeaveStage)
    assert step.happening is Happening.SKIP


def test_a_disabled_stage_is_skipped_and_says_why() -> None:
    step = step_for(PENDING, enabled=False)

    assert isinstance(step, LeaveStage)
    assert (step.happening, step.reason) == (Happening.SKIP, "the stage is disabled")


def test_a_run_without_stages_has_nothing_to_do() -> None:
    assert next_step(a_procedure(stages=()), [], {}) == EndRun(Happening.SUCCEED, "nothing matched")


ENDS: list[tuple[str, list[StageState], dict[int, Counts], Happening, str | None]] = [
    ("all well", [SUCCEEDED, SUCCEEDED], {0: {ActionState.SUCCEEDED: 1}}, Happening.SUCCEED, None),
    ("unchanged is well", [SUCCEEDED], {0: {ActionState.UNCHANGED: 1}}, Happening.SUCCEED, None),
    ("nothing matched", [SUCCEEDED], {}, Happening.SUCCEED, "nothing matched"),
    ("every stage disabled", [SKIPPED], {}, Happening.SUCCEED, "nothing matched"),
    ("one stage failed", [FAILED, SKIPPED], {0: {ActionState.FAILED: 1}}, Happening.FAIL, None),
    ("a failed stage, gone on", [FAILED, SUCCEEDED], {1: {ActionState.SUCCEEDED: 1}}, Happening.FAIL, None),
    (
        "failed before it was cancelled",
        [FAILED],
        {0: {ActionState.CANCELLED: 1, ActionState.FAILED: 1}},
        Happening.FAIL,
        None,
    ),
    (
        "something was cancelled",
        [SUCCEEDED],
        {0: {ActionState.CANCELLED: 1, ActionState.SUCCEEDED: 1}},
        Happening.CANCEL,
        "cancelled",
    ),
    (
        "all superseded",
        [SUCCEEDED],
        {0: {ActionState.SUPERSEDED: 2}},
        Happening.CANCEL,
        "superseded by a newer event",
    ),
    (
        "some superseded",
        [SUCCEEDED],
        {0: {ActionState.SUPERSEDED: 2, ActionState.UNCHANGED: 1}},
        Happening.SUCCEED,
        None,
    ),
]


@pytest.mark.parametrize(
    ("states", "counts", "happening", "reason"), [row[1:] for row in ENDS], ids=[row[0] for row in ENDS]
)
def test_a_run_ends_as_its_stages_and_actions_did(
    states: list[StageState], counts: dict[int, Counts], happening: Happening, reason: str | None
) -> None:
    assert step_for(*states, counts=counts) == EndRun(happening, reason)


def test_a_failed_run_gives_the_reasons_of_its_failed_stages() -> None:
    stages = [
        replace(stage, reason=reason)
        for stage, reason in zip(
            stages_in(FAILED, SUCCEEDED, FAILED), ("1 of 2 actions failed", None, "Komodo does not answer"), strict=True
        )
    ]

    step = next_step(procedure_of({}, {}, {}), stages, {})

    assert step == EndRun(Happening.FAIL, "1 of 2 actions failed; Komodo does not answer")


settings = st.fixed_dictionaries({"enabled": st.booleans(), "on_failure": st.sampled_from(("stop", "continue"))})
state_counts = st.dictionaries(st.sampled_from(list(ActionState)), st.integers(0, 3), max_size=4)


@st.composite
def situations(draw: st.DrawFn) -> tuple[Procedure, list[Stage], dict[int, Counts]]:
    """Any mix, reachable or not."""
    states = draw(st.lists(st.sampled_from(list(StageState)), max_size=5))
    procedure = procedure_of(*(draw(settings) for _ in states))
    counts: dict[int, Counts] = {position: draw(state_counts) for position in range(len(states)) if draw(st.booleans())}
    return procedure, stages_in(*states), counts


@given(situations())
def test_every_situation_has_exactly_one_step_that_its_state_allows(
    situation: tuple[Procedure, list[Stage], dict[int, Counts]],
) -> None:
    procedure, stages, counts = situation

    step = next_step(procedure, stages, counts)

    match step:
        case Wait():
            assert any(stage.state is RUNNING and _is_open(counts, stage) for stage in stages)
        case LeaveStage(stage, happening, _):
            assert (stage.state, happening) in STAGE
            assert not _is_open(counts, stage) or stage.state is PENDING
            assert (
                stage.state is RUNNING
                or not procedure.stages[stage.position].enabled
                or _is_stopped(procedure, stages, stage.position)
            )
        case BeginStage(position):
            assert stages[position].state is PENDING
            assert procedure.stages[position].enabled
        case EndRun(happening, _):
            assert {stage.state for stage in stages} <= {SUCCEEDED, FAILED, SKIPPED}
            assert (happening is Happening.FAIL) == any(stage.state is FAILED for stage in stages)


@given(situations())
def test_i4_a_stage_begins_only_when_all_before_it_have_ended_and_none_of_them_stops_the_run(
    situation: tuple[Procedure, list[Stage], dict[int, Counts]],
) -> None:
    procedure, stages, counts = situation

    step = next_step(procedure, stages, counts)

    if isinstance(step, BeginStage):
        assert all(stage.state in (SUCCEEDED, FAILED, SKIPPED) for stage in stages[: step.position])
        assert not _is_stopped(procedure, stages, step.position)


@given(
    st.lists(settings, max_size=5),
    st.lists(
        st.dictionaries(st.sampled_from(sorted(ENDED_ACTION)), st.integers(1, 3), max_size=3), min_size=5, max_size=5
    ),
)
def test_a_run_comes_to_its_end_whatever_its_actions_do(
    stage_settings: list[dict[str, Any]], endings: list[dict[ActionState, int]]
) -> None:
    procedure = procedure_of(*stage_settings)
    stages = stages_in(*[PENDING] * len(stage_settings))
    counts: dict[int, Counts] = {}
    begun: list[int] = []
    step: Step = Wait()
    for _ in range(2 * len(stages) + 1):
        step = next_step(procedure, stages, counts)
        match step:
            case BeginStage(position):
                begun.append(position)
                stages[position] = replace(stages[position], state=RUNNING)
                counts[position] = endings[position]
            case LeaveStage(stage, happening, reason):
                stages[stage.position] = replace(stage, state=STAGE[stage.state, happening], reason=reason)
            case _:
                break

    assert isinstance(step, EndRun)
    assert begun == sorted(set(begun))
    failed = [position for position in begun if FAILED_ACTION & set(counts[position])]
    assert (step.happening is Happening.FAIL) == bool(failed)
    stopping = [position for position in failed if procedure.stages[position].on_failure == "stop"]
    assert all(position <= stopping[0] for position in begun if stopping)


def _is_open(counts: Mapping[int, Counts], stage: Stage) -> bool:
    return any(counts.get(stage.position, {}).get(state) for state in OPEN_ACTION)


def _is_stopped(procedure: Procedure, stages: Sequence[Stage], position: int) -> bool:
    return any(
        stage.state is FAILED and procedure.stages[stage.position].on_failure == "stop" for stage in stages[:position]
    )


def planned(*settings: Mapping[str, Any]) -> Standing:
    run = a_run(definition=procedure_of(*settings))
    return Standing(run, pending_stages(run), {})


def kinds(changes: list[tuple[Standing, Change]]) -> list[type[Change]]:
    return [type(change) for _, change in changes]


def test_a_stage_that_resolves_to_nothing_begins_and_ends_with_its_run_in_one_go() -> None:
    standing = planned({})

    changes = follow(standing, StartStage(standing.stages[0], [], None), at(1))

    assert kinds(changes) == [StartStage, LeaveStage, EndRun]
    before, end = changes[-1]
    ended = before.after(end, at(1))
    assert (ended.run.state, ended.run.reason, ended.run.ended_at) == (RunState.SUCCEEDED, "nothing matched", at(1))
    assert [(stage.state, stage.started_at, stage.ended_at) for stage in ended.stages] == [(SUCCEEDED, at(1), at(1))]


def test_nothing_follows_a_stage_with_actions() -> None:
    standing = planned({}, {})

    changes = follow(standing, StartStage(standing.stages[0], [an_action(standing.run)], None), at(1))

    assert kinds(changes) == [StartStage]


def test_what_follows_ends_where_komodo_is_to_be_asked() -> None:
    standing = planned({}, {"enabled": False}, {})

    changes = follow(standing, StartStage(standing.stages[0], [], None), at(1))

    assert [(type(change), standing.stages[1].state) for standing, change in changes] == [
        (StartStage, PENDING),
        (LeaveStage, PENDING),
        (LeaveStage, PENDING),
    ]
    before, skipped = changes[-1]
    assert [stage.state for stage in before.after(skipped, at(1)).stages] == [SUCCEEDED, SKIPPED, PENDING]


def test_a_stage_that_fails_takes_the_others_with_it_in_one_go() -> None:
    standing = planned({}, {}, {})

    changes = follow(standing, LeaveStage(standing.stages[0], Happening.FAIL, "Komodo says no"), at(1))

    assert kinds(changes) == [LeaveStage, LeaveStage, LeaveStage, EndRun]
    assert changes[-1][1] == EndRun(Happening.FAIL, "Komodo says no")
