"""
The life of runs, stages, actions and attempts, each as one table of `{(state, happening): next state}`.

The store's compare-and-set reads these tables; so do the documents' diagrams and the test that walks all of them.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any


class RunState(StrEnum):
    """Where a run is."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class StageState(StrEnum):
    """Where a stage is."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    SKIPPED = "skipped"


class ActionState(StrEnum):
    """Where an action is."""

    QUEUED = "queued"
    WAITING = "waiting"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    UNCHANGED = "unchanged"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    SKIPPED = "skipped"
    SUPERSEDED = "superseded"
    CANCELLED = "cancelled"


class Happening(StrEnum):
    """What can happen to a run, stage or action."""

    START = "start"
    WAIT = "wait"
    WAKE = "wake"
    RETRY = "retry"
    SUCCEED = "succeed"
    UNCHANGE = "unchange"
    FAIL = "fail"
    TIME_OUT = "time_out"
    SKIP = "skip"
    SUPERSEDE = "supersede"
    CANCEL = "cancel"


RUN: dict[tuple[RunState, Happening], RunState] = {
    (RunState.RUNNING, Happening.SUCCEED): RunState.SUCCEEDED,
    (RunState.RUNNING, Happening.FAIL): RunState.FAILED,
    (RunState.RUNNING, Happening.CANCEL): RunState.CANCELLED,
}

STAGE: dict[tuple[StageState, Happening], StageState] = {
    (StageState.PENDING, Happening.START): StageState.RUNNING,
    (StageState.PENDING, Happening.SKIP): StageState.SKIPPED,
    (StageState.PENDING, Happening.FAIL): StageState.FAILED,
    (StageState.RUNNING, Happening.SUCCEED): StageState.SUCCEEDED,
    (StageState.RUNNING, Happening.FAIL): StageState.FAILED,
}

ACTION: dict[tuple[ActionState, Happening], ActionState] = {
    (ActionState.QUEUED, Happening.START): ActionState.RUNNING,
    (ActionState.QUEUED, Happening.WAIT): ActionState.WAITING,
    (ActionState.QUEUED, Happening.SUPERSEDE): ActionState.SUPERSEDED,
    (ActionState.QUEUED, Happening.SKIP): ActionState.SKIPPED,
    (ActionState.QUEUED, Happening.CANCEL): ActionState.CANCELLED,
    (ActionState.WAITING, Happening.WAKE): ActionState.QUEUED,
    (ActionState.WAITING, Happening.SUPERSEDE): ActionState.SUPERSEDED,
    (ActionState.WAITING, Happening.CANCEL): ActionState.CANCELLED,
    (ActionState.RUNNING, Happening.RETRY): ActionState.QUEUED,
    (ActionState.RUNNING, Happening.SUCCEED): ActionState.SUCCEEDED,
    (ActionState.RUNNING, Happening.UNCHANGE): ActionState.UNCHANGED,
    (ActionState.RUNNING, Happening.FAIL): ActionState.FAILED,
    (ActionState.RUNNING, Happening.TIME_OUT): ActionState.TIMED_OUT,
}

OPEN_ACTION = frozenset({ActionState.QUEUED, ActionState.WAITING, ActionState.RUNNING})
FAILED_ACTION = frozenset({ActionState.FAILED, ActionState.TIMED_OUT})
ENDED_ACTION = frozenset(ActionState) - OPEN_ACTION
ENDED_RUN = frozenset(RunState) - {RunState.RUNNING}


def sources(table: Mapping[tuple[Any, Happening], Any], happening: Happening) -> frozenset[str]:
    """The states from which `happening` is allowed."""
    return frozenset(str(state) for state, cause in table if cause is happening)
