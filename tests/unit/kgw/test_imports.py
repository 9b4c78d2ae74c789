"""Each verb loads its own room alone: the command answers at once, and a process carries nothing that it does not use."""

from __future__ import annotations

import subprocess
import sys

import pytest

ROOMS = ("ingress", "worker", "console")
HEAVY = ("fastapi", "sqlalchemy", "aio_pika", "httpx", "pydantic")


def loaded_by(statement: str) -> set[str]:
    """The modules and packages that are there after the statement, in a Python of its own."""
    return {name.partition(".")[0] for name in modules_of(statement)}


def modules_of(statement: str) -> set[str]:
    """The same, every module by its full name."""
    script = f"import sys\n{statement}\nprint(*sys.modules)"
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(ended.stdout.split())


def test_the_command_itself_loads_neither_a_process_nor_what_is_heavy() -> None:
    assert not loaded_by("import kgw.cli") & {*ROOMS, *HEAVY}


@pytest.mark.parametrize("room", ROOMS)
def test_a_process_loads_only_its_own_room(room: str) -> None:
    assert loaded_by(f"import {room}.app") & {*ROOMS, "kgw"} == {room}


@pytest.mark.parametrize("room", ["ingress", "worker"])
def test_only_the_console_loads_fastapi(room: str) -> None:
    assert "fastapi" not in loaded_by(f"import {room}.app")


def test_the_ingress_loads_no_store() -> None:
    assert "sqlalchemy" not in loaded_by("import ingress.app")


def test_following_needs_no_broker_and_no_store() -> None:
    assert not loaded_by("import kgw.tailing") & {*ROOMS, "aio_pika", "sqlalchemy"}


@pytest.mark.parametrize("room", ROOMS)
def test_a_process_loads_nothing_that_draws_on_terminals(room: str) -> None:
    assert not loaded_by(f"import {room}.app") & {"rich", "pygments"}


@pytest.mark.parametrize("room", ["worker", "console"])
def test_a_process_on_sqlite_loads_neither_an_orm_nor_what_migrates(room: str) -> None:
    assert not modules_of(f"import {room}.app") & {"sqlalchemy.orm", "sqlalchemy.ext.asyncio", "asyncpg", "alembic"}
