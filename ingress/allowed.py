"""
What a named hook may speak for. A right signature proves the hook, not the repository or image in the body: who has one hook's secret could name any.

So every name that an event gives must be on the hook's list, each URL of its repository too, because procedures match by any of them.
"""

from __future__ import annotations

from dataclasses import dataclass

from ingress.providers.provider import Facts
from shared.event import Image, Repository
from shared.matching.patterns import PatternList
from shared.matching.repository import keys_of

NAMES_NOTHING = "the event names no repository or image, and this hook may only speak for those on its list"

_MAX_SHOWN = 120


@dataclass(frozen=True, slots=True)
class Allowed:
    """The two lists, of which at least one has entries. An empty list allows nothing."""

    repositories: PatternList
    images: PatternList

    @classmethod
    def parse(cls, repositories: str, images: str) -> Allowed | None:
        """Read the lists; None when both are empty, and everything is allowed. Raises `PatternError`."""
        allowed = cls(PatternList.parse(repositories, ignore_case=True), PatternList.parse(images, ignore_case=True))
        return allowed if allowed.repositories.entries or allowed.images.entries else None

    def objection(self, facts: Facts) -> str | None:
        """Why the hook may not say this; None when it may."""
        repository, image = facts.get("repository"), facts.get("image")
        if repository is None and image is None:
            return NAMES_NOTHING
        for name, names in _repository_names(repository):
            if not self.repositories.matches(*names):
                return f"this hook may not speak for the repository {name[:_MAX_SHOWN]}"
        for name, names in _image_names(image):
            if not self.images.matches(*names):
                return f"this hook may not speak for the image {name[:_MAX_SHOWN]}"
        return None


Named = tuple[str, tuple[str, ...]]


def _repository_names(repository: Repository | None) -> list[Named]:
    """Everything that the repository says to be, each with what a pattern may call it: `host/owner/name`, `owner/name`."""
    if repository is None:
        return []
    keys, full_name = sorted(keys_of(repository)), repository.full_name.lower()
    named = [_with_and_without_host(key) for key in keys]
    if not any(key.endswith(f"/{full_name}") for key in keys):
        named.append((full_name, (full_name,)))
    return named


def _image_names(image: Image | None) -> list[Named]:
    return [] if image is None else [_with_and_without_host(f"{image.registry}/{image.name}".lower())]


def _with_and_without_host(name: str) -> Named:
    return name, (name, name.partition("/")[2])
