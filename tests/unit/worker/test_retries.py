"""Which attempts are followed by another, and after how long."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.procedure.model import Retry
from worker.retries import POLICIES, Again, Cause, decide

PATIENCE = 3600.0
FREE = sorted(cause for cause, policy in POLICIES.items() if policy.attempts is None)
COUNTED = sorted(cause for cause, policy in POLICIES.items() if policy.attempts is not None)
PROCEDURES = (Cause.ABORTED, Cause.FAILED)

ROWS: list[tuple[str, Cause, int, int, float, Retry | None, Again | None]] = [
    ("Komodo away, first time", Cause.UNREACHABLE, 0, 0, 0.0, None, Again(1, counts=False)),
    ("Komodo away, fourth time", Cause.UNREACHABLE, 0, 3, 20.0, None, Again(8, counts=False)),
    ("Komodo away for long", Cause.UNREACHABLE, 0, 50, 3599.0, None, Again(60, counts=False)),
    ("Komodo away for too long", Cause.UNREACHABLE, 0, 50, 3600.0, None, None),
    ("busy, first time", Cause.BUSY, 0, 0, 0.0, None, Again(1, counts=False)),
    ("busy after failures", Cause.BUSY, 4, 0, 5.0, None, Again(1, counts=False)),
    ("stale checkout", Cause.STALE_CHECKOUT, 0, 0, 0.0, None, Again(5, counts=False)),
    ("stale deploy", Cause.STALE_DEPLOY, 0, 1, 9.0, None, Again(10, counts=False)),
    ("Core restarted", Cause.ABORTED, 0, 0, 0.0, None, Again(5, counts=True)),
    ("Core restarted four times", Cause.ABORTED, 3, 0, 9.0, None, Again(40, counts=True)),
    ("Core restarted five times", Cause.ABORTED, 4, 0, 9.0, None, None),
    ("failed, no retry asked for", Cause.FAILED, 0, 0, 0.0, None, None),
    ("failed, one more", Cause.FAILED, 0, 0, 0.0, Retry(attempts=2), Again(5, counts=True)),
    ("failed, none left", Cause.FAILED, 1, 0, 0.0, Retry(attempts=2), None),
    ("failed, own waits", Cause.FAILED, 2, 0, 0.0, Retry(attempts=9, initial=2, max=3), Again(3, counts=True)),
    ("failed, patience is not asked", Cause.FAILED, 0, 0, 9e9, Retry(attempts=2), Again(5, counts=True)),
    ("aborted, the procedure decides", Cause.ABORTED, 0, 0, 0.0, Retry(attempts=1), None),
    ("busy, the procedure has no say", Cause.BUSY, 0, 0, 0.0, Retry(attempts=1), Again(1, counts=False)),
    ("forbidden stays forbidden", Cause.REJECTED, 0, 0, 0.0, Retry(attempts=9), None),
]


@pytest.mark.parametrize(
    ("cause", "failures", "delays", "waited", "retry", "expected"),
    [row[1:] for row in ROWS],
    ids=[row[0] for row in ROWS],
)
def test_what_follows_an_attempt(
    cause: Cause, failures: int, delays: int, waited: float, retry: Retry | None, expected: Again | None
) -> None:
    decided = decide(cause, failures=failures, delays=delays, waited=waited, patience=PATIENCE, retry=retry)

    assert decided == expected


def test_every_cause_has_a_policy() -> None:
    assert set(POLICIES) == set(Cause)


causes = st.sampled_from(list(Cause))
retries = st.none() | st.builds(
    Retry,
    attempts=st.integers(1, 100),
    initial=st.floats(0.01, 60),
    max=st.floats(60, 3600),
)
many = st.integers(0, 10_000)


@given(causes, many, many, st.floats(0, 1e6), retries)
def test_a_wait_is_never_shorter_than_its_first_nor_longer_than_its_longest(
    cause: Cause, failures: int, delays: int, waited: float, retry: Retry | None
) -> None:
    decided = decide(cause, failures=failures, delays=delays, waited=waited, patience=PATIENCE, retry=retry)

    numbers: Retry | None = retry if cause in PROCEDURES else None
    initial, longest = (numbers or POLICIES[cause]).initial, (numbers or POLICIES[cause]).max
    assert decided is None or min(initial, longest) <= decided.seconds <= longest


@given(st.sampled_from(COUNTED), retries)
def test_counted_attempts_come_to_an_end(cause: Cause, retry: Retry | None) -> None:
    allowed = retry.attempts if retry and cause in PROCEDURES else POLICIES[cause].attempts
    assert allowed is not None

    decisions = [
        decide(cause, failures=failures, delays=0, waited=0, patience=PATIENCE, retry=retry)
        for failures in range(allowed + 3)
    ]

    assert [decision is not None for decision in decisions] == [True] * (allowed - 1) + [False] * 4
    assert all(decision.counts for decision in decisions if decision)


@given(st.sampled_from(FREE), many, many, st.floats(0, 1e6), st.floats(1, 1e6), retries)
def test_free_tries_end_with_the_patience_and_with_nothing_else(
    cause: Cause, failures: int, delays: int, waited: float, patience: float, retry: Retry | None
) -> None:
    decided = decide(cause, failures=failures, delays=delays, waited=waited, patience=patience, retry=retry)

    assert (decided is None) == (waited >= patience)
    assert decided is None or not decided.counts


@given(causes, st.integers(0, 3), st.integers(0, 30))
def test_waits_never_become_shorter(cause: Cause, failures: int, delays: int) -> None:
    def wait(further: int) -> float:
        decided = decide(
            cause, failures=failures + further, delays=delays + further, waited=0, patience=PATIENCE, retry=None
        )
        return decided.seconds if decided else float("inf")

    assert wait(0) <= wait(1)
