"""
Why did it, or did it not: from the stored traces of a delivery to one sentence and a table (I7). Pure.

A row is what one procedure or one stack was asked and answered; the sentence is what a person wants to hear first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Trace = Mapping[str, Any]
MAX_NAMED = 5


@dataclass(frozen=True)
class Row:
    """One answer; `stack` is None where the procedure's trigger answered, and `count` how many stacks a row speaks for."""

    procedure: str
    answer: str
    reason: str
    stack: str | None = None
    stage: int | None = None
    predicate: str | None = None
    wanted: str | None = None
    found: str | None = None
    count: int = 1


@dataclass(frozen=True)
class Told:
    """What the store knows of one run: the traces of its stages, by position, and how each stack's actions ended."""

    procedure: str
    state: str
    stages: Sequence[tuple[int, Trace | None]] = ()
    ended: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Explanation:
    """The sentence first, the table second."""

    sentence: str
    rows: tuple[Row, ...]


def explain(triggers: Trace | None, runs: Sequence[Told], stack: str | None = None) -> Explanation:
    """Explain the last arrival of a delivery, for all stacks or for one by its name; `triggers` is its receipt's trace, None until it is planned."""
    if triggers is None:
        return Explanation("No worker has planned this delivery yet.", ())
    rows = [*_of_triggers(triggers), *(row for run in runs for row in _of_run(run, stack))]
    return Explanation(_sentence(rows, runs, stack), tuple(rows))


def _of_triggers(triggers: Trace) -> Iterable[Row]:
    for match in triggers.get("procedures", ()):
        decision = match.get("decision")
        if decision is None:
            yield Row(match["procedure"], "started", "every predicate of its trigger holds")
        else:
            yield _row(match["procedure"], "not started", decision)


def _of_run(run: Told, stack: str | None) -> Iterable[Row]:
    for position, trace in run.stages:
        for execution in (trace or {}).get("executions", ()):
            yield from _of_execution(run, position, execution, stack)


def _of_execution(run: Told, position: int, execution: Trace, stack: str | None) -> Iterable[Row]:
    if skipped := execution.get("skipped"):
        yield Row(run.procedure, "skipped", skipped, stage=position)
    for verdict in execution.get("stacks", ()):
        if stack is None or verdict["stack"] == stack:
            yield _of_stack(run, position, verdict)
    others = execution.get("others")
    if others and (stack is None or not any(verdict["stack"] == stack for verdict in execution.get("stacks", ()))):
        yield _row(run.procedure, "left out", others["decision"], stack=stack, stage=position, count=others["count"])


def _of_stack(run: Told, position: int, verdict: Trace) -> Row:
    name = verdict["stack"]
    if decision := verdict.get("decision"):
        return _row(run.procedure, "left out", decision, stack=name, stage=position)
    ended = ", ".join(run.ended.get(name, ())) or "picked"
    return Row(run.procedure, ended, verdict.get("because") or "every predicate holds", stack=name, stage=position)


def _row(
    procedure: str, answer: str, decision: Trace, *, stack: str | None = None, stage: int | None = None, count: int = 1
) -> Row:
    return Row(
        procedure,
        answer,
        decision["reason"],
        stack=stack,
        stage=stage,
        predicate=decision["predicate"],
        wanted=decision.get("wanted"),
        found=decision.get("found"),
        count=count,
    )


def _sentence(rows: Sequence[Row], runs: Sequence[Told], stack: str | None) -> str:
    if not runs:
        return _nothing_started([row for row in rows if row.answer == "not started"])
    asked = [row for row in rows if row.stage is not None]
    picked = [row for row in asked if row.stack is not None and row.answer not in ("left out", "skipped")]
    if stack is not None:
        return _of_one(stack, picked, asked)
    if picked:
        named = [f"{row.stack} ({row.answer})" for row in picked]
        return f"{_list(run.procedure for run in runs)} picked {_list(named)}."
    if not asked:
        return f"{_list(run.procedure for run in runs)} started, and no stage has been resolved yet."
    return f"{_list(run.procedure for run in runs)} started and picked no stack: {_most(asked)}."


def _nothing_started(refused: Sequence[Row]) -> str:
    match refused:
        case []:
            return "No procedure started: there is none that this URL is for."
        case [only]:
            return f"No procedure started: {only.procedure} did not, because {_because(only)}."
        case _:
            return f"None of {len(refused)} procedures started: {_most(refused)}."


def _of_one(stack: str, picked: Sequence[Row], asked: Sequence[Row]) -> str:
    if picked:
        return f"{stack} was picked by {picked[0].procedure} because of {picked[0].reason}, and ended as {picked[0].answer}."
    if not asked:
        return f"{stack} was not looked at: no stage has been resolved yet."
    return f"{stack} was left out by {asked[0].procedure}: {_because(asked[0])}."


def _because(row: Row) -> str:
    if row.wanted is None:
        return row.reason
    return f"{row.reason} ({row.predicate} is {row.found or 'not known'}, wanted {row.wanted})"


def _most(rows: Sequence[Row]) -> str:
    """The reasons with how many they concern, the most frequent first."""
    counted: Counter[str] = Counter()
    for row in rows:
        counted[row.reason] += row.count
    return _list(f"{reason} ({count})" for reason, count in counted.most_common())


def _list(words: Iterable[str]) -> str:
    named = list(dict.fromkeys(words))
    more = f" and {len(named) - MAX_NAMED} more" if len(named) > MAX_NAMED else ""
    return ", ".join(named[:MAX_NAMED]) + more
