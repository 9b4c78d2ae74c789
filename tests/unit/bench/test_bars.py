"""The bars and the tables."""

from __future__ import annotations

from bench.bars import Bar, bars, rows
from bench.figures import Spread
from bench.first_call import FirstCall
from bench.memory import Memory
from bench.report import columns


def first_call(p99: float, **weights: Memory) -> FirstCall:
    return FirstCall(2, 660, 33.0, Spread(660, 40.0, p99, 900.0), weights, weights)


def test_at_most_is_met_up_to_the_bar_itself() -> None:
    assert Bar("x", "ms", 100.0, "at most", 100.0).is_met
    assert not Bar("x", "ms", 100.1, "at most", 100.0).is_met


def test_at_least_is_met_from_the_bar_itself_on() -> None:
    assert Bar("x", "/s", 100.0, "at least", 100.0).is_met
    assert not Bar("x", "/s", 99.9, "at least", 100.0).is_met


def test_every_process_has_a_bar_for_its_idle_memory() -> None:
    judged = bars(first_call(600.0, ingress=Memory(60.0, 40.0), console=Memory(95.0, None)))

    assert [(bar.name, bar.is_met) for bar in judged] == [
        ("push to first Komodo call, p50", True),
        ("push to first Komodo call, p99", False),
        ("memory of ingress, idle (RSS)", True),
        ("memory of console, idle (RSS)", False),
    ]


def test_memory_that_the_system_does_not_tell_has_no_bar() -> None:
    assert len(bars(first_call(1.0, ingress=Memory(None, None)))) == 2


def test_a_row_says_how_far_from_the_bar_it_is() -> None:
    assert rows([Bar("wait", "ms", 250.0, "at most", 500.0)]) == [("wait", "250.0 ms", "at most 500 ms", "0.50", "met")]


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    assert columns([("name", "count"), ("a longer name", "1")]) == ["name           count", "a longer name      1"]
