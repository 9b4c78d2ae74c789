"""One word for a delivery."""

from __future__ import annotations

from itertools import permutations

import pytest

from console.api.deliveries import Status, status_of
from shared.states import RunState
from shared.store.deliveries import ReceiptOutcome
from shared.store.runs import Standing

MATCHED, UNMATCHED, DUPLICATE = ReceiptOutcome.MATCHED, ReceiptOutcome.UNMATCHED, ReceiptOutcome.DUPLICATE
RUNNING, SUCCEEDED, FAILED, CANCELLED = RunState


def of_procedure(name: str, *states: RunState, event: str = "event") -> list[Standing]:
    """Runs of one procedure, oldest first."""
    return [Standing(event, name, state) for state in states]


@pytest.mark.parametrize(
    ("outcomes", "states", "status"),
    [
        ([], [], "queued"),
        ([MATCHED], [], "queued"),
        ([UNMATCHED], [], "unmatched"),
        ([DUPLICATE], [], "duplicate"),
        ([UNMATCHED, DUPLICATE], [], "duplicate"),
        ([DUPLICATE, UNMATCHED], [], "unmatched"),
        ([MATCHED], [RUNNING], "running"),
        ([MATCHED], [SUCCEEDED], "succeeded"),
        ([MATCHED], [FAILED], "failed"),
        ([MATCHED], [CANCELLED], "cancelled"),
        ([MATCHED, DUPLICATE], [SUCCEEDED], "succeeded"),
        ([MATCHED, DUPLICATE], [RUNNING], "running"),
        ([MATCHED], [FAILED, RUNNING], "running"),
        ([MATCHED], [SUCCEEDED, FAILED], "failed"),
        ([MATCHED], [SUCCEEDED, CANCELLED], "cancelled"),
        ([MATCHED], [FAILED, CANCELLED], "failed"),
        ([MATCHED], [SUCCEEDED, SUCCEEDED], "succeeded"),
    ],
)
def test_a_delivery_stands_as_its_worst_run_or_else_as_it_was_received(
    outcomes: list[ReceiptOutcome], states: list[RunState], status: str
) -> None:
    """Whatever the order of the procedures."""
    for order in permutations(states):
        found = [Standing("event", f"procedure {number}", state) for number, state in enumerate(order)]

        assert status_of(outcomes, found) == status


def test_of_several_runs_of_a_procedure_the_latest_counts() -> None:
    assert status_of([MATCHED, MATCHED], of_procedure("web", FAILED, SUCCEEDED)) == Status.SUCCEEDED
    assert status_of([MATCHED, MATCHED], of_procedure("web", SUCCEEDED, FAILED)) == Status.FAILED


def test_runs_for_different_events_do_not_replace_each_other() -> None:
    found = of_procedure("web", FAILED, event="first") + of_procedure("web", SUCCEEDED, event="second")

    assert status_of([MATCHED, MATCHED], found) == Status.FAILED


@pytest.mark.parametrize("state", RunState)
def test_every_state_of_a_run_has_a_word(state: RunState) -> None:
    assert status_of([MATCHED], of_procedure("web", state)) == state.value


@pytest.mark.parametrize("outcome", ReceiptOutcome)
def test_every_outcome_of_a_receipt_has_a_word(outcome: ReceiptOutcome) -> None:
    assert status_of([outcome], []) in Status
