"""The bars: what the project holds its numbers against, as one table. They inform; nothing fails on a slow machine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from bench.accept import Accepted
from bench.deploys import Worked
from bench.extent import Backend
from bench.first_call import FirstCall

ACCEPTED_TO_BARE = 0.3
ANSWER_P99_MS = 25.0
ACTION_WORKERS = 2
ACTIONS_PER_SECOND: Mapping[Backend, float] = {"sqlite": 100.0, "postgresql": 150.0}
FIRST_CALL_P50_MS = 100.0
FIRST_CALL_P99_MS = 500.0
IDLE_MEGABYTES = 90.0


@dataclass(frozen=True)
class Bar:
    """One number with what it should be: at most or at least the bar."""

    name: str
    unit: str
    measured: float
    direction: Literal["at most", "at least"]
    bar: float

    @property
    def ratio(self) -> float:
        """Measured over bar."""
        return self.measured / self.bar

    @property
    def is_met(self) -> bool:
        """Whether the number is on the right side."""
        return self.measured <= self.bar if self.direction == "at most" else self.measured >= self.bar


def bars(accepted: Accepted, worked: Worked, first_call: FirstCall) -> list[Bar]:
    """Every bar there is; what was not measured is left out."""
    waited = first_call.milliseconds
    return [
        Bar("accepted deliveries to bare endpoint", "", accepted.ratio, "at least", ACCEPTED_TO_BARE),
        Bar(f"answer at {accepted.open_rate:g}/s, p99", "ms", accepted.open_loop.p99, "at most", ANSWER_P99_MS),
        *_actions(worked),
        Bar("push to first Komodo call, p50", "ms", waited.p50, "at most", FIRST_CALL_P50_MS),
        Bar("push to first Komodo call, p99", "ms", waited.p99, "at most", FIRST_CALL_P99_MS),
        *_idle(first_call),
    ]


def _actions(worked: Worked) -> Iterator[Bar]:
    for one in worked.deployed:
        if one.workers == ACTION_WORKERS:
            name = f"{one.type}, {one.workers} workers, {one.backend}"
            yield Bar(name, "/s", one.per_second, "at least", ACTIONS_PER_SECOND[one.backend])


def _idle(first_call: FirstCall) -> Iterator[Bar]:
    for name, weight in first_call.memory_idle.items():
        if weight.rss is not None:
            yield Bar(f"memory of {name}, idle (RSS)", "MB", weight.rss, "at most", IDLE_MEGABYTES)


def rows(of: Sequence[Bar]) -> list[tuple[str, ...]]:
    """As lines of a table: name, measured, bar, ratio, whether it is met."""
    return [
        (
            bar.name,
            f"{bar.measured:{_digits(bar)}} {bar.unit}".rstrip(),
            f"{bar.direction} {bar.bar:g} {bar.unit}".rstrip(),
            f"{bar.ratio:.2f}",
            "met" if bar.is_met else "not met",
        )
        for bar in of
    ]


def _digits(bar: Bar) -> str:
    return ".2f" if bar.bar < 1 else ".1f"
