"""
Komodo's pattern lists, as batch executions and queries split and match them. Only names are tested, never ids.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import re2

from demo.core.errors import CoreError, HandlerPanic

_ESCAPABLE = b"*?\\"
_QUIET = re2.Options()
_QUIET.log_errors = False


def split(text: str) -> list[str]:
    """
    Split a list on lines and commas, leaving out blank entries and `#` comments.
    """
    entries: list[str] = []
    for line in map(str.strip, text.split("\n")):
        if line and not line.startswith("#"):
            entries += [entry for entry in map(str.strip, line.split(" #", 1)[0].split(",")) if entry]
    return entries


def compile_entry(entry: str) -> Callable[[str], bool]:
    """
    Compile one entry: a regex between backslashes, searched for anywhere, or else a wildcard for the whole name.

    Raises CoreError with Komodo's text, and HandlerPanic for a lone backslash.
    """
    if entry == "\\":
        raise HandlerPanic("a lone backslash")
    if entry[0] == entry[-1] == "\\":
        return _regex(entry[1:-1])
    return _wildcard(entry)


def _regex(source: str) -> Callable[[str], bool]:
    try:
        found = re2.compile(source, _QUIET).search
    except re2.error as error:
        raise CoreError("Regex matching string invalid", trace=(str(error),)) from error
    return lambda name: found(name) is not None


def _wildcard(source: str) -> Callable[[str], bool]:
    pattern, rest = b"", iter(source.encode())
    for byte in rest:
        if byte == ord("\\"):
            escaped = next(rest, None)
            if escaped is None or escaped not in _ESCAPABLE:
                raise CoreError("Wildcard matching string invalid", trace=("invalid escape sequence",))
            pattern += re.escape(bytes([escaped]))
        else:
            pattern += {ord("*"): b".*", ord("?"): b"."}.get(byte) or re.escape(bytes([byte]))
    whole = re.compile(pattern, re.DOTALL).fullmatch
    return lambda name: whole(name.encode()) is not None
