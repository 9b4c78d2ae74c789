"""The documents say what is so: what they name is there, and what is there is in their tables."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import pytest
from fastapi import FastAPI
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from console.app import application
from console.auth import guard
from console.context import Context
from console.follow import Following
from dev.verbs import VERBS
from ingress.answer import ANSWERS
from ingress.providers import PROVIDERS
from ingress.routes import resolve
from shared.results import Result, ResultType
from shared.settings import CONFIG_PATH_KEY, PROCESSES, ConsoleSettings, environment_names
from shared.store.engine import Store
from tests.unit.test_deployment import environment, verbs

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
ARCHITECTURE = (ROOT / "ARCHITECTURE.md").read_text()
README = (ROOT / "README.md").read_text()

_PATH = re.compile(r"`((?:[\w.-]+/)*[\w@.-]*\w\.(?:py|md|toml|yml|env|service)|(?:[\w-]+/)+)`")
_FUNCTION = re.compile(r"`([\w/]+\.py):([\w.]+)`")
_TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
_VARIABLE = re.compile(r"\b(?:KGW|KOMODO)_[A-Z0-9_]*[A-Z0-9]\b")
_LINK = re.compile(r"\]\((?!https?://|#)([^)#]+)")


def rows(text: str, heading: str) -> list[list[str]]:
    """The cells of the first table after the heading, without its head."""
    lines = text.split(f"\n{heading}\n", 1)[1].splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("| ---"))
    table = []
    for line in lines[start + 1 :]:
        if not line.startswith("|"):
            break
        table.append([cell.strip() for cell in line.strip("|").split(" | ")])
    return table


def functions(path: Path) -> set[str]:
    """The names of a module's functions, methods with their class in front."""
    found = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{one.name}" for one in node.body if hasattr(one, "name")}
    return found


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_file_that_a_document_names_is_there(document: Path) -> None:
    text = document.read_text()
    named = {path for path in _PATH.findall(text) if "/" in path} | set(_LINK.findall(text))

    missing = {path for path in named if not (ROOT / path).exists() and not (document.parent / path).exists()}
    assert missing - {"tests/payloads/NAME/"} == set()


def test_every_function_that_keeps_an_invariant_is_there() -> None:
    named = _FUNCTION.findall(ARCHITECTURE)

    assert named
    assert [one for one in named if one[1] not in functions(ROOT / one[0])] == []


def test_every_test_that_holds_an_invariant_is_there() -> None:
    named = _TEST.findall(ARCHITECTURE)

    assert named
    assert [
        one for one in named if not any(name.rpartition(".")[2] == one[1] for name in functions(ROOT / one[0]))
    ] == []


def test_every_invariant_says_where_it_is_kept_and_what_holds_it() -> None:
    table = rows(ARCHITECTURE, "## Invariants")

    assert [row[0].split()[0] for row in table] == [f"I{number}" for number in range(1, 10)]
    for row in table:
        assert _FUNCTION.findall(row[2]), row[0]
        assert _TEST.findall(row[3]), row[0]


def test_every_room_is_described() -> None:
    described = " ".join(row[0] for row in rows(ARCHITECTURE, "## The rooms"))
    modules = {
        path.relative_to(ROOT).as_posix()
        for package in ("ingress", "worker", "console", "kgw")
        for path in (ROOT / package).glob("*.py")
        if path.stem not in ("__init__", "__main__")
    }

    assert {module for module in modules if f"`{module}`" not in described} == set()


def settings() -> Iterator[tuple[str, FieldInfo]]:
    """Every setting once, as the table has it: its variables, its field."""
    seen: dict[str, FieldInfo] = {
        name: field for kind in PROCESSES.values() for name, field in kind.model_fields.items()
    }
    for name, field in seen.items():
        yield ", ".join(f"`{one}`" for one in environment_names(name, field)), field


def test_the_readme_lists_every_setting_with_its_default() -> None:
    listed = {row[0]: row[1] for row in rows(README, "## Configuration")}

    assert listed == {f"`{CONFIG_PATH_KEY}`": ""} | {names: _default(field) for names, field in settings()}


def _default(field: FieldInfo) -> str:
    value = field.default
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return "" if value == "" else f"`{value}`"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_variable_that_a_document_names_is_read(document: Path) -> None:
    internal = {"KGW_TEST_AMQP_URL", "KGW_TEST_DATABASE_URL"}

    assert set(_VARIABLE.findall(document.read_text())) <= environment() | internal


@pytest.fixture(scope="module")
def api() -> FastAPI:
    """The console's routes; nothing is asked of its store."""
    return application(Context(cast(Store, None), Following()), guard(ConsoleSettings()))


def test_the_readme_lists_every_route_of_the_api(api: FastAPI) -> None:
    listed = {row[0].strip("`") for row in rows(README, "### API")}
    there = {f"{method.upper()} {path}" for path, methods in api.openapi()["paths"].items() for method in methods}

    assert listed == there


def test_the_readme_lists_every_url_of_the_listener() -> None:
    listed = [row[0].strip("`") for row in rows(README, "### URLs")]

    for url in listed:
        path = url.removeprefix("POST ").replace("{auth}", "github").encode()
        assert resolve(re.sub(rb"\{\w+\}", b"x", path)) is not None, url
    assert len(listed) == 4


def test_the_readme_lists_every_provider() -> None:
    connect = README.split("\n## Connect", 1)[1].split("\n## ", 1)[0]

    assert set(re.findall(r"/listener/([\w-]+)/global", connect)) == set(PROVIDERS)


def test_every_command_that_a_document_shows_is_a_verb() -> None:
    shown = {
        verb for path in DOCUMENTS for verb in re.findall(r"(?:`|^)kgw ([a-z][\w-]*)", path.read_text(), re.MULTILINE)
    }
    run = {verb for path in DOCUMENTS for verb in re.findall(r"\./run ([a-z]\w*)", path.read_text())}

    assert {"ingress", "worker", "console", "migrate"} <= shown <= verbs()
    assert run <= set(VERBS)


def test_the_contributors_page_lists_every_verb_of_run() -> None:
    listed = {
        row[0].strip("`").removeprefix("./run ")
        for row in rows(f"\n{(ROOT / 'CONTRIBUTING.md').read_text()}", "# Contributing")
    }

    assert listed == set(VERBS) - {"help"}


def test_the_answers_page_lists_every_answer() -> None:
    listed = [(int(row[0]), row[1].strip("`")) for row in rows(_page("answers"), "# What the sender is told")]

    assert sorted(listed) == sorted((answer.status, outcome.value) for outcome, answer in ANSWERS.items())


def test_the_subscribers_page_lists_every_result_that_is_told() -> None:
    listed = {row[0].strip("`") for row in rows(_page("subscribe"), "## What to bind to")}
    sources = "".join(path.read_text() for room in ("ingress", "worker") for path in (ROOT / room).rglob("*.py"))

    assert listed == {kind.value for kind in ResultType if f"ResultType.{kind.name}" in sources}


def test_the_envelope_has_the_keys_of_a_result() -> None:
    listed = {key for row in rows(_page("subscribe"), "## The envelope") for key in re.findall(r"`(\w+)`", row[0])}
    result = Result(
        id="1",
        type=ResultType.RUN_STARTED,
        stream="2",
        sequence=1,
        time=datetime(2026, 11, 1, tzinfo=UTC),
        delivery_id="3",
        run_id="2",
        data={},
    )

    assert listed == set(result.to_cloudevent()) - {"specversion", "datacontenttype"}


def _page(name: str) -> str:
    return "\n" + (ROOT / "docs" / f"{name}.md").read_text()
