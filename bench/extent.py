"""How much is measured: long enough to mean something, or just enough to see that it runs. Everything is bounded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Backend = Literal["sqlite", "postgresql"]


@dataclass(frozen=True)
class Extent:
    """
    Lengths of time are seconds. Each of the `rounds` of the accept path runs the bare endpoint and then the ingress.

    The simulated Core has `repos` repositories with `stacks_per_repo` stacks each; `pushes` of them are pushed to. Every entry of `sites` is a
    service of its own, with that many workers on that store; events that match nothing are measured on SQLite with up to `planning_workers`.
    """

    rounds: int
    warm_seconds: float
    round_seconds: float
    open_rate: float
    open_seconds: float
    planned_events: int
    planning_workers: int
    repos: int
    stacks_per_repo: int
    pushes: int
    sites: tuple[tuple[int, Backend], ...]
    first_call_rate: float
    first_call_seconds: float
    idle_seconds: float


CONNECTIONS = 64
FIRST_CALL_WORKERS = 2

FULL = Extent(
    rounds=3,
    warm_seconds=1.0,
    round_seconds=4.0,
    open_rate=1000.0,
    open_seconds=10.0,
    planned_events=400,
    planning_workers=2,
    repos=100,
    stacks_per_repo=4,
    pushes=50,
    sites=((1, "sqlite"), (2, "sqlite"), (4, "sqlite"), (2, "postgresql")),
    first_call_rate=33.0,
    first_call_seconds=20.0,
    idle_seconds=5.0,
)

QUICK = Extent(
    rounds=1,
    warm_seconds=0.2,
    round_seconds=0.5,
    open_rate=100.0,
    open_seconds=0.5,
    planned_events=20,
    planning_workers=1,
    repos=5,
    stacks_per_repo=2,
    pushes=5,
    sites=((1, "sqlite"), (2, "postgresql")),
    first_call_rate=20.0,
    first_call_seconds=0.5,
    idle_seconds=0.5,
)
