"""
Picking from lists: Komodo's query object for resources, pages, and the part of MongoDB's filters that its users send.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from demo.core import patterns
from demo.core.errors import BadParams, CoreError
from demo.core.ids import is_object_id
from demo.core.resources import Json, Resource

TemplatesAllowed = {
    "Include": (True, False),
    "Exclude": (False,),
    "Only": (True,),
}


def texts(value: Any) -> list[str]:
    """
    Read a list of texts that may also be given as one text in pattern-list form.
    """
    if value is None:
        return []
    if isinstance(value, str):
        return patterns.split(value)
    if isinstance(value, list) and all(isinstance(entry, str) for entry in value):
        return value
    raise BadParams("invalid type: expected a string or a sequence of strings")


def basic(query: Json, tag_id: Callable[[str], str]) -> Callable[[Resource], bool]:
    """
    Compile what the query object has for all kinds. `tag_id` turns a name or id into an id, or raises.
    """
    terms = [term.lower() for term in texts(query.get("terms"))]
    references = texts(query.get("names"))
    ids = {reference for reference in references if is_object_id(reference)}
    names = set(references) - ids
    tags = {tag_id(tag) for tag in texts(query.get("tags"))}
    enough = any if query.get("tag_behavior") == "Any" else all
    templates = TemplatesAllowed.get(query.get("templates") or "Include")
    if templates is None:
        raise BadParams("unknown variant, expected one of `Include`, `Exclude`, `Only`")

    def matches(resource: Resource) -> bool:
        return (
            resource.template in templates
            and all(term in resource.name.lower() for term in terms)
            and (not names or resource.name in names)
            and (not ids or resource.id in ids)  # Komodo ANDs ids and names when both are given
            and (not tags or enough(tag in resource.tags for tag in tags))
        )

    return matches


def page(items: list[Json], params: Json, *, default_limit: int) -> list[Json]:
    """
    Cut out one page. No limit means the default, 0 means everything; nothing tells that there was more.
    """
    limit = params.get("limit")
    number = params.get("page") or 0
    if not isinstance(number, int) or not isinstance(limit, int | None):
        raise BadParams("invalid type: expected u64")
    size = default_limit if limit is None else limit
    if size == 0:
        return items
    return items[number * size : (number + 1) * size]


def ordered(items: list[Json], params: Json, keys: dict[str, Callable[[Json], Any]]) -> list[Json]:
    by = params.get("sort_by") or "Name"
    if by not in keys:
        raise BadParams(f"unknown variant `{by}`, expected one of {', '.join(f'`{key}`' for key in keys)}")
    return sorted(items, key=keys[by], reverse=bool(params.get("sort_desc")))


_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "$eq": lambda found, wanted: bool(found == wanted),
    "$ne": lambda found, wanted: bool(found != wanted),
    "$in": lambda found, wanted: found in wanted,
    "$nin": lambda found, wanted: found not in wanted,
    "$gte": lambda found, wanted: found is not None and bool(found >= wanted),
    "$lte": lambda found, wanted: found is not None and bool(found <= wanted),
    "$gt": lambda found, wanted: found is not None and bool(found > wanted),
    "$lt": lambda found, wanted: found is not None and bool(found < wanted),
}


def matches_filter(wanted: Json, document: Json) -> bool:
    """
    Apply a MongoDB filter. Raises CoreError for an operator that is not simulated.
    """
    return all(_matches_field(path, condition, document) for path, condition in wanted.items())


def _matches_field(path: str, condition: Any, document: Json) -> bool:
    if path == "$and":
        return all(matches_filter(part, document) for part in condition)
    if path == "$or":
        return any(matches_filter(part, document) for part in condition)
    if path.startswith("$"):
        raise CoreError("failed to query db", trace=(f"unknown top level operator: {path}",))
    found = _at(path.split("."), document)
    if not _is_operators(condition):
        return bool(found == condition)
    return all(_compare(operator, found, value) for operator, value in condition.items())


def _compare(operator: str, found: Any, value: Any) -> bool:
    compare = _COMPARISONS.get(operator)
    if compare is None:
        raise CoreError("failed to query db", trace=(f"unknown operator: {operator}",))
    try:
        return compare(found, value)
    except TypeError:  # MongoDB never matches across types
        return False


def _is_operators(condition: Any) -> bool:
    return isinstance(condition, dict) and any(key.startswith("$") for key in condition) and "$oid" not in condition


def _at(path: Iterable[str], document: Any) -> Any:
    for part in path:
        if not isinstance(document, dict):
            return None
        document = document.get(part)
    return document
