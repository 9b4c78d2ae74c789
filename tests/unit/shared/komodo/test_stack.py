"""A stack is joined from what Komodo lists and what it has stored, and nothing that is secret comes along."""

from __future__ import annotations

from typing import Any

import pytest

from shared.komodo.types import Stack, TrackedFile, source_of
from tests.unit.shared.komodo.answers import TAG_ID, full_stack, list_item


def joined(item: dict[str, Any] | None = None, **config: Any) -> Stack:
    return Stack.from_json(item or list_item(), full_stack(**config), {TAG_ID: "prod"})


def test_a_stack_has_what_the_list_and_the_configuration_say() -> None:
    stack = joined()

    assert (stack.name, stack.server, stack.state, stack.source) == ("web-prod", "prod-1", "running", "git")
    assert (stack.git_provider, stack.repo, stack.branch) == ("github.com", "acme/infra", "main")
    assert (stack.run_directory, stack.webhook_enabled, stack.tags) == ("stacks/web", True, ("prod",))


def test_a_tag_that_was_just_made_keeps_its_id() -> None:
    stack = Stack.from_json(list_item(), full_stack(), {})

    assert stack.tags == (TAG_ID,)


def test_what_komodo_compares_is_tracked_and_nothing_else() -> None:
    stack = joined()

    assert stack.tracked_files == (
        TrackedFile(path="compose.yaml"),
        TrackedFile(path="prod.env"),
        TrackedFile(path="config/app.yml", requires="Restart", services=("app",)),
        TrackedFile(path="notes.md", requires="None"),
    )


def test_a_stack_without_file_paths_has_komodos_default() -> None:
    stack = joined(file_paths=[], additional_env_files=[], config_files=[])

    assert stack.tracked_files == (TrackedFile(path="compose.yaml"),)


def test_a_linked_repo_decides_repository_and_branch() -> None:
    item = list_item(linked_repo="6712", git_provider="git.example.com", repo="acme/linked", branch="prod")

    stack = joined(item, linked_repo="6712", repo="acme/left-over", commit="a1b2c3d")

    assert (stack.source, stack.git_provider, stack.repo) == ("linked-repo", "git.example.com", "acme/linked")
    assert stack.branch == "prod"
    assert stack.pinned_commit == ""


def test_a_pinned_stack_says_so() -> None:
    assert joined(commit="a1b2c3d").pinned_commit == "a1b2c3d"


@pytest.mark.parametrize("config", [{"files_on_host": True}, {"repo": "", "file_contents": "services: {}"}])
def test_what_an_older_configuration_left_behind_is_not_the_stacks_repository(config: dict[str, Any]) -> None:
    stack = joined(list_item(repo="acme/left-over"), commit="a1b2c3d", **config)

    assert (stack.git_provider, stack.repo, stack.pinned_commit) == ("", "", "")


def test_a_swarm_is_named_or_at_least_known_by_its_id() -> None:
    assert joined(list_item(swarm_id="66", swarm_name="edge")).swarm == "edge"
    assert joined(list_item(swarm_id="66")).swarm == "66"


def test_no_secret_of_the_configuration_is_kept() -> None:
    kept = joined(file_contents="PASSWORD=hunter2").model_dump_json()

    assert "hunter2" not in kept
    assert "a secret of this stack" not in kept


SOURCES: list[tuple[dict[str, Any], str]] = [
    ({"files_on_host": True, "linked_repo": "67", "repo": "a/b", "file_contents": "x"}, "files"),
    ({"linked_repo": "67", "repo": "a/b", "file_contents": "x"}, "linked-repo"),
    ({"repo": "a/b", "file_contents": "x"}, "git"),
    ({"repo": "", "file_contents": "x"}, "ui"),
    ({"repo": "", "file_contents": ""}, "none"),
    ({}, "none"),
]


@pytest.mark.parametrize(("config", "source"), SOURCES, ids=[source for _, source in SOURCES[:-1]] + ["empty"])
def test_the_first_source_that_applies_wins(config: dict[str, Any], source: str) -> None:
    assert source_of(config) == source
