"""
What work costs in processor time, as Linux counts it; elsewhere nothing is measured.

On a machine that is busy with other things rates fall, and this hardly changes.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from demo.processes import Service


class Meter:
    """Processor time that some processes use from here on, all their threads together."""

    def __init__(self, services: Sequence[Service]) -> None:
        self._services = services
        self._before = [_seconds(service) for service in services]

    def milliseconds_each(self, count: int) -> float | None:
        """What each of `count` pieces of work has cost so far; None where the system does not tell."""
        total = 0.0
        for service, before in zip(self._services, self._before, strict=True):
            after = _seconds(service)
            if before is None or after is None:
                return None
            total += after - before
        return total * 1000 / count


def ticks(stat: str) -> int:
    """User and system time in `/proc/PID/stat`, in clock ticks; the name before it, in parentheses, may hold anything."""
    fields = stat.rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def _seconds(service: Service) -> float | None:
    try:
        stat = (Path("/proc") / str(service.process.pid) / "stat").read_text()
    except OSError:
        return None
    return ticks(stat) / os.sysconf("SC_CLK_TCK")
