"""
What happens after an attempt that did not settle its action: one table from cause to decision, and nothing that waits.

The waiting is done by the delay queues, so no worker slot sleeps and a restart loses nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from shared.procedure.model import Retry


class Cause(StrEnum):
    """Why an attempt did not settle its action."""

    UNREACHABLE = "unreachable"
    BUSY = "busy"
    STALE_CHECKOUT = "stale_checkout"
    STALE_DEPLOY = "stale_deploy"
    RESTART_DUE = "restart_due"
    ABORTED = "aborted"
    FAILED = "failed"
    REJECTED = "rejected"


@dataclass(frozen=True)
class Policy:
    """
    How a cause is retried: waits of `initial` seconds, doubled each time up to `max`.

    With `attempts` each try counts, and that many there are in all. Without, tries are free and end when the worker's patience does.
    """

    initial: float
    max: float
    attempts: int | None = None


@dataclass(frozen=True)
class Again:
    """Try again in `seconds`; `counts` says whether it uses up one of the attempts."""

    seconds: float
    counts: bool


POLICIES: dict[Cause, Policy] = {
    # Komodo, or the agent on the stack's server, does not answer: an update or a reboot of theirs must not cost a deploy.
    Cause.UNREACHABLE: Policy(initial=1, max=60),
    # Somebody else is at work on the stack: not a failure.
    Cause.BUSY: Policy(initial=1, max=60),
    # Komodo answered from its checkout cache, which it keeps for 5 s.
    Cause.STALE_CHECKOUT: Policy(initial=5, max=60),
    Cause.STALE_DEPLOY: Policy(initial=5, max=60),
    # The deploy is done; what follows it is an execution of its own, and so an attempt of its own.
    Cause.RESTART_DUE: Policy(initial=1, max=1),
    # Komodo Core was restarted while it worked.
    Cause.ABORTED: Policy(initial=5, max=60, attempts=5),
    # The deploy itself failed; trying it again is the procedure's decision.
    Cause.FAILED: Policy(initial=5, max=300, attempts=1),
    # Komodo says no, and will the next time: forbidden, not found.
    Cause.REJECTED: Policy(initial=1, max=1, attempts=1),
}

_PROCEDURES_DECISION = frozenset({Cause.ABORTED, Cause.FAILED})


def decide(
    cause: Cause, *, failures: int, delays: int, waited: float, patience: float, retry: Retry | None
) -> Again | None:
    """
    What to do after `failures` counted and `delays` free tries before this one; None ends the action.

    `waited` is how long ago the action began, in seconds. A procedure's own `retry` replaces the numbers where it has a say.
    """
    policy = POLICIES[cause]
    if retry is not None and cause in _PROCEDURES_DECISION:
        policy = Policy(initial=retry.initial, max=retry.max, attempts=retry.attempts)
    if policy.attempts is None:
        return None if waited >= patience else Again(_wait(policy, delays), counts=False)
    return None if failures + 1 >= policy.attempts else Again(_wait(policy, failures), counts=True)


def _wait(policy: Policy, step: int) -> float:
    return min(policy.max, policy.initial * 2.0 ** min(step, 20))
