"""
JSON pointers: where in a document a value stands (https://www.rfc-editor.org/rfc/rfc6901).

Pure and bounded. What a pointer does not reach is None, like what the document says is null: the reader of the value has to decide about null anyway.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_POINTER = 500
MAX_DEPTH = 32

_ESCAPE = re.compile(r"~(?![01])")
_INDEX = re.compile(r"0|[1-9][0-9]{0,7}")


class InvalidPointer(ValueError):
    """The text is no JSON pointer, or a longer or deeper one than any sender needs."""


@dataclass(frozen=True, slots=True)
class Pointer:
    """The way to a value, from the document's top: keys of objects and positions in arrays."""

    steps: tuple[str, ...]

    @classmethod
    def from_text(cls, text: str) -> Pointer:
        """Read `/a/0/b~1c`; raises `InvalidPointer`, and says what is wrong with it."""
        if len(text) > MAX_POINTER:
            raise InvalidPointer(f"a JSON pointer has at most {MAX_POINTER} characters here")
        if text and not text.startswith("/"):
            raise InvalidPointer("a JSON pointer begins with a slash: /repository/url")
        if _ESCAPE.search(text):
            raise InvalidPointer("in a JSON pointer, ~ is written ~0 and a slash inside a name ~1")
        steps = text.split("/")[1:]
        if len(steps) > MAX_DEPTH:
            raise InvalidPointer(f"a JSON pointer has at most {MAX_DEPTH} steps here")
        return cls(tuple(step.replace("~1", "/").replace("~0", "~") for step in steps))

    def __str__(self) -> str:
        return "".join("/" + step.replace("~", "~0").replace("/", "~1") for step in self.steps)

    def find(self, document: object) -> object:
        """The value, or None. The position `-`, behind an array's end, holds nothing."""
        found = document
        for step in self.steps:
            if isinstance(found, dict):
                found = found.get(step)
            elif isinstance(found, list) and _INDEX.fullmatch(step) and int(step) < len(found):
                found = found[int(step)]
            else:
                return None
        return found
