"""The tables of states: every state can be reached and left as its kind says, and the sets beside them agree."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import pytest

from shared.states import (
    ACTION,
    ENDED_ACTION,
    ENDED_RUN,
    FAILED_ACTION,
    OPEN_ACTION,
    RUN,
    STAGE,
    ActionState,
    Happening,
    RunState,
    StageState,
    sources,
)

Table = Mapping[tuple[Any, Happening], Any]

TABLES: dict[str, tuple[Table, type[StrEnum], StrEnum, frozenset[Any]]] = {
    "run": (RUN, RunState, RunState.RUNNING, ENDED_RUN),
    "stage": (
        STAGE,
        StageState,
        StageState.PENDING,
        frozenset({StageState.SUCCEEDED, StageState.FAILED, StageState.SKIPPED}),
    ),
    "action": (ACTION, ActionState, ActionState.QUEUED, ENDED_ACTION),
}
each_table = pytest.mark.parametrize(("table", "states", "first", "ended"), TABLES.values(), ids=TABLES)


@each_table
def test_every_state_is_reached_from_the_first(
    table: Table, states: type[StrEnum], first: StrEnum, ended: frozenset[Any]
) -> None:
    reached, found = set(), {first}
    while found:
        reached |= found
        found = {target for (source, _), target in table.items() if source in reached} - reached

    assert reached == set(states)


@each_table
def test_an_ended_state_is_never_left_and_every_other_leads_to_one(
    table: Table, states: type[StrEnum], first: StrEnum, ended: frozenset[Any]
) -> None:
    assert {source for source, _ in table} == set(states) - ended

    ending = set(ended)
    while more := {source for (source, _), target in table.items() if target in ending} - ending:
        ending |= more
    assert ending == set(states)


@each_table
def test_one_happening_always_leads_to_the_same_state(
    table: Table, states: type[StrEnum], first: StrEnum, ended: frozenset[Any]
) -> None:
    """So that a compare-and-set may allow all its sources at once."""
    targets: dict[Happening, set[Any]] = {}
    for (_, happening), target in table.items():
        targets.setdefault(happening, set()).add(target)

    assert all(len(found) == 1 for found in targets.values())


@each_table
def test_the_sources_of_a_happening_are_those_of_the_table(
    table: Table, states: type[StrEnum], first: StrEnum, ended: frozenset[Any]
) -> None:
    for happening in Happening:
        assert sources(table, happening) == {str(source) for source, cause in table if cause is happening}


def test_only_a_running_action_tells_how_komodo_ended_it() -> None:
    """Nothing is green because nothing was heard (I6)."""
    told = (Happening.SUCCEED, Happening.UNCHANGE, Happening.FAIL, Happening.TIME_OUT)

    assert {source for (source, happening) in ACTION if happening in told} == {ActionState.RUNNING}


def test_a_running_action_is_neither_superseded_nor_skipped() -> None:
    """Running ones finish (I5)."""
    assert (ActionState.RUNNING, Happening.SUPERSEDE) not in ACTION
    assert (ActionState.RUNNING, Happening.SKIP) not in ACTION


def test_the_sets_of_action_states_part_them() -> None:
    assert set(ActionState) == OPEN_ACTION | ENDED_ACTION
    assert not OPEN_ACTION & ENDED_ACTION
    assert FAILED_ACTION < ENDED_ACTION
