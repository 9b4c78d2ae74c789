"""The bars and the tables."""

from __future__ import annotations

from bench.accept import Accepted
from bench.bars import Bar, bars, rows
from bench.deploys import Deployed, Worked
from bench.extent import Backend
from bench.figures import Spread, Throughput
from bench.first_call import FirstCall
from bench.memory import Memory
from bench.report import columns


def first_call(p99: float, **weights: Memory) -> FirstCall:
    return FirstCall(2, 660, 33.0, Spread(660, 40.0, p99, 900.0), weights, weights)


def throughput(per_second: float) -> Throughput:
    return Throughput(per_second, Spread(1, 1.0, 1.0, 1.0))


def accepted(ratio: float, p99: float) -> Accepted:
    bare, ingress = throughput(10_000.0), throughput(10_000.0 * ratio)
    memory = Memory(None, None)
    return Accepted(64, 8192, bare, bare, bare, ingress, ratio, [], [], 1000.0, Spread(1, 1.0, p99, p99), memory)


def deployed(backend: Backend, per_second: float, *, workers: int = 2) -> Deployed:
    return Deployed(workers, backend, "DeployStack", 1, 4, 1.0, per_second, None)


NOTHING_WORKED = Worked([], [])
QUICK_ANSWERS = accepted(0.3, 25.0)


def test_at_most_is_met_up_to_the_bar_itself() -> None:
    assert Bar("x", "ms", 100.0, "at most", 100.0).is_met
    assert not Bar("x", "ms", 100.1, "at most", 100.0).is_met


def test_at_least_is_met_from_the_bar_itself_on() -> None:
    assert Bar("x", "/s", 100.0, "at least", 100.0).is_met
    assert not Bar("x", "/s", 99.9, "at least", 100.0).is_met


def test_every_process_has_a_bar_for_its_idle_memory() -> None:
    judged = bars(
        QUICK_ANSWERS, NOTHING_WORKED, first_call(600.0, ingress=Memory(60.0, 40.0), console=Memory(95.0, None))
    )

    assert [(bar.name, bar.is_met) for bar in judged] == [
        ("accepted deliveries to bare endpoint", True),
        ("answer at 1000/s, p99", True),
        ("push to first Komodo call, p50", True),
        ("push to first Komodo call, p99", False),
        ("memory of ingress, idle (RSS)", True),
        ("memory of console, idle (RSS)", False),
    ]


def test_memory_that_the_system_does_not_tell_has_no_bar() -> None:
    assert len(bars(QUICK_ANSWERS, NOTHING_WORKED, first_call(1.0, ingress=Memory(None, None)))) == 4


def test_two_workers_have_a_bar_on_each_store() -> None:
    worked = Worked([], [deployed("sqlite", 120.0), deployed("postgresql", 120.0), deployed("sqlite", 1.0, workers=1)])

    judged = bars(accepted(0.2, 30.0), worked, first_call(1.0))

    assert [(bar.name, bar.is_met) for bar in judged[:4]] == [
        ("accepted deliveries to bare endpoint", False),
        ("answer at 1000/s, p99", False),
        ("DeployStack, 2 workers, sqlite", True),
        ("DeployStack, 2 workers, postgresql", False),
    ]


def test_a_bar_without_a_unit_is_a_ratio_with_two_digits() -> None:
    assert rows([Bar("part", "", 0.104, "at least", 0.3)]) == [("part", "0.10", "at least 0.3", "0.35", "not met")]


def test_a_row_says_how_far_from_the_bar_it_is() -> None:
    assert rows([Bar("wait", "ms", 250.0, "at most", 500.0)]) == [("wait", "250.0 ms", "at most 500 ms", "0.50", "met")]


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    assert columns([("name", "count"), ("a longer name", "1")]) == ["name           count", "a longer name      1"]
