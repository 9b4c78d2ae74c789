"""What is computed from measured values."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.figures import Sample, Spread, Throughput, quantile, rate

VALUES = st.lists(st.floats(min_value=0, max_value=1e6), min_size=1)


@pytest.mark.parametrize(
    ("share", "expected"),
    [
        pytest.param(0.0, 1, id="the lowest"),
        pytest.param(0.5, 50, id="the median is a value that was measured"),
        pytest.param(0.99, 99, id="one in a hundred is above"),
        pytest.param(1.0, 100, id="the highest"),
    ],
)
def test_a_quantile_is_the_nearest_rank(share: float, expected: float) -> None:
    assert quantile(list(range(100, 0, -1)), share) == expected


def test_there_is_no_quantile_of_nothing() -> None:
    with pytest.raises(ValueError, match="nothing"):
        quantile([], 0.5)


@given(VALUES)
def test_a_spread_is_ordered_and_made_of_its_values(values: list[float]) -> None:
    spread = Spread.of(values)

    assert spread.p50 <= spread.p99 <= spread.max == max(values)
    assert {spread.p50, spread.p99} <= set(values)


@given(VALUES, st.floats(min_value=0, max_value=1))
def test_at_least_the_share_of_the_values_is_not_above_the_quantile(values: list[float], share: float) -> None:
    below = sum(value <= quantile(values, share) for value in values)

    assert below >= share * len(values)


def test_throughput_counts_the_answers_of_its_window_alone() -> None:
    samples = [Sample(0, at=float(second), seconds=0.5, status=202) for second in range(10)]

    throughput = Throughput.between(samples, begin=2.0, end=6.0)

    assert throughput.per_second == 1.0
    assert throughput.milliseconds == Spread(4, 500.0, 500.0, 500.0)


def test_a_window_without_an_answer_is_an_error() -> None:
    with pytest.raises(ValueError, match="nothing"):
        Throughput.between([], begin=0.0, end=1.0)


def test_the_median_of_rounds_is_taken_figure_by_figure() -> None:
    rounds = [Throughput(rate, Spread(10, rate / 100, rate / 10, rate)) for rate in (300.0, 100.0, 200.0)]

    assert Throughput.median_of(rounds) == Throughput(200.0, Spread(30, 2.0, 20.0, 300.0))


def test_a_rate_needs_time() -> None:
    assert rate(10, 2.0) == 5.0
    with pytest.raises(ValueError, match="time"):
        rate(10, 0.0)
