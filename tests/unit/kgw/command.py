"""The command as a shell runs it: arguments in, exit code and both outputs back."""

from __future__ import annotations

import asyncio
import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass

import pytest

from kgw.cli import main
from shared.settings import CONFIG_PATH_KEY, PROCESSES, environment_names


@dataclass(frozen=True)
class Ended:
    """How the command ended, and what it printed."""

    code: int
    out: str
    err: str


def kgw(*arguments: str) -> Ended:
    """Run `kgw …` in this thread, in the environment that the test has made."""
    out, err = _output(), _output()
    code = 0
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr(sys, "argv", ["kgw", *arguments])
        try:
            main()
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else int(bool(ended.code))
    return Ended(code, _written(out), _written(err))


def _output() -> io.TextIOWrapper:
    """As a process has it: text over bytes, and the logs write bytes."""
    return io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline="", write_through=True)


def _written(output: io.TextIOWrapper) -> str:
    output.seek(0)
    return output.read()


async def kgw_beside(*arguments: str) -> Ended:
    """Run `kgw …` while this loop goes on serving what the command asks."""
    return await asyncio.to_thread(kgw, *arguments)


@contextmanager
def environment(**values: str) -> Iterator[None]:
    """These variables and no other setting of ours."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv(CONFIG_PATH_KEY, raising=False)
        for kind in PROCESSES.values():
            for name, field in kind.model_fields.items():
                for variable in environment_names(name, field):
                    patch.delenv(variable, raising=False)
                    patch.delenv(f"{variable}_FILE", raising=False)
        for name, value in values.items():
            patch.setenv(name, value)
        yield
