r"""
Komodo's pattern lists, as Komodo reads them, with `!` to exclude.

Lines and commas separate entries; a line that begins with `#` and everything after ` #` is a comment. An entry between two backslashes is a regular
expression, searched for anywhere; every other entry is a wildcard over the whole name, where `*` is any run of bytes and `?` one byte.
Facts: Komodo v2.3.2, `client/core/rs/src/parsers.rs` and `bin/core/src/resource/mod.rs`; the wildcard crate 0.3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import re2

MAX_LENGTH = 10_000
CACHED_LISTS = 1_000

_REGEX_MARK = "\\"
_ESCAPABLE = frozenset(b"*?\\")


class PatternError(ValueError):
    """The pattern list can not be read; the message names the entry."""


@dataclass(frozen=True)
class Entry:
    """One pattern; `text` is as it was written, `excludes` says that it began with `!`."""

    text: str
    excludes: bool
    matches: Callable[[str], bool]


@dataclass(frozen=True)
class PatternList:
    """A list of patterns: a name matches when one entry says so and none excludes it."""

    entries: tuple[Entry, ...]

    @staticmethod
    def parse(text: str) -> PatternList:
        """Read the list; raises `PatternError`. The same text is compiled once."""
        return _parse(text)

    def decide(self, *names: str) -> tuple[bool, str | None]:
        """
        Whether the thing known by any of these names matches, and the entry that decided.

        A list that only excludes takes everything else; an empty one takes nothing, as in Komodo.
        """
        for entry in self.entries:
            if entry.excludes and any(entry.matches(name) for name in names):
                return False, entry.text
        including = [entry for entry in self.entries if not entry.excludes]
        for entry in including:
            if any(entry.matches(name) for name in names):
                return True, entry.text
        return bool(self.entries) and not including, None

    def matches(self, *names: str) -> bool:
        """Whether the thing known by any of these names matches."""
        return self.decide(*names)[0]


def split(text: str) -> Iterator[str]:
    """The entries of a list, in order."""
    for line in map(str.strip, text.split("\n")):
        if line and not line.startswith("#"):
            yield from (entry for entry in map(str.strip, line.split(" #", 1)[0].split(",")) if entry)


@lru_cache(maxsize=CACHED_LISTS)
def _parse(text: str) -> PatternList:
    if len(text) > MAX_LENGTH:
        raise PatternError(f"a pattern list of more than {MAX_LENGTH} characters")
    return PatternList(tuple(_entry(entry) for entry in split(text)))


def _entry(text: str) -> Entry:
    excludes = text.startswith("!")
    pattern = text[1:].strip() if excludes else text
    if not pattern:
        raise PatternError("a lone ! excludes nothing")
    return Entry(text, excludes, _compile(pattern))


def _compile(pattern: str) -> Callable[[str], bool]:
    if len(pattern) > 1 and pattern[0] == pattern[-1] == _REGEX_MARK:
        searched = _re2(pattern[1:-1], pattern)
        return lambda name: searched.search(name) is not None
    if not set(pattern) & set("*?\\"):
        return lambda name: name == pattern
    whole = _re2_bytes(_wildcard(pattern.encode(), pattern))
    return lambda name: whole.fullmatch(name.encode()) is not None


def _wildcard(pattern: bytes, shown: str) -> bytes:
    translated, rest = b"", iter(pattern)
    for byte in rest:
        if byte == 0x5C:
            escaped = next(rest, None)
            if escaped not in _ESCAPABLE:
                raise PatternError(f"{shown}: a backslash escapes only *, ? and itself")
            translated += _literal(escaped)
        elif byte == 0x2A:
            translated += b".*"
        elif byte == 0x3F:
            translated += b"."
        else:
            translated += _literal(byte)
    return translated


def _literal(byte: int | None) -> bytes:
    return b"\\x%02x" % byte if byte is not None else b""


def _re2(pattern: str, shown: str) -> re2._Regexp:
    try:
        return re2.compile(pattern, _options(latin=False))
    except re2.error as error:
        raise PatternError(f"{shown}: not a regular expression: {_text(error)}") from error


def _re2_bytes(pattern: bytes) -> re2._Regexp:
    return re2.compile(pattern, _options(latin=True))


def _options(*, latin: bool) -> re2.Options:
    options = re2.Options()
    options.log_errors = False
    options.max_mem = 1 << 20
    if latin:
        options.encoding = re2.Options.Encoding.LATIN1
        options.dot_nl = True
    return options


def _text(error: Exception) -> str:
    reason = error.args[0] if error.args else error
    return reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
