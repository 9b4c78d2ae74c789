"""
The simulated repositories: commits, what they change, and how they are found.
"""

from __future__ import annotations

import pytest

from demo.core.errors import GitFailed
from demo.core.git import KEPT, Checkouts, GitRepo


@pytest.fixture
def repo() -> GitRepo:
    repo = GitRepo("github.com", "acme/infra")
    repo.push("main", {"a": "1", "b": "1"}, "first")
    return repo


def test_a_commit_tells_what_it_added_modified_and_removed(repo: GitRepo) -> None:
    first = repo.head("main")

    commit = repo.push("main", {"a": "2", "b": None, "c": "1", "gone": None}, "second")

    assert (commit.added, commit.modified, commit.removed) == (("c",), ("a",), ("b",))
    assert commit.parents == (first.sha,)
    assert dict(commit.tree) == {"a": "2", "c": "1"}
    assert dict(first.tree) == {"a": "1", "b": "1"}


def test_a_new_branch_starts_at_the_default_branch(repo: GitRepo) -> None:
    commit = repo.push("feature", {"a": "2"}, "on a branch")

    assert commit.parents == (repo.branches["main"],)
    assert repo.head("main").tree["a"] == "1"


def test_the_same_change_on_the_same_parent_is_the_same_commit(repo: GitRepo) -> None:
    other = GitRepo("github.com", "acme/other")
    other.push("main", {"a": "1", "b": "1"}, "first")

    assert repo.push("main", {"a": "2"}, "x") == other.push("main", {"a": "2"}, "x")


def test_commits_are_found_by_sha_prefix_and_tag(repo: GitRepo) -> None:
    commit = repo.head("main")
    repo.tags["v1"] = commit.sha

    assert repo.at(commit.sha) is repo.at(commit.short) is repo.at("v1") is commit
    with pytest.raises(GitFailed, match="unknown revision"):
        repo.at("v2")
    with pytest.raises(GitFailed, match="couldn't find remote ref"):
        repo.head("none")


def test_old_commits_are_forgotten_and_named_ones_kept(repo: GitRepo) -> None:
    first = repo.head("main")
    repo.tags["v1"] = first.sha
    for number in range(KEPT + 10):
        repo.push("main", {"a": f"n{number}"}, "more")

    assert len(repo.commits) == KEPT
    assert repo.at("v1") is first


def test_a_checkout_is_pulled_again_only_when_it_is_old(repo: GitRepo) -> None:
    checkouts = Checkouts()
    first = checkouts.pull(("x",), lambda: repo.head("main"), now=100.0, max_age=5)
    second = repo.push("main", {"a": "2"}, "second")

    pulls = [checkouts.pull(("x",), lambda: repo.head("main"), now=now, max_age=5) for now in (104.9, 105.0)]
    other = checkouts.pull(("y",), lambda: repo.head("main"), now=101.0, max_age=5)

    assert pulls == [first, second]
    assert other == second
