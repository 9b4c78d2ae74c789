"""
The Git side of the simulation: repositories with real histories of file trees, and the checkouts that Core and
Periphery keep of them. Commit ids follow from content alone, so a demo has the same ones each time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import orjson

from demo.core.errors import GitFailed

KEPT = 1000
"""How many commits of a repository can still be checked out, beside those that a branch or tag names."""
SHORT = 7
"""How many digits of a commit Komodo keeps as its "hash"."""


@dataclass(frozen=True, slots=True)
class Commit:
    sha: str
    parents: tuple[str, ...]
    message: str
    added: tuple[str, ...]
    modified: tuple[str, ...]
    removed: tuple[str, ...]
    tree: Mapping[str, str] = field(repr=False)

    @property
    def short(self) -> str:
        return self.sha[:SHORT]

    @classmethod
    def on(cls, parent: Commit | None, changes: Mapping[str, str | None], message: str) -> Commit:
        """
        Make the commit that writes (or, for None, deletes) these files on top of `parent`.
        """
        tree = dict(parent.tree) if parent else {}
        added = tuple(sorted(path for path, text in changes.items() if text is not None and path not in tree))
        modified = tuple(
            sorted(path for path, text in changes.items() if text is not None and path in tree and tree[path] != text)
        )
        removed = tuple(sorted(path for path, text in changes.items() if text is None and path in tree))
        for path, text in changes.items():
            if text is None:
                tree.pop(path, None)
            else:
                tree[path] = text
        parents = (parent.sha,) if parent else ()
        content = orjson.dumps([parents, message, sorted(changes.items())])
        sha = hashlib.sha1(content, usedforsecurity=False).hexdigest()
        return cls(sha, parents, message, added, modified, removed, tree)


@dataclass
class GitRepo:
    """
    One repository at a provider. `name` is `owner/name`.
    """

    provider: str
    name: str
    default_branch: str = "main"
    commits: dict[str, Commit] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    def push(self, branch: str, changes: Mapping[str, str | None], message: str) -> Commit:
        """
        Commit onto the branch; a branch that does not exist yet starts at the default branch.
        """
        parent = self.commits.get(self.branches.get(branch) or self.branches.get(self.default_branch, ""))
        commit = Commit.on(parent, changes, message)
        self.commits[commit.sha] = commit
        self.branches[branch] = commit.sha
        if len(self.commits) > KEPT:
            self._forget_oldest()
        return commit

    def _forget_oldest(self) -> None:
        """
        Drop the oldest commit that no branch or tag names: each holds a whole tree.
        """
        named = {*self.branches.values(), *self.tags.values()}
        del self.commits[next(sha for sha in self.commits if sha not in named)]

    def head(self, branch: str) -> Commit:
        sha = self.branches.get(branch)
        if sha is None:
            raise GitFailed("Checkout branch", f"fatal: couldn't find remote ref {branch}")
        return self.commits[sha]

    def at(self, reference: str) -> Commit:
        """
        Find a commit by full or abbreviated sha, or by tag.
        """
        sha = self.tags.get(reference, reference)
        found = self.commits.get(sha) or next((c for s, c in self.commits.items() if s.startswith(sha)), None)
        if found is None:
            raise GitFailed("Set commit", f"fatal: ambiguous argument '{reference}': unknown revision")
        return found


@dataclass(frozen=True, slots=True)
class Source:
    """
    What a stack or Repo is checked out from.
    """

    provider: str
    repo: str
    branch: str
    commit: str

    @property
    def checkout(self) -> tuple[str, ...]:
        """
        Core's checkout path: one clone per provider, repository, branch and commit, shared by all stacks.
        """
        return (self.provider, self.repo, self.branch, self.commit or "latest")


@dataclass
class GitHost:
    """
    All repositories of all providers.
    """

    repos: dict[tuple[str, str], GitRepo] = field(default_factory=dict)

    def find(self, provider: str, repo: str) -> GitRepo:
        found = self.repos.get((provider, repo))
        if found is None:
            raise GitFailed("Clone Repo", f"fatal: repository 'https://{provider}/{repo}/' not found")
        return found

    def fetch(self, source: Source) -> Commit:
        repo = self.find(source.provider, source.repo)
        head = repo.head(source.branch)
        return repo.at(source.commit) if source.commit else head


@dataclass
class Checkouts:
    """
    Checkout paths with the commit in each and when it was pulled, in seconds of a monotonic clock.

    A pull of a path that was pulled less than the cache's age ago does nothing: a push in between stays unseen.
    """

    entries: dict[tuple[str, ...], tuple[Commit, float]] = field(default_factory=dict)

    def pull(self, path: tuple[str, ...], fetch: Callable[[], Commit], *, now: float, max_age: float) -> Commit:
        cached = self.entries.get(path)
        if cached is not None and now - cached[1] < max_age:
            return cached[0]
        commit = fetch()
        self.entries[path] = (commit, now)
        return commit

    def clear(self) -> None:
        self.entries.clear()
