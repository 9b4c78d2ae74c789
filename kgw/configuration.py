"""`kgw config`: the effective settings of each process, where each value comes from, and no secret (I9)."""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from shared.settings import CONFIG_PATH_KEY, PROCESSES, Settings, environment_names, load


@dataclass(frozen=True)
class Setting:
    """One value as a process sees it."""

    process: str
    key: str
    value: str
    origin: str


def effective() -> list[Setting]:
    """Every setting of every process; raises `Misconfigured` as the process itself would."""
    return [setting for process, kind in PROCESSES.items() for setting in _of(process, load(kind))]


def _of(process: str, settings: Settings) -> list[Setting]:
    in_file = _file_keys()
    found = []
    for name, field in type(settings).model_fields.items():
        names = environment_names(name, field)
        value = getattr(settings, name)
        found.append(Setting(process, names[0], _shown(value), _origin(name, names, in_file)))
    return found


def _shown(value: object) -> str:
    if isinstance(value, SecretStr):
        return "(set)" if value.get_secret_value() else "(not set)"
    # A URL is not meant to hold a password, and yet some do.
    return "(hidden: it may hold a password)" if "@" in str(value) else str(value)


def _origin(name: str, names: list[str], in_file: frozenset[str]) -> str:
    if any(variable in os.environ for variable in names):
        return "environment"
    for variable in names:
        if os.environ.get(f"{variable}_FILE"):
            return f"{variable}_FILE"
    return "file" if name in in_file else "default"


def _file_keys() -> frozenset[str]:
    path = os.environ.get(CONFIG_PATH_KEY)
    return frozenset(tomllib.loads(Path(path).read_text(encoding="utf-8"))) if path else frozenset()
