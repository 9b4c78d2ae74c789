"""Whom to ask about what: the branches that Komodo's stacks follow, by the provider that has them. Decisions alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from shared.komodo.types import GIT_SOURCES, Stack
from shared.matching.repository import key_or_none
from shared.provider_api.access import ProviderAccess


@dataclass(frozen=True)
class Watched:
    """One repository: its key, its path below the provider's host, and the branches that some stack follows."""

    key: str
    path: str
    branches: frozenset[str]


@dataclass(frozen=True)
class Watching:
    """What each access is asked about, and the repositories that no access is for."""

    by_access: tuple[tuple[ProviderAccess, tuple[Watched, ...]], ...]
    unreachable: tuple[str, ...]


def watching(stacks: Iterable[Stack], accesses: Sequence[ProviderAccess]) -> Watching:
    """
    Everything that a push could deploy: neither templates, nor pinned stacks, nor those with webhooks disabled. The first access that has a
    repository is asked.
    """
    branches: dict[str, set[str]] = {}
    paths: dict[str, str] = {}
    for stack in stacks:
        key = _key(stack)
        if key is not None:
            branches.setdefault(key, set()).add(stack.branch)
            paths.setdefault(key, _path(stack))
    of_access: dict[int, list[Watched]] = {position: [] for position in range(len(accesses))}
    unreachable = []
    for key in sorted(branches):
        position = next((number for number, access in enumerate(accesses) if access.has(key)), None)
        if position is None:
            unreachable.append(key)
            continue
        access = accesses[position]
        followed = frozenset(filter(access.follows, branches[key]))
        if followed:
            of_access[position].append(Watched(key, _below(access, key, paths[key]), followed))
    return Watching(
        tuple((access, tuple(of_access[position])) for position, access in enumerate(accesses)), tuple(unreachable)
    )


def _key(stack: Stack) -> str | None:
    if stack.source not in GIT_SOURCES or not stack.branch:
        return None
    if stack.template or stack.pinned_commit or not stack.webhook_enabled:
        return None
    return key_or_none(stack.git_provider, stack.repo)


def _path(stack: Stack) -> str:
    """Host and path as people wrote them: some providers tell upper case from lower."""
    host = stack.git_provider.strip().rpartition("://")[2]
    return f"{host}/{stack.repo.strip()}".strip("/").removesuffix(".git")


def _below(access: ProviderAccess, key: str, written: str) -> str:
    """The path below the access's host: as it was written, or from the key where the provider writes more into it than the key has."""
    depth = access.repository_host.count("/") + 1
    path = "/".join(segment for segment in written.split("/") if segment).split("/", depth)[-1]
    below = key.removeprefix(f"{access.repository_host}/")
    return path if path.lower() == below else below
