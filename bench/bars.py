"""The bars: what the project holds its numbers against, as one table. They inform; nothing fails on a slow machine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from bench.first_call import FirstCall

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


def bars(first_call: FirstCall) -> list[Bar]:
    """Every bar there is; memory is left out where the system does not tell it."""
    waited = first_call.milliseconds
    return [
        Bar("push to first Komodo call, p50", "ms", waited.p50, "at most", FIRST_CALL_P50_MS),
        Bar("push to first Komodo call, p99", "ms", waited.p99, "at most", FIRST_CALL_P99_MS),
        *_idle(first_call),
    ]


def _idle(first_call: FirstCall) -> Iterator[Bar]:
    for name, weight in first_call.memory_idle.items():
        if weight.rss is not None:
            yield Bar(f"memory of {name}, idle (RSS)", "MB", weight.rss, "at most", IDLE_MEGABYTES)


def rows(of: Sequence[Bar]) -> list[tuple[str, ...]]:
    """As lines of a table: name, measured, bar, ratio, whether it is met."""
    return [
        (
            bar.name,
            f"{bar.measured:.1f} {bar.unit}",
            f"{bar.direction} {bar.bar:g} {bar.unit}",
            f"{bar.ratio:.2f}",
            "met" if bar.is_met else "not met",
        )
        for bar in of
    ]
