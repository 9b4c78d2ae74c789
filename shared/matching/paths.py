"""From changed paths to stacks: a stack is affected when a path lies in its run directory or is one of its tracked files."""

from __future__ import annotations

import posixpath
from bisect import bisect_left
from collections.abc import Iterable

from shared.komodo.types import GIT_SOURCES, Stack


class ChangedPaths:
    """An event's changed paths, sorted once, so that asking about one more stack costs next to nothing."""

    def __init__(self, paths: Iterable[str]) -> None:
        self._paths = sorted(set(paths))

    def at_or_below(self, place: str) -> str | None:
        """The first path that is `place` or lies in it; the empty place is the repository's root."""
        if not place:
            return self._paths[0] if self._paths else None
        same, below = self._first_from(place), self._first_from(f"{place}/")
        if same == place:
            return same
        return below if below is not None and below.startswith(f"{place}/") else None

    def _first_from(self, text: str) -> str | None:
        position = bisect_left(self._paths, text)
        return self._paths[position] if position < len(self._paths) else None


def affected_by(stack: Stack, changed: ChangedPaths, layout: str = "") -> str | None:
    """
    The changed path that concerns the stack, or None; paths are relative to the repository's root.

    `layout` is a further place, with the stack's own names for `{stack}` and `{server}`.
    """
    if stack.source not in GIT_SOURCES:
        return None
    places = (_normal(stack.run_directory), *places_of(stack))
    if layout:
        named = layout.removesuffix("/**").replace("{server}", stack.server).replace("{stack}", stack.name)
        places = (*places, _normal(named))
    return next((path for place in places if (path := changed.at_or_below(place)) is not None), None)


def places_of(stack: Stack) -> tuple[str, ...]:
    """The files that Komodo tracks for the stack, by their path from the repository's root."""
    return tuple(_normal(posixpath.join(stack.run_directory, file.path)) for file in stack.tracked_files)


def _normal(path: str) -> str:
    """`./a/`, `/a` and `a` are the same place; the repository's root is the empty string."""
    normal = posixpath.normpath("/" + path.strip()).lstrip("/")
    return "" if normal == "." else normal
