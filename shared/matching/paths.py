"""From changed paths to stacks: a stack is affected when a path lies in its run directory or is one of its tracked files."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable

from shared.komodo.types import Stack


def affected_by(stack: Stack, changed_paths: Iterable[str]) -> str | None:
    """The first changed path that concerns the stack, or None. Paths are relative to the repository's root."""
    root = _normal(stack.run_directory)
    tracked = {_normal(posixpath.join(stack.run_directory, file.path)) for file in stack.tracked_files}
    inside = f"{root}/" if root else ""
    return next((path for path in changed_paths if path.startswith(inside) or path in tracked), None)


def _normal(path: str) -> str:
    """`./a/`, `/a` and `a` are the same directory; the repository's root is the empty string."""
    normal = posixpath.normpath("/" + path.strip()).lstrip("/")
    return "" if normal == "." else normal
