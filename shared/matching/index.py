"""All stacks, and those of one repository without looking at the others."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import overload

from shared.komodo.types import Stack
from shared.matching.repository import key_or_none


class StackIndex(Sequence[Stack]):
    """A list of stacks that never changes, with the way from a repository's key to its stacks."""

    __slots__ = ("_all", "_of_key")

    def __init__(self, stacks: Iterable[Stack] = ()) -> None:
        self._all = tuple(stacks)
        self._of_key: dict[str, list[Stack]] = {}
        for stack in self._all:
            if key := key_or_none(stack.git_provider, stack.repo):
                self._of_key.setdefault(key, []).append(stack)

    def of_repository(self, keys: Collection[str]) -> list[Stack]:
        """The stacks whose files come from a repository with one of these keys."""
        return [stack for key in sorted(keys) for stack in self._of_key.get(key, ())]

    def __len__(self) -> int:
        return len(self._all)

    @overload
    def __getitem__(self, position: int) -> Stack: ...
    @overload
    def __getitem__(self, position: slice) -> Sequence[Stack]: ...
    def __getitem__(self, position: int | slice) -> Stack | Sequence[Stack]:
        return self._all[position]
