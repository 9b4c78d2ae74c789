"""What a process weighs, as Linux counts it; elsewhere nothing is measured."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from demo.processes import Service

_MEGABYTE_IN_KB = 1000.0


@dataclass(frozen=True)
class Memory:
    """
    Megabytes (10^6 bytes). `rss` counts pages that are shared with other processes in full, `pss` by their share; None where the system does
    not tell.
    """

    rss: float | None
    pss: float | None


def of(service: Service) -> Memory:
    """A running process's memory at this moment."""
    folder = Path("/proc") / str(service.process.pid)
    return Memory(_megabytes(folder / "status", "VmRSS"), _megabytes(folder / "smaps_rollup", "Pss"))


def of_all(services: Mapping[str, Service]) -> dict[str, Memory]:
    """The same for several, by name."""
    return {name: of(service) for name, service in services.items()}


def kilobytes(text: str, key: str) -> int | None:
    """The value of `key` in a file of lines `Key:   123 kB`."""
    found = re.search(rf"^{re.escape(key)}:\s+(\d+) kB$", text, re.MULTILINE)
    return int(found[1]) if found else None


def _megabytes(file: Path, key: str) -> float | None:
    try:
        text = file.read_text()
    except OSError:
        return None
    found = kilobytes(text, key)
    # The kernel's kB are 1024 bytes: https://docs.kernel.org/filesystems/proc.html
    return None if found is None else found * 1.024 / _MEGABYTE_IN_KB
