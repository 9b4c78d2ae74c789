"""
The filters of the global URL: `?server=prod-*&tag=web,edge` narrows what every target picks.

Their names are those that Komodo's users asked for (moghtech/komodo#48). One that is unknown or can not be read is refused, because a filter that is
silently ignored deploys too much.
"""

from __future__ import annotations

from urllib.parse import parse_qsl

from pydantic import ValidationError

from shared.procedure.model import Target

PREDICATES = {
    "type": "type",
    "server": "server",
    "git_repo": "repo",
    "stack_name": "name",
    "file": "file",
    "branch": "branch",
    "tag": "tag",
}
MAX_QUERY = 4_000
MAX_FIELDS = 50


class FilterError(ValueError):
    """The URL's filters can not be read; the message is for who wrote the URL."""


def read(query: bytes) -> dict[str, str]:
    """Predicates of a target by name; a filter that is repeated takes what any of its values takes. Raises `FilterError`."""
    if len(query) > MAX_QUERY:
        raise FilterError(f"the filters are longer than {MAX_QUERY} characters")
    try:
        pairs = parse_qsl(query.decode("ascii"), keep_blank_values=True, strict_parsing=True, max_num_fields=MAX_FIELDS)
    except ValueError as error:
        raise FilterError("the filters are no list of name=value") from error
    found: dict[str, list[str]] = {}
    for name, value in pairs:
        if name not in PREDICATES:
            raise FilterError(f"{name[:40]!r} is no filter of this URL; there are {', '.join(PREDICATES)}")
        if not value.strip():
            raise FilterError(f"the filter {name} is empty")
        found.setdefault(PREDICATES[name], []).append(value)
    filters = {predicate: ",".join(values) for predicate, values in found.items()}
    as_target(filters)
    return filters


def as_target(filters: dict[str, str]) -> Target:
    """The filters as a target; raises `FilterError` when one can not be read."""
    try:
        return Target.model_validate(filters)
    except ValidationError as error:
        reasons = [
            f"{name_of(str(one['loc'][0]))}: {one['msg'].removeprefix('Value error, ')}" for one in error.errors()
        ]
        raise FilterError("; ".join(reasons)[:300]) from error


def name_of(predicate: str) -> str:
    """What the URL calls this predicate."""
    return next((name for name, known in PREDICATES.items() if known == predicate), predicate)
