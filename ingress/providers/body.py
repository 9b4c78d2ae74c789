"""A request's body as it came, and the JSON text inside it."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

_MAX_FIELDS = 4


@dataclass(frozen=True, slots=True)
class Body:
    """The raw bytes; `is_form` when the JSON is the field `payload` of an urlencoded form."""

    raw: bytes
    is_form: bool = False

    def json_text(self) -> bytes | None:
        """The JSON as bytes, unparsed; None when a form has not exactly one `payload`, or more fields than any sender sends."""
        if not self.is_form:
            return self.raw
        fields = self.raw.split(b"&", _MAX_FIELDS)
        if len(fields) > _MAX_FIELDS:
            return None
        pairs = [field.partition(b"=") for field in fields]
        payloads = [value for name, _, value in pairs if _decoded(name) == b"payload"]
        return _decoded(payloads[0]) if len(payloads) == 1 else None


def _decoded(text: bytes) -> bytes:
    return unquote_to_bytes(text.replace(b"+", b" "))
