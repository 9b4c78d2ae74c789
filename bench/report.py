"""What a benchmark found, as a table for people and as JSON for everything else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from statistics import median
from typing import Any

from bench import bars
from bench.accept import Accepted, Round
from bench.deploys import Worked
from bench.figures import Spread, Throughput
from bench.first_call import FirstCall
from bench.machine import Machine
from bench.memory import Memory

Row = tuple[str, ...]

FORMAT = 1


@dataclass(frozen=True)
class Report:
    """All of it. `seconds` is how long the measuring took."""

    at: datetime
    is_quick: bool
    seconds: float
    machine: Machine
    accepted: Accepted
    worked: Worked
    first_call: FirstCall
    left_out: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """The form of `bench-<time>.json`; `format` changes when a reader has to."""
        judged = self._judged()
        return {
            "format": FORMAT,
            "at": self.at.isoformat(),
            "quick": self.is_quick,
            "seconds": round(self.seconds, 1),
            "machine": asdict(self.machine),
            "accept": asdict(self.accepted),
            "planned": [asdict(one) for one in self.worked.planned],
            "deployed": [asdict(one) for one in self.worked.deployed],
            "first_call": asdict(self.first_call),
            "bars": [asdict(bar) | {"ratio": bar.ratio, "met": bar.is_met} for bar in judged],
            "left_out": self.left_out,
        }

    def _judged(self) -> list[bars.Bar]:
        return bars.bars(self.accepted, self.worked, self.first_call)

    def to_text(self) -> str:
        """The tables, each with its columns in line."""
        parts = [_machine(self.machine), "", *_accept(self.accepted), "", *_worked(self.worked), ""]
        parts += [*_first_call(self.first_call), "", *_bars(self._judged())]
        parts += [f"\nleft out: {line}" for line in self.left_out]
        return "\n".join(parts)


def columns(rows: Sequence[Row]) -> list[str]:
    """Lines with the first column to the left and all others to the right, as wide as they need to be."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if position == 0 else cell.rjust(width)
            for position, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _machine(machine: Machine) -> str:
    servers = f"RabbitMQ {machine.rabbitmq}, PostgreSQL {machine.postgresql or 'none'}"
    load = f"load average {machine.load:.1f} before"
    return f"{machine.cores} cores of {machine.cpu}, {load}, {machine.system}, {machine.python}, {servers}"


def _accept(accepted: Accepted) -> list[str]:
    title = f"accept path ({accepted.body_bytes // 1024} KB signed push, {accepted.connections} connections)"
    rows: list[Row] = [
        (title, "per second", "p50 ms", "p99 ms", "CPU ms each"),
        ("nothing but the load generator", *_throughput(accepted.ceiling), ""),
        ("bare Starlette endpoint", *_throughput(accepted.bare), _cpu(accepted.bare_rounds)),
        ("the same, with the body read and its HMAC made", *_throughput(accepted.checking), ""),
        ("ingress: verified, normalized, confirmed", *_throughput(accepted.ingress), _cpu(accepted.ingress_rounds)),
        (f"ingress at {accepted.open_rate:g}/s, from the time to send", "", *_spread(accepted.open_loop), ""),
        ("ingress to bare", f"{accepted.ratio:.2f}", "", "", ""),
    ]
    return columns(rows)


def _worked(worked: Worked) -> list[str]:
    rows: list[Row] = [("workers on a Core without latency", "workers", "count", "per second", "CPU ms each")]
    rows += [
        (
            f"events planned, none of {one.stacks} stacks concerned, {one.backend}",
            *(str(one.workers), str(one.events), f"{one.per_second:.0f}", _number(one.cpu_ms)),
        )
        for one in worked.planned
    ]
    rows += [
        (
            f"actions {one.type}, {one.backend}",
            *(str(one.workers), str(one.actions), f"{one.per_second:.0f}", _number(one.cpu_ms)),
        )
        for one in worked.deployed
    ]
    return columns(rows)


def _first_call(first_call: FirstCall) -> list[str]:
    waited = first_call.milliseconds
    title = f"push to first Komodo call ({first_call.rate:g}/s, {first_call.workers} workers, {first_call.stacks} stacks, SQLite)"
    rows: list[Row] = [
        (title, "count", "p50 ms", "p99 ms", "max ms"),
        ("from the time to send", str(waited.count), *_spread(waited), f"{waited.max:.1f}"),
    ]
    weights: list[Row] = [("memory, MB", "idle RSS", "idle PSS", "after RSS", "after PSS")]
    for name, idle in first_call.memory_idle.items():
        weights.append((name, *_memory(idle), *_memory(first_call.memory_loaded[name])))
    return [*columns(rows), "", *columns(weights)]


def _bars(judged: Sequence[bars.Bar]) -> list[str]:
    return columns([("bar", "measured", "wanted", "ratio", ""), *bars.rows(judged)])


def _throughput(throughput: Throughput) -> Row:
    return (f"{throughput.per_second:.0f}", *_spread(throughput.milliseconds))


def _spread(spread: Spread) -> Row:
    return f"{spread.p50:.1f}", f"{spread.p99:.1f}"


def _memory(weight: Memory) -> Row:
    return _number(weight.rss), _number(weight.pss)


def _cpu(rounds: Sequence[Round]) -> str:
    known = [one.cpu_ms for one in rounds if one.cpu_ms is not None]
    return _number(median(known) if known else None, digits=2)


def _number(value: float | None, *, digits: int = 1) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
