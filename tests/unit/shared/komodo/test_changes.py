"""What is deployed is compared with what is there, by Komodo's own table."""

from __future__ import annotations

from typing import Any

import pytest

from shared.komodo.types import Change, StackDetail, changes
from tests.unit.shared.komodo.answers import file, full_stack

Files = list[dict[str, Any]]

COMPOSE = file("compose.yaml", "one")


def detail(deployed: Files | None, remote: Files | None, **config: Any) -> StackDetail:
    return StackDetail.from_json(full_stack(info={"deployed_contents": deployed, "remote_contents": remote}, **config))


def now(path: str, contents: str, requires: str = "Redeploy", *services: str) -> dict[str, Any]:
    return file(path, contents, requires, *services)


# What was deployed, what is there, and what follows.
TABLE: dict[str, tuple[Files | None, Files, Change]] = {
    "never deployed": (None, [now("compose.yaml", "one")], Change(True, "it was never deployed")),
    "the same": ([COMPOSE], [now("compose.yaml", "one")], Change(False, "none of its files changed")),
    "no files at all": ([COMPOSE], [], Change(False, "none of its files changed")),
    "compose file": ([COMPOSE], [now("compose.yaml", "two")], Change(True, "compose.yaml changed")),
    "new file": (
        [COMPOSE],
        [now("compose.yaml", "one"), now("prod.env", "")],
        Change(True, "prod.env is new"),
    ),
    "new file that asks for nothing": (
        [COMPOSE],
        [now("compose.yaml", "one"), now("notes.md", "", "None")],
        Change(True, "notes.md is new"),
    ),
    "change that asks for nothing": (
        [COMPOSE, file("notes.md", "old")],
        [now("compose.yaml", "one"), now("notes.md", "new", "None")],
        Change(False, "none of its files changed"),
    ),
    "file that is gone": (
        [COMPOSE, file("old.env", "x")],
        [now("compose.yaml", "one")],
        Change(False, "none of its files changed"),
    ),
    "config of some services": (
        [COMPOSE, file("a.yml", "old"), file("b.yml", "old")],
        [
            now("compose.yaml", "one"),
            now("a.yml", "new", "Redeploy", "app", "db"),
            now("b.yml", "new", "Redeploy", "db", "cache"),
        ],
        Change(True, "a.yml, b.yml changed", ("app", "db", "cache")),
    ),
    "restart of one service": (
        [COMPOSE, file("a.yml", "old")],
        [now("compose.yaml", "one"), now("a.yml", "new", "Restart", "app")],
        Change(True, "a.yml changed", ("app",), restart=("app",)),
    ),
    "restart of all": (
        [COMPOSE, file("a.yml", "old")],
        [now("compose.yaml", "one"), now("a.yml", "new", "Restart")],
        Change(True, "a.yml changed", (), restart=()),
    ),
    "restart of one, redeploy of another": (
        [COMPOSE, file("a.yml", "old"), file("b.yml", "old")],
        [
            now("compose.yaml", "one"),
            now("a.yml", "new", "Restart", "app"),
            now("b.yml", "new", "Redeploy", "db"),
        ],
        Change(True, "a.yml, b.yml changed", ("app", "db"), restart=("app",)),
    ),
    "restart of one, compose file": (
        [COMPOSE, file("a.yml", "old")],
        [now("compose.yaml", "two"), now("a.yml", "new", "Restart", "app")],
        Change(True, "compose.yaml, a.yml changed", (), restart=("app",)),
    ),
}


@pytest.mark.parametrize(("deployed", "remote", "expected"), TABLE.values(), ids=TABLE)
def test_files_decide_what_is_deployed(deployed: Files | None, remote: Files, expected: Change) -> None:
    assert changes(detail(deployed, remote)) == expected


def test_a_stack_that_is_defined_in_the_ui_is_deployed_once_and_never_again() -> None:
    ui = {"repo": "", "file_contents": "services: {}"}

    assert changes(detail(None, None, **ui)).deploys
    assert not changes(detail([COMPOSE], None, **ui)).deploys


def test_i6_files_that_komodo_has_not_read_are_not_unchanged() -> None:
    change = changes(detail([COMPOSE], None))

    assert change.deploys
    assert "not read" in change.reason


def test_a_reason_names_few_files_and_counts_the_others() -> None:
    paths = [f"{number}.env" for number in range(12)]

    change = changes(detail([file(path, "old") for path in paths], [now(path, "new") for path in paths]))

    assert change.reason == "0.env, 1.env, 2.env, 3.env, 4.env and 7 more changed"


def test_what_komodo_could_not_read_is_told_as_plain_text() -> None:
    errors = [{"path": "Failed at: Git pull", "contents": "<b>fatal</b>: could not read from remote\x1b[0m"}]

    stack = StackDetail.from_json(
        full_stack(info={"remote_errors": errors, "missing_files": ["prod.env"], "remote_contents": []})
    )

    assert stack.remote_errors == ("Failed at: Git pull: fatal: could not read from remote",)
    assert stack.missing_files == ("prod.env",)


def test_a_stack_in_detail_holds_no_secret() -> None:
    stack = detail([file(".env", "PASSWORD=hunter2")], [now(".env", "PASSWORD=hunter2")])

    assert "hunter2" not in repr(stack)
    assert "a secret of this stack" not in repr(stack)
