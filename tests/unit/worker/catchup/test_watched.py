"""Which branches of which repositories are asked about, and whom."""

from __future__ import annotations

from typing import Any

import pytest

from shared.komodo.types import Stack
from shared.provider_api.access import ProviderAccess
from worker.catchup.watched import Watched, watching


def a_stack(repo: str = "acme/infra", **more: Any) -> Stack:
    values = {"id": "1", "name": "web", "source": "git", "git_provider": "github.com", "branch": "main"} | more
    return Stack.model_validate({"repo": repo} | values)


def access(kind: str = "github", **more: Any) -> ProviderAccess:
    return ProviderAccess.model_validate({"kind": kind, "token": "t"} | more)


def watched(*stacks: Stack, accesses: tuple[ProviderAccess, ...] = (access(),)) -> list[Watched]:
    return [one for _, found in watching(stacks, accesses).by_access for one in found]


def test_a_repository_is_asked_once_about_all_branches_that_its_stacks_follow() -> None:
    found = watched(a_stack(), a_stack("Acme/Infra.git", branch="next"), a_stack())

    assert found == [Watched("github.com/acme/infra", "acme/infra", frozenset({"main", "next"}))]


@pytest.mark.parametrize(
    "different",
    [{"template": True}, {"pinned_commit": "abc"}, {"webhook_enabled": False}, {"source": "ui"}, {"branch": ""}],
    ids=lambda values: next(iter(values)),
)
def test_what_no_push_deploys_is_not_asked_about(different: dict[str, Any]) -> None:
    assert watched(a_stack(**different)) == []


def test_a_repository_that_no_access_is_for_is_named() -> None:
    found = watching([a_stack(), a_stack(git_provider="git.example.com")], [access()])

    assert found.unreachable == ("git.example.com/acme/infra",)


def test_the_first_access_that_has_a_repository_is_asked() -> None:
    mine, rest = access(repositories="acme/*"), access()
    found = watching([a_stack(), a_stack("other/app")], [mine, rest])

    assert [(one, [target.key for target in targets]) for one, targets in found.by_access] == [
        (mine, ["github.com/acme/infra"]),
        (rest, ["github.com/other/app"]),
    ]


def test_lists_narrow_repositories_and_branches() -> None:
    only = access(repositories="github.com/acme/*, !acme/secret", branches="main, release/*")
    stacks = [a_stack(), a_stack(branch="dev"), a_stack(branch="release/1"), a_stack("acme/secret"), a_stack("b/c")]

    assert watched(*stacks, accesses=(only,)) == [
        Watched("github.com/acme/infra", "acme/infra", frozenset({"main", "release/1"}))
    ]


@pytest.mark.parametrize(
    ("provider", "repo", "asked", "path"),
    [
        ("github.com", "Acme/Infra", access(), "Acme/Infra"),
        ("https://github.com", "/acme/infra.git", access(), "acme/infra"),
        ("gitlab.com", "Group/Sub/App", access("gitlab"), "Group/Sub/App"),
        ("example.com/git", "Acme/App", access("gitea", host="example.com/git"), "Acme/App"),
        ("example.com", "git/Acme/App", access("gitea", host="Example.com/git/"), "Acme/App"),
        ("git.example.com:3000", "Acme/App", access("gitea", host="git.example.com:3000"), "Acme/App"),
        ("dev.azure.com", "Org/Proj/_git/Repo", access("azure"), "org/proj/repo"),
        ("dev.azure.com", "Org/My Proj/_git/Repo", access("azure"), "org/my proj/repo"),
        ("bitbucket.org", "Team/Repo", access("bitbucket"), "Team/Repo"),
    ],
)
def test_a_path_is_as_it_was_written_unless_the_provider_writes_more_into_it(
    provider: str, repo: str, asked: ProviderAccess, path: str
) -> None:
    (found,) = watched(a_stack(repo, git_provider=provider), accesses=(asked,))

    assert found.path == path
