"""
Reading the parameters of a request, with serde's words for what does not fit. Unknown fields are ignored, as in Komodo.
"""

from __future__ import annotations

from typing import Any

from demo.core.errors import BadParams
from demo.core.resources import Json


def as_object(params: Any, variant: str) -> Json:
    if not isinstance(params, dict):
        raise BadParams(f"invalid type: {_named(params)}, expected struct {variant}")
    return params


def text(params: Json, field: str, *aliases: str) -> str:
    """
    Read a required text under its name or an alias.
    """
    for name in (field, *aliases):
        if name in params:
            value = params[name]
            if not isinstance(value, str):
                raise BadParams(f"invalid type: {_named(value)}, expected a string")
            return value
    raise BadParams(f"missing field `{field}`")


def text_list(params: Json, field: str) -> list[str]:
    """
    Read an optional list of texts; missing is empty.
    """
    value = params.get(field, [])
    if not isinstance(value, list):
        raise BadParams(f"invalid type: {_named(value)}, expected a sequence")
    for entry in value:
        if not isinstance(entry, str):
            raise BadParams(f"invalid type: {_named(entry)}, expected a string")
    return value


def optional_object(params: Json, field: str) -> Json:
    value = params.get(field)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise BadParams(f"invalid type: {_named(value)}, expected a map")
    return value


def _named(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return f"boolean `{str(value).lower()}`"
        case int():
            return f"integer `{value}`"
        case float():
            return f"floating point `{value}`"
        case str():
            return f'string "{value}"'
        case list():
            return "sequence"
        case _:
            return "map"
