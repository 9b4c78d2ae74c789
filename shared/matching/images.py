"""
Names of container images, for matching: `docker.io/library/nginx` and what may follow it.

The rules are Docker's own (https://pkg.go.dev/github.com/distribution/reference): without a host it is Docker Hub, a name of one part there is in
`library/`, a port belongs to the host, and the tag is not part of the name.
"""

from __future__ import annotations

from dataclasses import dataclass

from shared.event import Image

HUB = "docker.io"
_HUB_NAMES = frozenset({"docker.io", "index.docker.io", "registry-1.docker.io"})


@dataclass(frozen=True, slots=True)
class ImageName:
    """One image: `key` is host and repository in lower case, `tag` None where none is written."""

    key: str
    tag: str | None = None

    @classmethod
    def parse(cls, text: str) -> ImageName:
        """Read a reference as compose files have it; never raises, since the text is another program's."""
        name = text.strip().partition("@")[0]
        slash = name.rfind("/")
        repository, colon, tag = name, "", ""
        if name.rfind(":") > slash:
            repository, colon, tag = name.rpartition(":")
        return cls(_key(repository), tag if colon and tag else None)

    @classmethod
    def of(cls, image: Image) -> ImageName:
        """The name of an event's image."""
        return cls(_key(f"{image.registry}/{image.name}" if image.registry else image.name), image.tag)

    def is_used_by(self, other: ImageName) -> bool:
        """Whether a push of this image concerns who runs `other`; a push that names no tag concerns every tag."""
        return self.key == other.key and (self.tag is None or self.tag == (other.tag or "latest"))


def _key(repository: str) -> str:
    lower = repository.lower()
    first, slash, rest = lower.partition("/")
    if not slash or not ("." in first or ":" in first or first == "localhost"):
        first, rest = HUB, lower
    if first in _HUB_NAMES:
        first, rest = HUB, rest if "/" in rest else f"library/{rest}"
    return f"{first}/{rest}"
