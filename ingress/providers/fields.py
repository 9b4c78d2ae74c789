"""
Reading single fields of a provider's JSON: a value has the right type and form or it is None; nothing raises.

Control characters never get through, lengths are capped, and e-mail addresses stay outside (https://git-scm.com/docs/git-check-ref-format
has the rules for refs).
"""

from __future__ import annotations

import re
from functools import lru_cache

from ingress.providers.provider import Json
from shared.event import MAX_TEXT, Repository
from shared.matching.repository import InvalidRepositoryUrl, repository_key, without_credentials

MAX_NAME = 500
MAX_REF = 1_000

BRANCH_PREFIX = "refs/heads/"
TAG_PREFIX = "refs/tags/"

_CONTROL = dict.fromkeys((*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029))
_ADDRESS = re.compile(r"(?<![\w.+%-])[\w.+%-]++@(?:[\w-]+\.)+[\w-]+")
_SHA = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_ZERO_SHAS = frozenset({"0" * 40, "0" * 64})
_UUID = re.compile(r"\{?[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\}?")
_REF = re.compile(r"refs(?:/(?!\.)[^\x00-\x20\x7f-\x9f~^:?*\[\\/]+(?<!\.lock))+(?<!\.)")


def text(value: object, *, at_most: int = MAX_NAME) -> str | None:
    """A non-empty string, cleaned and cut."""
    if not isinstance(value, str):
        return None
    return cleaned(value[:at_most]) or None


def cleaned(value: str) -> str:
    """The string without control characters and line separators."""
    return value if value.isprintable() else value.translate(_CONTROL)


def first_line(value: object, *, at_most: int = MAX_TEXT) -> str | None:
    """The first line of a message, without the e-mail addresses that people put there."""
    if not isinstance(value, str):
        return None
    line = value[: 2 * at_most].lstrip().partition("\n")[0].rstrip()
    if "@" in line:
        line = _ADDRESS.sub("…", line)
    return text(line, at_most=at_most)


def name(*values: object) -> str | None:
    """The first of the values that is a person's name and not an e-mail address."""
    for value in values:
        found = text(value)
        if found and "@" not in found:
            return found
    return None


def flag(value: object) -> bool | None:
    """True or False where the provider says so."""
    return value if isinstance(value, bool) else None


def number(value: object) -> int | None:
    """An integer that is not a boolean."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def identifier(value: object) -> str | None:
    """A provider's id of something, as text: an integer, or a UUID with or without braces."""
    if isinstance(value, str):
        return value if _UUID.fullmatch(value) else None
    found = number(value)
    return None if found is None else str(found)


def mapping(value: object) -> Json:
    """The object, or an empty one."""
    return value if isinstance(value, dict) else {}


def items(value: object) -> list[object] | None:
    """The array, or None."""
    return value if isinstance(value, list) else None


def sha(value: object) -> str | None:
    """A full commit or object id; the id of nothing, all zeros, is None."""
    if isinstance(value, str) and _SHA.fullmatch(value) and value not in _ZERO_SHAS:
        return value
    return None


def is_zero_sha(value: object) -> bool:
    """Whether this is the id of nothing, of either length: the ref did not exist on that side."""
    return isinstance(value, str) and value in _ZERO_SHAS


def ref(value: object) -> str | None:
    """A full ref as git allows it. A bad one is refused, not cleaned: cleaning could make another ref's name of it."""
    if not isinstance(value, str) or len(value) > MAX_REF or ".." in value or "@{" in value:
        return None
    return value if _REF.fullmatch(value) else None


def branch(value: object) -> str | None:
    """The name of a branch, without prefix, as git allows it."""
    return value if isinstance(value, str) and ref(BRANCH_PREFIX + value) else None


def tag(value: object) -> str | None:
    """The name of a tag, without prefix, as git allows it."""
    return value if isinstance(value, str) and ref(TAG_PREFIX + value) else None


def branch_of(value: object) -> str | None:
    """The branch that a full ref is; None for a tag, and for a name without its prefix."""
    if not isinstance(value, str) or not value.startswith(BRANCH_PREFIX):
        return None
    return branch(value.removeprefix(BRANCH_PREFIX))


def repository(
    full_name: object, urls: tuple[object, ...], *, provider_id: object, default_branch: object
) -> Repository | None:
    """The repository; `urls` come in the order in which the key is looked for. None when the provider does not name it."""
    named = text(full_name)
    if named is None:
        return None
    return _repository(
        named,
        tuple(found for url in urls if (found := text(url, at_most=MAX_TEXT))),
        identifier(provider_id),
        branch(default_branch),
    )


# The same few repositories come again and again.
@lru_cache(maxsize=1024)
def _repository(
    full_name: str, urls: tuple[str, ...], provider_id: str | None, default_branch: str | None
) -> Repository:
    keys = {url: key for url in urls if (key := _key(url))}
    return Repository(
        key=next(iter(keys.values()), None),
        full_name=full_name,
        urls=tuple(dict.fromkeys(map(without_credentials, keys))),
        provider_id=provider_id,
        default_branch=default_branch,
    )


def _key(url: str) -> str | None:
    try:
        return repository_key(url)
    except InvalidRepositoryUrl:
        return None
