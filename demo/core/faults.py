"""
The knobs that make the simulated Core slow, busy, broken or away. All may be turned while it runs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

FaultKind = Literal[
    "answer",  # answer with `status` and `body`
    "reset",  # drop the connection without an answer
    "hang",  # never answer
]


@dataclass
class Fault:
    """
    What happens to the next requests that match. An empty `area` or `variant` matches all.

    `times` None means until removed. With `after`, Core first does what was asked and then the fault eats its
    answer: the case that a client cannot tell from a request that never arrived.
    """

    kind: FaultKind = "answer"
    area: str = ""
    variant: str = ""
    times: int | None = 1
    status: int = 502
    body: str = "<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>"
    content_type: str = "text/html"
    headers: dict[str, str] = field(default_factory=dict)
    after: bool = False

    def matches(self, area: str, variant: str) -> bool:
        return self.times != 0 and self.area in ("", area) and self.variant in ("", variant)


@dataclass
class Knobs:
    """
    Times are seconds unless the name says otherwise. Stacks, servers, repositories and users are given by name.
    """

    latency: tuple[float, float] = (0.0, 0.0)
    """Each request takes a random time between these two; equal values make it fixed."""
    deploy_seconds: float = 0.0
    """How long a deploy takes after its pull."""
    deploy_seconds_of: dict[str, float] = field(default_factory=dict)
    execution_seconds: float = 0.0
    """How long any other execution takes."""
    pull_cache_seconds: float = 5.0
    """How old a checkout of Core or Periphery may be and still count as pulled."""
    clock_offset: float = 0.0
    """How far Core's clock is ahead of this machine's."""

    faults: list[Fault] = field(default_factory=list)
    down: bool = False
    """Core is away: every connection drops."""
    silent_socket: bool = False
    """The update websocket stays open and says nothing."""

    failing_deploys: dict[str, str] = field(default_factory=dict)
    """Stack → what compose prints on stderr when its `up` fails."""
    failing_git: dict[str, str] = field(default_factory=dict)
    """`owner/name` → what git prints when fetching it fails."""
    busy: set[str] = field(default_factory=set)
    """Resources that somebody else is using."""
    never_complete: set[str] = field(default_factory=set)
    """Resources whose executions do nothing and stay InProgress until Core restarts."""
    never_complete_next: int = 0
    """The same for the next so many executions, whatever they concern."""
    vanished: set[str] = field(default_factory=set)
    """Resources that a list still shows and an execution no longer finds."""
    server_states: dict[str, Literal["Ok", "NotOk", "Disabled"]] = field(default_factory=dict)
    """Overrides the world's server states."""
    stuck_states: dict[str, str] = field(default_factory=dict)
    """Stack → the state it shows after a successful deploy instead of `running`."""

    forbidden_users: set[str] = field(default_factory=set)
    """Users who have lost everything above Read."""
    auth_cost_ms: float = 0.0
    """CPU time that checking a secret takes, as Komodo's bcrypt does."""
    auth_max_attempts: int = 5
    auth_window_seconds: float = 15.0
    auth_rate_limit: bool = True

    control: bool = False
    """Serve `/_sim/*`, without authentication: for tests and the demo, never with anything real behind it."""

    def seconds_to_deploy(self, stack: str) -> float:
        return self.deploy_seconds_of.get(stack, self.deploy_seconds)

    def next_fault(self, area: str, variant: str) -> Fault | None:
        """
        Use up one of the faults that match, if any.
        """
        for fault in self.faults:
            if fault.matches(area, variant):
                if fault.times is not None:
                    fault.times -= 1
                return fault
        return None

    def loses(self, resource: str) -> bool:
        """
        Say whether this execution's Update never completes, using up one of `never_complete_next`.
        """
        if resource in self.never_complete:
            return True
        if self.never_complete_next <= 0:
            return False
        self.never_complete_next -= 1
        return True
