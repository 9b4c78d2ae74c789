"""What is computed from measured values. Pure: no clock, no I/O."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Sample:
    """
    One answered request of the load generator.

    `at` is when it was sent, or was to be sent, in unix seconds; `seconds` is the time from then to the end of the answer.
    """

    request: int
    at: float
    seconds: float
    status: int


@dataclass(frozen=True)
class Spread:
    """How values are spread, in their own unit."""

    count: int
    p50: float
    p99: float
    max: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Raises `ValueError` for no values at all."""
        return cls(len(values), quantile(values, 0.50), quantile(values, 0.99), max(values))


@dataclass(frozen=True)
class Throughput:
    """What a closed loop reached: answers per second, and how long each took in milliseconds."""

    per_second: float
    milliseconds: Spread

    @classmethod
    def between(cls, samples: Sequence[Sample], begin: float, end: float) -> Throughput:
        """Counts the answers that came in from `begin` to `end`, in unix seconds; raises `ValueError` when none did."""
        inside = [sample for sample in samples if begin <= sample.at + sample.seconds < end]
        return cls(len(inside) / (end - begin), Spread.of([sample.seconds * 1000 for sample in inside]))

    @classmethod
    def median_of(cls, rounds: Sequence[Throughput]) -> Throughput:
        """The median of each figure on its own."""
        spreads = [one.milliseconds for one in rounds]
        return cls(
            median(one.per_second for one in rounds),
            Spread(
                sum(one.count for one in spreads),
                median(one.p50 for one in spreads),
                median(one.p99 for one in spreads),
                max(one.max for one in spreads),
            ),
        )


def quantile(values: Sequence[float], share: float) -> float:
    """
    The smallest value that at least `share` (0 to 1) of the values do not exceed: the nearest rank, never a mean of two.

    Raises `ValueError` for no values at all.
    """
    if not values:
        raise ValueError("there is no quantile of nothing")
    rank = math.ceil(share * len(values))
    return sorted(values)[max(rank, 1) - 1]


def rate(count: int, seconds: float) -> float:
    """How many per second; raises `ValueError` when no time has passed."""
    if seconds <= 0:
        raise ValueError("a rate needs time to have passed")
    return count / seconds
