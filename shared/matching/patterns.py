r"""
Komodo's pattern lists, as Komodo reads them, with `!` to exclude.

Lines and commas separate entries; a line that begins with `#` and everything after ` #` is a comment. An entry between two backslashes is a regular
expression, searched for anywhere; every other entry is a wildcard over the whole name, where `*` is any run of bytes and `?` one byte.
A `!` before an entry is ours. Regular expressions are RE2's: Komodo's dialect but for `\w`, `\d` and `\b`, which know ASCII only.
Facts: Komodo v2.3.2, `client/core/rs/src/parsers.rs` and `bin/core/src/resource/mod.rs`; the wildcard crate 0.3.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

import re2

MAX_LENGTH = 10_000
CACHED_LISTS = 1_000
MAX_SHOWN = 100

_REGEX_MARK = "\\"
_ESCAPABLE = frozenset(b"*?\\")
_SPECIAL = frozenset("*?\\")


class PatternError(ValueError):
    """The pattern list can not be read; the message names the entry."""


@dataclass(frozen=True)
class Entry:
    """One pattern; `text` is as it was written, `excludes` says that it began with `!`, and `pattern` is what follows."""

    text: str
    pattern: str
    excludes: bool
    matches: Callable[[bytes], bool]


@dataclass(frozen=True)
class PatternList:
    """A list of patterns: a name matches when one entry says so and none excludes it, in whichever order they stand."""

    entries: tuple[Entry, ...]
    ignores_case: bool = False

    @staticmethod
    def parse(text: str, *, ignore_case: bool = False) -> PatternList:
        """Read the list; raises `PatternError`. The same text is compiled once."""
        return _parse(text, ignore_case)

    def decide(self, *names: str) -> tuple[bool, str | None]:
        """
        Whether the thing known by any of these names matches, and the entry that decided.

        A list that only excludes takes everything else; an empty one takes nothing, as in Komodo.
        """
        encoded = [_bytes(name.lower() if self.ignores_case else name) for name in names]
        takes_the_rest = bool(self.entries) and all(entry.excludes for entry in self.entries)
        excluding = (entry for entry in self.entries if entry.excludes)
        including = (entry for entry in self.entries if not entry.excludes)
        if entry := _first(excluding, encoded):
            return False, entry.text
        if entry := _first(including, encoded):
            return True, entry.text
        return takes_the_rest, None

    def matches(self, *names: str) -> bool:
        """Whether the thing known by any of these names matches."""
        return self.decide(*names)[0]

    def bound(self, word: str, names: Collection[str]) -> PatternList:
        """The list in which the entry `word` stands for exactly these names; they are compared, never read as patterns."""
        is_named = frozenset(map(_bytes, names)).__contains__
        return replace(
            self,
            entries=tuple(
                replace(entry, matches=is_named) if entry.pattern == word else entry for entry in self.entries
            ),
        )


def split(text: str) -> Iterator[str]:
    """The entries of a list, in order."""
    for line in map(str.strip, text.split("\n")):
        if line and not line.startswith("#"):
            yield from (entry for entry in map(str.strip, line.split(" #", 1)[0].split(",")) if entry)


def _first(entries: Iterator[Entry], names: list[bytes]) -> Entry | None:
    return next((entry for entry in entries if any(entry.matches(name) for name in names)), None)


@lru_cache(maxsize=CACHED_LISTS)
def _parse(text: str, ignore_case: bool) -> PatternList:
    if len(text) > MAX_LENGTH:
        raise PatternError(f"a pattern list of more than {MAX_LENGTH} characters")
    return PatternList(tuple(_entry(entry, ignore_case) for entry in split(text)), ignore_case)


def _entry(text: str, ignore_case: bool) -> Entry:
    excludes = text.startswith("!")
    pattern = text[1:].strip() if excludes else text
    if not pattern:
        raise PatternError("a lone ! excludes nothing")
    return Entry(text, pattern, excludes, _compile(pattern, ignore_case))


def _compile(pattern: str, ignore_case: bool) -> Callable[[bytes], bool]:
    if len(pattern) > 1 and pattern[0] == pattern[-1] == _REGEX_MARK:
        searched = _re2(_bytes(pattern[1:-1]), pattern, case_sensitive=not ignore_case)
        return lambda name: searched.search(name) is not None
    encoded = _bytes(pattern.lower() if ignore_case else pattern)
    if not _SPECIAL & set(pattern):
        return encoded.__eq__
    whole = _re2(_wildcard(encoded, pattern), pattern, bytewise=True)
    return lambda name: whole.fullmatch(name) is not None


def _wildcard(pattern: bytes, shown: str) -> bytes:
    translated, rest = b"", iter(pattern)
    for byte in rest:
        if byte == 0x5C:
            escaped = next(rest, None)
            if escaped not in _ESCAPABLE:
                raise PatternError(f"{shown[:MAX_SHOWN]}: a backslash escapes only *, ? and itself")
            translated += b"\\x%02x" % escaped
        elif byte == 0x2A:
            translated += b".*"
        elif byte == 0x3F:
            translated += b"."
        else:
            translated += b"\\x%02x" % byte
    return translated


def _re2(pattern: bytes, shown: str, *, bytewise: bool = False, case_sensitive: bool = True) -> re2._Regexp:
    options = re2.Options()
    options.log_errors = False
    options.max_mem = 1 << 20
    options.case_sensitive = case_sensitive
    if bytewise:
        options.encoding = re2.Options.Encoding.LATIN1
        options.dot_nl = True
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        raise PatternError(f"{shown[:MAX_SHOWN]}: not a pattern: {_text(error)[:MAX_SHOWN]}") from error


def _bytes(text: str) -> bytes:
    # A name from a provider's JSON may hold half of a surrogate pair, which is no reason to fail.
    return text.encode(errors="surrogatepass")


def _text(error: Exception) -> str:
    reason = error.args[0] if error.args else error
    return reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
