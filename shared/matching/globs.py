"""
Lists of paths by gitignore's rules (https://git-scm.com/docs/gitignore), to say which changed files count.

The last pattern that fits a path decides, and `!` takes back. A list that only takes back begins with everything. pathspec translates the patterns;
RE2 matches them, in time that grows with the path and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import re2
from pathspec.patterns.gitignore.spec import GitIgnoreSpecPattern

MAX_PATTERNS = 200
MAX_LENGTH = 1_000


class GlobError(ValueError):
    """A pattern can not be read; the message names it."""


@dataclass(frozen=True)
class PathList:
    """A compiled list."""

    patterns: tuple[str, ...]
    _compiled: tuple[tuple[re2._Regexp, bool], ...]
    _begins_with_all: bool

    @staticmethod
    def parse(patterns: Sequence[str]) -> PathList:
        """Raises `GlobError`. The same list is compiled once."""
        return _parse(tuple(patterns))

    def matches(self, path: str) -> bool:
        """Whether this path, relative to the repository's root, counts."""
        decided = self._begins_with_all
        for pattern, includes in self._compiled:
            if includes is not decided and pattern.search(path) is not None:
                decided = includes
        return decided

    def first(self, paths: Iterable[str]) -> str | None:
        """The first of the paths that counts."""
        return next((path for path in paths if self.matches(path)), None)


@lru_cache(maxsize=500)
def _parse(patterns: tuple[str, ...]) -> PathList:
    if len(patterns) > MAX_PATTERNS:
        raise GlobError(f"more than {MAX_PATTERNS} patterns")
    compiled = tuple(one for pattern in patterns if (one := _compile(pattern)) is not None)
    return PathList(patterns, compiled, bool(compiled) and not any(includes for _, includes in compiled))


def _compile(pattern: str) -> tuple[re2._Regexp, bool] | None:
    if len(pattern) > MAX_LENGTH or "\n" in pattern:
        raise GlobError(f"{pattern[:100]!r}: a pattern is one line of at most {MAX_LENGTH} characters")
    options = re2.Options()
    options.log_errors = False
    options.max_mem = 1 << 20
    try:
        expression, includes = GitIgnoreSpecPattern.pattern_to_regex(pattern)
        if expression is None or includes is None:
            return None
        return re2.compile(expression, options), includes
    except (ValueError, re2.error) as error:
        raise GlobError(f"{pattern[:100]!r} is not a gitignore pattern") from error
