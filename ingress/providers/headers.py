"""
The header fields of one request, as bytes: what is not ASCII must not be able to raise while it is compared.

A field that may occur once and occurs twice counts as missing: which of the two was meant is nobody's guess.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

MAX_HEADER_TEXT = 200


class Headers:
    """Fields by name. Names are in lower case, as ASGI gives them."""

    __slots__ = ("_fields", "size")

    def __init__(self, pairs: Iterable[tuple[bytes, bytes]]) -> None:
        self._fields: dict[bytes, list[bytes]] = {}
        self.size = 0
        for name, value in pairs:
            self._fields.setdefault(name.lower(), []).append(value)
            self.size += len(name) + len(value)

    def __contains__(self, name: bytes) -> bool:
        return name in self._fields

    def all(self, name: bytes) -> Sequence[bytes]:
        """Every value of the field, in order."""
        return self._fields.get(name, ())

    def only(self, name: bytes) -> bytes | None:
        """The value, if the field occurs exactly once."""
        values = self._fields.get(name, ())
        return values[0] if len(values) == 1 else None

    def text(self, name: bytes) -> str | None:
        """The value as printable ASCII of 1 to 200 characters; anything else is None."""
        value = self.only(name)
        if not value or len(value) > MAX_HEADER_TEXT or not value.isascii():
            return None
        text = value.decode("ascii")
        return text if text.isprintable() else None
